"""What whoever deploys a stage has to be allowed to do, as an IAM policy: `python -m ops deploy --rights`.

Nothing beyond resources of the stage's own names, but for what AWS knows no resources for. CloudFormation
creates the template's resources in the name of who has asked it to.
"""

from typing import Any

from ops.policies import APP

Statement = dict[str, Any]


def policy(partition: str, region: str, account: str, stage: str) -> dict[str, Any]:
    """A policy document; `*` may stand for region and account."""
    name = f"{APP}-{stage}"

    def arn(service: str, resource: str, where: str = f"{region}:{account}") -> str:
        return f"arn:{partition}:{service}:{where}:{resource}"

    roles = arn("iam", f"role/{name}-*", f":{account}")
    functions = [arn("lambda", f"function:{name}"), arn("lambda", f"function:{name}-*")]
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow(
                "DescribeAndChangeTheStack",
                [
                    "cloudformation:CreateChangeSet",
                    "cloudformation:DescribeChangeSet",
                    "cloudformation:ExecuteChangeSet",
                    "cloudformation:DeleteChangeSet",
                    "cloudformation:DescribeStacks",
                    "cloudformation:DescribeStackEvents",
                    "cloudformation:DeleteStack",
                    "cloudformation:ContinueUpdateRollback",
                    "cloudformation:TagResource",
                ],
                [arn("cloudformation", f"stack/{name}/*")],
            ),
            # The template's `Transform`, which AWS asks for as if it were a stack.
            _allow(
                "WriteListsInTheTemplate",
                ["cloudformation:CreateChangeSet"],
                [arn("cloudformation", "transform/LanguageExtensions", f"{region}:aws")],
            ),
            _allow(
                "KeepItsResources",
                ["s3:*", "dynamodb:*", "sqs:*", "sns:*", "states:*", "ecs:*", "logs:*", "cloudwatch:*"],
                [
                    f"arn:{partition}:s3:::{name}-{account}",
                    f"arn:{partition}:s3:::{name}-{account}/*",
                    arn("dynamodb", f"table/{name}-*"),
                    arn("sqs", f"{name}-*"),
                    arn("sns", f"{name}-*"),
                    arn("states", f"stateMachine:{name}-*"),
                    arn("ecs", f"cluster/{name}"),
                    arn("ecs", f"task-definition/{name}-worker:*"),
                    arn("logs", f"log-group:/aws/lambda/{name}*"),
                    arn("logs", f"log-group:/aws/vendedlogs/states/{name}-*"),
                    arn("logs", f"log-group:/waybill/{stage}/*"),
                    arn("cloudwatch", f"alarm:{name}-*"),
                    f"arn:{partition}:cloudwatch::{account}:dashboard/{name}*",
                ],
            ),
            _allow("KeepFunctions", ["lambda:*"], functions),
            _allow(
                "KeepTheirTriggers",
                [
                    "events:DescribeRule",
                    "events:PutRule",
                    "events:DeleteRule",
                    "events:PutTargets",
                    "events:RemoveTargets",
                ],
                [arn("events", f"rule/{name}-*")],
            ),
            # The id of an API is known only once it is there.
            _allow(
                "KeepTheApi",
                [
                    "apigateway:GET",
                    "apigateway:POST",
                    "apigateway:PUT",
                    "apigateway:PATCH",
                    "apigateway:DELETE",
                ],
                [
                    f"arn:{partition}:apigateway:{region}::/restapis",
                    f"arn:{partition}:apigateway:{region}::/restapis/*",
                    f"arn:{partition}:apigateway:{region}::/tags/*",
                ],
            ),
            _allow(
                "KeepRoles",
                [
                    "iam:CreateRole",
                    "iam:GetRole",
                    "iam:DeleteRole",
                    "iam:TagRole",
                    "iam:UntagRole",
                    "iam:ListRoleTags",
                    "iam:UpdateAssumeRolePolicy",
                    "iam:PutRolePolicy",
                    "iam:GetRolePolicy",
                    "iam:DeleteRolePolicy",
                    "iam:ListRolePolicies",
                    "iam:ListAttachedRolePolicies",
                ],
                [roles],
            ),
            {
                **_allow("HandRolesOn", ["iam:PassRole"], [roles]),
                "Condition": {
                    "StringEquals": {
                        "iam:PassedToService": [
                            "lambda.amazonaws.com",
                            "states.amazonaws.com",
                            "ecs-tasks.amazonaws.com",
                            "malware-protection-plan.guardduty.amazonaws.com",
                        ]
                    }
                },
            },
            # Once in an account's life, with its first cluster.
            {
                **_allow(
                    "LetEcsWork",
                    ["iam:CreateServiceLinkedRole"],
                    [
                        arn(
                            "iam",
                            "role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
                            f":{account}",
                        )
                    ],
                ),
                "Condition": {"StringEquals": {"iam:AWSServiceName": "ecs.amazonaws.com"}},
            },
            # What AWS knows no resources for, or whose names it makes up itself.
            _allow(
                "WithoutResources",
                [
                    "lambda:ListFunctions",
                    "lambda:ListEventSourceMappings",
                    "lambda:GetEventSourceMapping",
                    "lambda:CreateEventSourceMapping",
                    "lambda:UpdateEventSourceMapping",
                    "lambda:DeleteEventSourceMapping",
                    "cloudformation:DescribeEvents",  # of a change set, whose ARN does not name the stack
                    "cloudwatch:DescribeAlarms",
                    "logs:DescribeLogGroups",
                    "logs:DescribeIndexPolicies",
                    "sns:GetSubscriptionAttributes",
                    "sns:Unsubscribe",
                    "ecs:RegisterTaskDefinition",
                    "ecs:DeregisterTaskDefinition",
                    "ecs:DescribeTaskDefinition",
                    "states:ValidateStateMachineDefinition",
                    "guardduty:CreateMalwareProtectionPlan",
                    "guardduty:GetMalwareProtectionPlan",
                    "guardduty:UpdateMalwareProtectionPlan",
                    "guardduty:DeleteMalwareProtectionPlan",
                    "guardduty:TagResource",
                    "guardduty:UntagResource",
                    "guardduty:ListTagsForResource",
                    # A state machine's logs (Step Functions Developer Guide, "IAM policies for logging").
                    "logs:CreateLogDelivery",
                    "logs:GetLogDelivery",
                    "logs:UpdateLogDelivery",
                    "logs:DeleteLogDelivery",
                    "logs:ListLogDeliveries",
                    "logs:PutResourcePolicy",
                    "logs:DescribeResourcePolicies",
                ],
                ["*"],
            ),
        ],
    }


def _allow(sid: str, actions: list[str], resources: list[str]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
