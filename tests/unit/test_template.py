"""infra/template.yaml, read as CloudFormation reads it, and .chalice/config.json, which must agree with it.

The embedded AWS ignores lifecycle, encryption, time to live and point-in-time recovery without a word, and
has no `s3:signatureAge`: no run against it would miss them. So what the template promises is asserted here.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chalice.config import Config

from chalicelib import scans
from chalicelib.partition import OPEN_JOBS
from chalicelib.queues import MAX_WAIT
from chalicelib.settings import MAX_RETRIES, MAX_RETRY_TIME, Settings
from chalicelib.transcription.amazon import ANSWERS
from chalicelib.webhooks import deliveries
from chalicelib.webhooks.sender import Timeouts
from ops import template
from ops.policies import GRANTS
from ops.template import LOOP
from tests.unit import cfn_lint

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "infra" / "template.yaml"
CONFIG: dict[str, Any] = json.loads((ROOT / ".chalice" / "config.json").read_text(encoding="utf-8"))

# Where the stage `local` lives.
ACCOUNT = "000000000000"
REGION = "us-east-1"
ENDPOINT = "http://127.0.0.1:4566"

SCANNER = f"arn:aws:iam::{ACCOUNT}:role/the-scanner"

DAY = 86_400
FARGATE = {
    "Worker": "fargate",
    "WorkerImage": "example.org/waybill-worker@sha256:0",
    "WorkerSubnets": "subnet-1,subnet-2",
    "WorkerSecurityGroups": "sg-1",
}
TABLES = ("JobsTable", "EventsTable", "WebhooksTable")
TABLE_NAMES = ("JOBS_TABLE", "EVENTS_TABLE", "WEBHOOKS_TABLE", "DELIVERIES_TABLE")


# --- The template, resolved ---------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: `!Sub x` is read as `{"Fn::Sub": "x"}`."""


def _intrinsic(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    name = tag if tag in ("Ref", "Condition") else f"Fn::{tag}"
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.ScalarNode)
    return {name: loader.construct_scalar(node)}


_Loader.add_multi_constructor("!", _intrinsic)

RAW: dict[str, Any] = yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader=_Loader)

# For each kind that is referred to: the property that names it, and what `!Ref` makes of the name.
KINDS = {
    "AWS::S3::Bucket": ("BucketName", "{}"),
    "AWS::DynamoDB::Table": ("TableName", "{}"),
    "AWS::SQS::Queue": ("QueueName", f"{ENDPOINT}/{ACCOUNT}/{{}}"),
    "AWS::SNS::Topic": ("TopicName", f"arn:aws:sns:{REGION}:{ACCOUNT}:{{}}"),
    "AWS::StepFunctions::StateMachine": (
        "StateMachineName",
        f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{{}}",
    ),
    "AWS::Logs::LogGroup": ("LogGroupName", "{}"),
    "AWS::ECS::Cluster": ("ClusterName", "{}"),
    "AWS::ECS::TaskDefinition": ("Family", f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{{}}:1"),
    "AWS::IAM::Role": ("RoleName", "{}"),
}
# And what `!GetAtt x.Arn` makes of it.
ARNS = {
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{}}:*",
    "AWS::ECS::Cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{{}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{}}",
}

NOTHING = object()

STEPS = ("validate", "detect", "process", "find_speech", "fetch_transcript", "finish", "fail")


def unrolled(resources: dict[str, Any]) -> dict[str, Any]:
    """Each loop as what it stands for (CloudFormation Template Reference, "Fn::ForEach")."""
    made: dict[str, Any] = {}
    for name, body in resources.items():
        if not name.startswith(LOOP):
            made[name] = body
            continue
        variable, items, fragment = body
        for item in items:
            for key, resource in fragment.items():
                logical = key.replace(f"&{{{variable}}}", re.sub("[^A-Za-z0-9]", "", item))
                assert logical not in made
                made[logical] = json.loads(json.dumps(resource).replace(f"${{{variable}}}", item))
    return made


