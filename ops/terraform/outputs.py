"""The outputs of infra/template.yaml before there is a stack, as far as they follow from its names.

Chalice wants to know bucket, queues and topic when it packages. When the stack is there, Terraform compares.
"""

import re
from collections.abc import Mapping
from typing import Any

from ops.deploy.target import Target
from ops.template import Template


def foretold(target: Target, parameters: Mapping[str, str]) -> dict[str, str]:
    """Those outputs whose values are known: parameters, and names that the template gives."""
    template = target.template
    chosen = {
        name: str(body["Default"]) for name, body in template["Parameters"].items() if "Default" in body
    }
    chosen |= {**parameters, "AWS::AccountId": target.account, "AWS::Region": target.region}
    known = {
        name: _referred(output["Value"], template, target, chosen)
        for name, output in template["Outputs"].items()
        if "Condition" not in output
    }
    return {name: value for name, value in known.items() if value is not None}


def _referred(value: Any, template: Template, target: Target, chosen: Mapping[str, str]) -> str | None:
    """What `!Ref name` stands for; None where only the stack knows.

    From "Return values" of each type in the CloudFormation Template Reference Guide.
    """
    name = value.get("Ref") if isinstance(value, dict) else None
    if isinstance(name, str) and name in chosen:
        return chosen[name]
    resource = template["Resources"].get(name, {"Type": ""})
    domain = "amazonaws.com.cn" if target.partition == "aws-cn" else "amazonaws.com"
    queues = target.endpoint_url or f"https://sqs.{target.region}.{domain}"
    kinds = {
        "AWS::S3::Bucket": ("BucketName", "{}"),
        "AWS::DynamoDB::Table": ("TableName", "{}"),
        "AWS::SQS::Queue": ("QueueName", f"{queues}/{target.account}/{{}}"),
        "AWS::SNS::Topic": ("TopicName", _arn("sns", target, "{}")),
        "AWS::StepFunctions::StateMachine": ("StateMachineName", _arn("states", target, "stateMachine:{}")),
    }
    if resource["Type"] not in kinds:
        return None
    attribute, form = kinds[resource["Type"]]
    named = resource["Properties"].get(attribute)
    if not isinstance(named, dict) or not isinstance(pattern := named.get("Fn::Sub"), str):
        return None
    return form.format(re.sub(r"\$\{([^}]+)}", lambda found: chosen[found[1]], pattern))


def _arn(service: str, target: Target, name: str) -> str:
    return f"arn:{target.partition}:{service}:{target.region}:{target.account}:{name}"