class Stack:
    """The resources' properties and the outputs as they come out for the given parameters."""

    def __init__(self, **parameters: str) -> None:
        defaults = {name: body["Default"] for name, body in RAW["Parameters"].items() if "Default" in body}
        self._values: dict[str, Any] = {
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::NoValue": NOTHING,
            **defaults,
            **parameters,
        }
        self._conditions: dict[str, bool] = {}
        for name, test in RAW["Conditions"].items():  # those that another one asks for stand before it
            self._conditions[name] = self._resolve(test)
        self.resources: dict[str, dict[str, Any]] = {
            name: self._resolve(body["Properties"])
            for name, body in unrolled(RAW["Resources"]).items()
            if "Condition" not in body or self._conditions[body["Condition"]]
        }
        self.outputs: dict[str, str] = {
            name: self._resolve(body["Value"]) for name, body in RAW["Outputs"].items()
        }

    def statements(self, policy: str) -> dict[str, dict[str, Any]]:
        """The statements of a policy resource by their Sid; none when the resource is not made."""
        document = self.resources.get(policy, {}).get("PolicyDocument", {"Statement": []})
        return {statement["Sid"]: statement for statement in document["Statement"]}

    def _resolve(self, node: Any) -> Any:
        match node:
            case {"Ref": name}:
                return self._ref(name)
            case {"Fn::Sub": [text, variables]}:
                return self._sub(text, self._resolve(variables))
            case {"Fn::Sub": text}:
                return self._sub(text, {})
            case {"Fn::Join": [between, parts]}:
                return between.join(self._resolve(parts))
            case {"Fn::GetAtt": "MalwareScanRole.Arn"}:
                return SCANNER
            case {"Fn::GetAtt": attribute} if attribute.endswith(".QueueName"):
                return self._name(attribute.removesuffix(".QueueName"))
            case {"Fn::GetAtt": attribute}:
                return self._arn(attribute)
            case {"Fn::Equals": [left, right]}:
                return self._resolve(left) == self._resolve(right)
            case {"Fn::Not": [test]}:
                return not self._resolve(test)
            case {"Fn::And": tests}:
                return all(self._resolve(test) for test in tests)
            case {"Condition": str(name)} if len(node) == 1:
                return self._conditions[name]
            case {"Fn::If": [condition, yes, no]}:
                return self._resolve(yes if self._conditions[condition] else no)
            case {"Fn::FindInMap": [mapping, key, column]}:
                return RAW["Mappings"][mapping][self._resolve(key)][column]
            case dict():
                resolved = {key: self._resolve(value) for key, value in node.items()}
                return {key: value for key, value in resolved.items() if value is not NOTHING}
            case list():
                return [value for value in map(self._resolve, node) if value is not NOTHING]
        return node

    def _sub(self, text: str, variables: dict[str, str]) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1]
            return variables[name] if name in variables else str(self._ref(name))

        return re.sub(r"\$\{([^}]+)}", value, text)

    def _arn(self, attribute: str) -> str:
        resource = attribute.removesuffix(".Arn")
        return ARNS[RAW["Resources"][resource]["Type"]].format(self._name(resource))

    def _ref(self, name: str) -> Any:
        if name.endswith(".Arn"):
            return self._arn(name)
        if name not in self._values:
            return KINDS[RAW["Resources"][name]["Type"]][1].format(self._name(name))
        value = self._values[name]
        is_list = RAW["Parameters"].get(name, {}).get("Type") == "CommaDelimitedList"
        return value.split(",") if is_list else value

    def _name(self, resource: str) -> str:
        body = RAW["Resources"][resource]
        name = self._resolve(body["Properties"][KINDS[body["Type"]][0]])
        assert isinstance(name, str)
        return name


@pytest.fixture(scope="module")
def stack() -> Stack:
    return Stack(Stage="local")


def test_cfn_lint_finds_nothing() -> None:
    assert cfn_lint.findings(TEMPLATE) == []


def test_what_is_sent_fits_and_says_the_same() -> None:
    sent = json.loads(template.body(template.load(TEMPLATE)))
    written = template.load(TEMPLATE)

    for name, parameter in written["Parameters"].items():
        assert sent["Parameters"][name] | {"Description": parameter["Description"]} == parameter
    assert sent.keys() == written.keys()
    for text, said in zip(texts(written["Resources"]), texts(sent["Resources"]), strict=True):
        assert said.split() == text.split()
        assert "\n" not in said
    one_line = " ".join(RAW["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"].split())
    assert json.loads(one_line) == json.loads(
        sent["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    )


def test_loops_are_such_as_the_transform_takes() -> None:
    """It takes an object whose first name is Condition for a function, and takes no Fn::If within a loop.

    On GitHub, aws-cloudformation/cfn-language-discussion, issues 147 and 135.
    """
    sent = json.loads(template.body(template.load(TEMPLATE)))["Resources"]
    loops = [body for name, body in sent.items() if name.startswith(LOOP)]

    assert loops
    for _, _, fragment in loops:
        assert "Fn::If" not in json.dumps(fragment)
        assert [next(iter(resource)) for resource in fragment.values()] == ["Type"]
    assert [where for where in first_names(sent) if where.endswith("/Condition")] == []


def first_names(node: Any, where: str = "") -> Iterator[str]:
    """The place of every object, and the name that it begins with."""
    inner = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else ()
    if isinstance(node, dict) and node:
        yield f"{where}/{next(iter(node))}"
    for key, value in inner:
        yield from first_names(value, f"{where}/{key}")


def texts(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in texts(value)]
    if isinstance(node, list):
        return [text for value in node for text in texts(value)]
    return [node] if isinstance(node, str) else []


# --- The bucket ---------------------------------------------------------------------------------------------


def test_public_access_is_blocked_four_ways(stack: Stack) -> None:
    assert stack.resources["Bucket"]["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }


def test_the_bucket_owner_owns_every_object_and_acls_are_off(stack: Stack) -> None:
    bucket = stack.resources["Bucket"]
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert "AccessControl" not in bucket


def test_objects_are_encrypted_with_keys_of_s3(stack: Stack) -> None:
    assert stack.resources["Bucket"]["BucketEncryption"] == {
        "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    }


def test_of_what_has_arrived_only_answers_expire_that_nobody_fetched(stack: Stack) -> None:
    _, rule = stack.resources["Bucket"]["LifecycleConfiguration"]["Rules"]
    assert rule["Prefix"] == f"processed/{ANSWERS}/"
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", 7)


def test_incomplete_multipart_uploads_expire(stack: Stack) -> None:
    rule, _ = stack.resources["Bucket"]["LifecycleConfiguration"]["Rules"]
    assert rule.keys() == {"Id", "Status", "AbortIncompleteMultipartUpload"}  # no prefix: the whole bucket
    assert rule["Status"] == "Enabled"
    assert 1 <= rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] <= 2


def test_browsers_may_do_what_uploaders_do_and_read_what_they_need() -> None:
    origins = Stack(Stage="dev", AllowedOrigins="https://a.example,https://b.example")
    (rule,) = origins.resources["Bucket"]["CorsConfiguration"]["CorsRules"]
    assert set(rule["AllowedMethods"]) == {"GET", "PUT", "POST", "HEAD", "DELETE"}
    assert set(rule["ExposedHeaders"]) == {"ETag", "Location"}
    assert rule["AllowedHeaders"] == ["*"]
    assert rule["AllowedOrigins"] == ["https://a.example", "https://b.example"]


def test_the_bucket_policy_only_refuses(stack: Stack) -> None:
    statements = stack.statements("BucketPolicy").values()
    assert stack.resources["BucketPolicy"]["Bucket"] == stack.outputs["BucketName"]
    assert {(s["Effect"], s["Principal"], s["Action"]) for s in statements} == {("Deny", "*", "s3:*")}


def test_the_bucket_takes_nothing_without_tls(stack: Stack) -> None:
    refusal = stack.statements("BucketPolicy")["TlsOnly"]
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert refusal["Resource"] == [
        f"arn:aws:s3:::waybill-local-{ACCOUNT}",
        f"arn:aws:s3:::waybill-local-{ACCOUNT}/*",
    ]


@pytest.mark.parametrize("seconds", [60, 900, 604_800])
def test_the_age_of_a_signature_is_bounded_in_milliseconds(seconds: int) -> None:
    refusal = Stack(Stage="local", MaxSignatureAge=str(seconds)).statements("BucketPolicy")["NoOldSignatures"]
    (operator, ((key, milliseconds),)) = next((op, keys.items()) for op, keys in refusal["Condition"].items())
    assert (operator, key) == ("NumericGreaterThan", "s3:signatureAge")
    assert int(milliseconds) == seconds * 1000
    assert refusal["Resource"] == f"arn:aws:s3:::waybill-local-{ACCOUNT}/*"


def test_by_default_a_url_is_good_for_as_long_as_the_api_says() -> None:
    assert int(RAW["Parameters"]["MaxSignatureAge"]["Default"]) == Settings.from_env(_env("local")).expires_in


@pytest.mark.parametrize("age", ["0", "-1", "900.5", "9e2", "", "1000000"])
def test_an_age_that_is_no_whole_number_of_seconds_is_refused(age: str) -> None:
    assert not re.search(RAW["Parameters"]["MaxSignatureAge"]["AllowedPattern"], age)


# --- Malware ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scanned() -> Stack:
    return Stack(Stage="local", MalwareScan="guardduty")


def test_by_default_nobody_scans(stack: Stack) -> None:
    assert "MalwareProtection" not in stack.resources
    assert "MalwareScanRole" not in stack.resources
    assert stack.statements("BucketPolicy").keys() == {"TlsOnly", "NoOldSignatures"}


def test_all_open_work_is_scanned_and_tagged(scanned: Stack) -> None:
    plan = scanned.resources["MalwareProtection"]
    bucket = {"BucketName": scanned.outputs["BucketName"], "ObjectPrefixes": ["uploads/", "incoming/"]}
    assert plan["ProtectedResource"] == {"S3Bucket": bucket}
    assert plan["Actions"] == {"Tagging": {"Status": "ENABLED"}}
    assert plan["Role"] == SCANNER


def test_nobody_but_the_scanner_tags_open_work(scanned: Stack) -> None:
    statements = scanned.statements("BucketPolicy")
    open_work = [f"arn:aws:s3:::waybill-local-{ACCOUNT}/{prefix}/*" for prefix in ("uploads", "incoming")]
    tagging = statements["OnlyTheScannerTagsOpenWork"]
    assert tagging["Resource"] == open_work
    assert set(tagging["Action"]) == {
        f"s3:{verb}Object{version}Tagging" for verb in ("Put", "Delete") for version in ("", "Version")
    }
    assert tagging["Condition"] == {"ArnNotEquals": {"aws:PrincipalArn": SCANNER}}
    bringing = statements["NoUploadBringsItsVerdict"]
    assert (bringing["Action"], bringing["Resource"]) == ("s3:PutObject", open_work)
    assert bringing["Condition"] == {"Null": {f"s3:RequestObjectTag/{scans.TAG}": "false"}}
    assert {statement["Effect"] for statement in statements.values()} == {"Deny"}


def test_malware_is_read_by_nobody_but_the_functions_that_move_it(scanned: Stack) -> None:
    refusal = scanned.statements("BucketPolicy")["NobodyReadsMalware"]
    assert refusal["Condition"]["StringEquals"] == {f"s3:ExistingObjectTag/{scans.TAG}": "THREATS_FOUND"}
    exempt = refusal["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]
    moves = {name for name, grants in GRANTS.items() if any(g.sid == "WriteResults" for g in grants)}
    # `sweep` clears away what a move has left; Chalice calls a role after app, stage and function.
    assert {arn.removeprefix(f"arn:aws:iam::{ACCOUNT}:role/waybill-local-") for arn in exempt} == {
        *moves,
        "worker",
        "sweep",
    }
    assert "api_handler" not in moves  # it signs downloads


def test_the_scanner_may_change_nothing_but_tags(scanned: Stack) -> None:
    (policy,) = scanned.resources["MalwareScanRole"]["Policies"]
    for statement in policy["PolicyDocument"]["Statement"]:
        resources, actions = (
            [named] if isinstance(named, str) else named
            for named in (statement["Resource"], statement["Action"])
        )
        assert all("waybill-local" in r or "DO-NOT-DELETE-AmazonGuardDuty" in r for r in resources)
        if "s3:PutObject" in actions:
            (only,) = resources
            assert only.endswith("/malware-protection-resource-validation-object")
        assert not any("Delete" in action for action in actions if action.startswith("s3:"))


# --- TLS elsewhere ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "attached", "action", "resource"),
    [
        (
            "QueuePolicy",
            {"Queues": ["QueueUrl"]},
            "sqs:*",
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:waybill-local-jobs",
        ),
        (
            "DeadLetterQueuePolicy",
            {"Queues": ["DeadLetterQueueUrl"]},
            "sqs:*",
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:waybill-local-jobs-dead",
        ),
        (
            "DeliveriesQueuePolicy",
            {"Queues": ["DeliveriesQueueUrl"]},
            "sqs:*",
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:waybill-local-deliveries",
        ),
        (
            "DeliveriesDeadLetterQueuePolicy",
            {"Queues": ["DeliveriesDeadLetterQueueUrl"]},
            "sqs:*",
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:waybill-local-deliveries-dead",
        ),
        (
            "FailedEventsQueuePolicy",
            {"Queues": ["FailedEventsQueueUrl"]},
            "sqs:*",
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:waybill-local-failed-events",
        ),
        (
            "TopicPolicy",
            {"Topics": ["TopicArn"]},
            "sns:Publish",
            f"arn:aws:sns:{REGION}:{ACCOUNT}:waybill-local-events",
        ),
    ],
)
def test_queues_and_topic_take_nothing_without_tls(
    stack: Stack, policy: str, attached: dict[str, list[str]], action: str, resource: str
) -> None:
    for members, outputs in attached.items():
        assert stack.resources[policy][members] == [stack.outputs[output] for output in outputs]
    assert list(stack.statements(policy).values()) == [
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": action,
            "Resource": resource,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]


def test_only_tls_can_be_waived_and_only_by_saying_so() -> None:
    by_default, waived = Stack(Stage="local"), Stack(Stage="local", RequireTls="false")
    assert by_default.resources.keys() - waived.resources.keys() == {
        "QueuePolicy",
        "DeadLetterQueuePolicy",
        "DeliveriesQueuePolicy",
        "DeliveriesDeadLetterQueuePolicy",
        "FailedEventsQueuePolicy",
        "TopicPolicy",
    }
    assert by_default.statements("BucketPolicy").keys() == {"TlsOnly", "NoOldSignatures"}
    assert waived.statements("BucketPolicy").keys() == {"NoOldSignatures"}


# --- The tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "sort_key"),
    [
        ("JobsTable", "jobId"),
        ("EventsTable", "pk"),
        ("WebhooksTable", "webhookId"),
        ("DeliveriesTable", "attemptId"),
    ],
)
def test_every_table_is_kept_by_owner(stack: Stack, table: str, sort_key: str) -> None:
    properties = stack.resources[table]
    assert properties["KeySchema"] == [
        {"AttributeName": "owner", "KeyType": "HASH"},
        {"AttributeName": sort_key, "KeyType": "RANGE"},
    ]
    index = [{"AttributeName": "openSince", "AttributeType": "S"}] if table == "JobsTable" else []
    assert properties["AttributeDefinitions"] == [
        {"AttributeName": "owner", "AttributeType": "S"},
        {"AttributeName": sort_key, "AttributeType": "S"},
        *index,
    ]


def test_open_jobs_have_an_index_of_what_a_quota_counts(stack: Stack) -> None:
    (index,) = stack.resources["JobsTable"]["GlobalSecondaryIndexes"]
    assert index["IndexName"] == OPEN_JOBS
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["owner", "openSince"]
    assert index["Projection"] == {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["size"]}
    assert "LocalSecondaryIndexes" not in stack.resources["JobsTable"]


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_on_demand_encrypted_and_can_be_restored(stack: Stack, table: str) -> None:
    properties = stack.resources[table]
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_jobs_expire_and_events_and_webhooks_do_not(stack: Stack) -> None:
    expiring = {table: stack.resources[table].get("TimeToLiveSpecification") for table in TABLES}
    assert expiring == {
        "JobsTable": {"AttributeName": "expiresAt", "Enabled": True},
        "EventsTable": None,
        "WebhooksTable": None,
    }


def test_the_log_of_deliveries_is_encrypted_and_expires_and_is_not_kept(stack: Stack) -> None:
    log = stack.resources["DeliveriesTable"]
    assert log["BillingMode"] == "PAY_PER_REQUEST"
    assert log["SSESpecification"] == {"SSEEnabled": True}
    assert log["TimeToLiveSpecification"] == {"AttributeName": "expiresAt", "Enabled": True}
    assert RAW["Resources"]["DeliveriesTable"]["DeletionPolicy"] == "Delete"


@pytest.mark.parametrize(
    "resource", ["Bucket", *TABLES, "DeliveriesQueue", "DeliveriesDeadLetterQueue", "FailedEventsQueue"]
)
def test_what_is_stored_outlives_the_stack(resource: str) -> None:
    assert RAW["Resources"][resource]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert RAW["Resources"][resource]["UpdateReplacePolicy"] == "Retain"


# --- The queues ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", RAW["Parameters"]["FunctionTimeout"]["AllowedValues"])
def test_a_message_stays_invisible_for_six_function_timeouts(timeout: str) -> None:
    queue = Stack(Stage="local", FunctionTimeout=timeout).resources["Queue"]
    assert queue["VisibilityTimeout"] >= 6 * int(timeout)


@pytest.mark.parametrize("stage", CONFIG["stages"])
def test_by_default_the_consumer_ends_within_the_timeout_the_queue_reckons_with(
    stack: Stack, stage: str
) -> None:
    assert stack.resources["Queue"]["VisibilityTimeout"] >= 6 * _config(stage, "consume").lambda_timeout


def test_a_message_is_buried_after_five_attempts_or_more(stack: Stack) -> None:
    redrive = stack.resources["Queue"]["RedrivePolicy"]
    assert redrive["maxReceiveCount"] >= 5
    assert redrive["deadLetterTargetArn"] == f"arn:aws:sqs:{REGION}:{ACCOUNT}:waybill-local-jobs-dead"
    assert "RedrivePolicy" not in stack.resources["DeadLetterQueue"]


def test_dead_letters_are_kept_longer_than_live_ones(stack: Stack) -> None:
    assert stack.resources["Queue"]["MessageRetentionPeriod"] == 4 * DAY
    assert stack.resources["DeadLetterQueue"]["MessageRetentionPeriod"] == 14 * DAY


def test_a_delivery_is_tried_until_its_schedule_ends_and_not_until_the_queue_has_had_enough(
    stack: Stack,
) -> None:
    queue, dead = stack.resources["DeliveriesQueue"], stack.resources["DeliveriesDeadLetterQueue"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] >= 2 * (MAX_RETRIES + 1)
    assert queue["RedrivePolicy"]["deadLetterTargetArn"].endswith(":waybill-local-deliveries-dead")
    assert queue["MessageRetentionPeriod"] == 4 * DAY
    assert queue["MessageRetentionPeriod"] >= MAX_RETRY_TIME + MAX_WAIT
    assert dead["MessageRetentionPeriod"] == 14 * DAY
    assert "RedrivePolicy" not in dead


@pytest.mark.parametrize("stage", CONFIG["stages"])
def test_a_batch_of_deliveries_that_hang_ends_within_the_function_s_time(stack: Stack, stage: str) -> None:
    timeout = _config(stage, "deliver").lambda_timeout
    assert timeout >= 2 * Timeouts().total + deliveries.MARGIN
    assert stack.resources["DeliveriesQueue"]["VisibilityTimeout"] >= 6 * timeout


def test_failed_events_are_kept_for_two_weeks_and_nobody_else_sends_them_round(stack: Stack) -> None:
    assert stack.resources["FailedEventsQueue"]["MessageRetentionPeriod"] == 14 * DAY
    assert "RedrivePolicy" not in stack.resources["FailedEventsQueue"]


@pytest.mark.parametrize(
    "queue",
    ["Queue", "DeadLetterQueue", "DeliveriesQueue", "DeliveriesDeadLetterQueue", "FailedEventsQueue"],
)
def test_messages_are_encrypted(stack: Stack, queue: str) -> None:
    assert stack.resources[queue]["SqsManagedSseEnabled"] is True


# --- Names, and the configuration that repeats them ---------------------------------------------------------


def test_stages_share_no_name() -> None:
    one, two = (set(Stack(Stage=stage).outputs.values()) for stage in ("one", "two"))
    assert one & two == {"pocketsphinx", "false"}  # who makes transcripts, and X-Ray, are no names


@pytest.mark.parametrize("stage", ["local", "dev", "b2", "pull-request-17", "a" * 20])
def test_a_stage_name_gives_legal_resource_names(stage: str) -> None:
    rules = RAW["Parameters"]["Stage"]
    assert re.search(rules["AllowedPattern"], stage)
    assert len(stage) <= rules["MaxLength"]
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", Stack(Stage=stage).outputs["BucketName"])
    # Role and function names, of which on_incoming has the longest, end at 64 characters.
    assert len(f"waybill-{stage}-on_incoming") <= 64


@pytest.mark.parametrize("stage", ["", "Dev", "2b", "a_b", "a.b", "a-", "a--b", "prod/../x", "dev\n"])
def test_a_stage_name_that_would_make_illegal_names_is_refused(stage: str) -> None:
    assert not re.fullmatch(RAW["Parameters"]["Stage"]["AllowedPattern"], stage)


def _config(stage: str, function: str = "api_handler") -> Config:
    return Config(chalice_stage=stage, function_name=function, config_from_disk=CONFIG)


def _env(stage: str, function: str = "api_handler") -> dict[str, str]:
    return _config(stage, function).environment_variables


def _variables(outputs: dict[str, str]) -> dict[str, str]:
    """The outputs under the names of the variables they feed: BucketName becomes BUCKET_NAME."""
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper(): value for name, value in outputs.items()}


def test_the_local_stage_names_the_resources_that_the_template_makes(stack: Stack) -> None:
    made = _variables(stack.outputs)
    # For operators; no function needs them.
    assert made.pop("DEAD_LETTER_QUEUE_URL").endswith("-jobs-dead")
    assert made.pop("FAILED_EVENTS_QUEUE_URL").endswith("-failed-events")
    assert made.pop("TRACING") == "false"
    assert made.items() <= _env("local").items()


@pytest.mark.parametrize("function", GRANTS)
def test_the_local_stage_is_complete(function: str) -> None:
    settings = Settings.from_env(_env("local", function))
    assert (settings.region, settings.endpoint_url) == (REGION, ENDPOINT)
    assert (settings.auth_mode, settings.webhook_allow_insecure) == ("none", True)


@pytest.mark.parametrize("function", GRANTS)
def test_only_the_http_handler_brings_credentials_because_chalice_local_has_no_role(function: str) -> None:
    credentials = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & _env("local", function).keys()
    assert bool(credentials) == (function == "api_handler")


def test_a_deployed_stage_asks_for_tokens_and_sets_nothing_that_lambda_reserves() -> None:
    env = _env("dev")
    assert env["AUTH_MODE"] == "jwt"
    assert "WEBHOOK_ALLOW_INSECURE" not in env
    assert not [name for name in env if name.startswith("AWS_")]


def test_a_deployed_stage_names_what_follows_from_the_template_and_leaves_out_the_rest() -> None:
    made, env = _variables(Stack(Stage="dev").outputs), _env("dev")
    assert env.items() >= {name: made[name] for name in TABLE_NAMES}.items()
    assert not {"BUCKET_NAME", "QUEUE_URL", "DELIVERIES_QUEUE_URL", "TOPIC_ARN"} & env.keys()


@pytest.mark.parametrize("stage", CONFIG["stages"])
@pytest.mark.parametrize("function", GRANTS)
def test_every_function_has_its_own_policy_and_limits(stage: str, function: str) -> None:
    config = _config(stage, function)
    assert config.iam_policy_file == f"policy-{stage}-{function}.json"
    assert config.autogen_policy is False
    assert config.manage_iam_role is True
    assert 0 < config.lambda_timeout <= (900 if function in STEPS else 60)
    assert config.lambda_memory_size >= 256


@pytest.mark.parametrize("stage", CONFIG["stages"])
def test_responses_may_be_compressed(stage: str) -> None:
    """Without the setting, the embedded AWS describes its REST API in a way that botocore cannot parse."""
    assert _config(stage).minimum_compression_size > 0
