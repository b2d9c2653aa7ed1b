"""What a deployment looks at before it touches anything, what it writes, and how it finds out of a mess.

The whole of it is in tests/stack/test_deploy.py.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import deployed, destroy, template
from ops.cloudformation import HOPELESS, ChangeSet, Stack, StackFailed
from ops.deploy import chalice, changes, checks, kept, options, rights, secret, steps
from ops.deploy.config import StageConfig, dumps
from ops.deploy.options import Options
from ops.deploy.refusal import Refused
from ops.deploy.target import Target, check_name
from ops.policies import GRANTS
from ops.snapshot import FROM_OUTPUTS
from ops.state import CHECKOUT

ACCOUNT = "123456789012"
REGION = "eu-central-1"
SECRET = "s" * 40
OUTPUTS = {output: f"the {output}" for output in FROM_OUTPUTS.values()}


class NothingThere:
    """Lambda without functions; whatever else is asked of it, or of another service, fails the test."""

    class exceptions:
        class ResourceNotFoundException(Exception):
            pass

    def __init__(self, variables: dict[str, str] | None = None) -> None:
        self._variables = variables

    def get_function_configuration(self, **_: str) -> Any:
        if self._variables is None:
            raise self.exceptions.ResourceNotFoundException
        return {"Environment": {"Variables": self._variables}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(CHECKOUT / "infra", tmp_path / "infra")
    (tmp_path / ".chalice").mkdir()
    shutil.copy(CHECKOUT / ".chalice" / "config.json", tmp_path / ".chalice")
    return tmp_path


@pytest.fixture
def target(project: Path) -> Target:
    there = NothingThere()
    return Target("dev", project, REGION, ACCOUNT, "aws", lambda _service: there)


@pytest.fixture(autouse=True)
def right_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JWT_SECRET", raising=False)
    monkeypatch.setattr(checks.interpreter, "__defaults__", ((3, 12),))


def set_variables(project: Path, stage: str = "dev", function: str | None = None, **variables: Any) -> None:
    path = project / ".chalice" / "config.json"
    config = json.loads(path.read_text())
    section = config["stages"][stage]
    place = section["lambda_functions"][function] if function else section
    place.setdefault("environment_variables", {}).update(variables)
    path.write_text(json.dumps(config))


def choose(project: Path, **chosen: Any) -> None:
    (project / "infra" / "dev.json").write_text(json.dumps(chosen))


# --- What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"AUTH_MODE": "none"}, "AUTH_MODE is none"),
        ({"AUTH_MODE": ""}, "AUTH_MODE is not set"),
        ({}, "nothing says whose tokens stage dev believes"),
        ({"JWT_SECRET": "short"}, "JWT_SECRET is too short"),
        ({"JWT_JWKS_URL": "https://issuer.example/keys"}, "JWT_ISSUER is not set"),
        ({"JWT_JWKS_URL": "http://issuer.example/keys"}, "JWT_JWKS_URL is 'http://issuer.example/keys'"),
        ({"JWT_SECRET": SECRET, "EXPIRES_IN": "soon"}, "EXPIRES_IN is 'soon'"),
        ({"JWT_SECRET": SECRET, "WEBHOOK_ALLOW_INSECURE": "true"}, "WEBHOOK_ALLOW_INSECURE is true"),
        ({"JWT_SECRET": SECRET, "LEASE_SECONDS": "60"}, "LEASE_SECONDS is 60, and consume may take 60 s"),
        ({"JWT_SECRET": SECRET, "MAX_ROWS": 7}, 'MAX_ROWS .* is 7, .*: write "7"'),
        ({"JWT_SECRET": SECRET, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS_ENDPOINT_URL"),
        ({"JWT_SECRET": SECRET, "TOPIC_ARN": f"arn:aws:sns:us-east-1:{ACCOUNT}:t"}, "lives in us-east-1"),
        ({"JWT_SECRET": SECRET, "TOPIC_ARN": f"arn:aws:sns:{REGION}:000000000000:t"}, "account 000000000000"),
    ],
)
def test_settings_that_are_unsafe_or_meant_for_elsewhere_are_refused_by_name(
    project: Path, target: Target, variables: dict[str, Any], why: str
) -> None:
    set_variables(project, **variables)

    with pytest.raises(Refused, match=why):
        steps.plan(target)


def test_a_timeout_that_lambda_does_not_give_is_refused(project: Path, target: Target) -> None:
    set_variables(project, JWT_SECRET=SECRET, LEASE_SECONDS="2000")
    path = project / ".chalice" / "config.json"
    config = json.loads(path.read_text())
    config["lambda_functions"]["consume"]["lambda_timeout"] = 901
    path.write_text(json.dumps(config))

    with pytest.raises(Refused, match=r"consume .* is 901: Lambda gives 900"):
        steps.plan(target)


def test_a_function_s_own_settings_are_looked_at_too(project: Path, target: Target) -> None:
    set_variables(project, JWT_SECRET=SECRET)
    set_variables(project, function="consume", DECODE_SECONDS="many")

    with pytest.raises(Refused, match="the settings of consume are wrong: DECODE_SECONDS"):
        steps.plan(target)


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"Parameters": {"AllowedOrigin": "*"}}, "no parameter AllowedOrigin, .* is it AllowedOrigins?"),
        ({"Parameters": {"MalwareScan": "guardduty"}}, "follows from MALWARE_SCAN"),
        ({"Parameters": {"RequireTls": "false"}}, "RequireTls .* follows from"),
        ({"Parameters": {"MaxSignatureAge": "60"}}, "EXPIRES_IN is 900"),
        ({"Parameters": {"FunctionTimeout": "30"}}, "consume's lambda_timeout is 60"),
        ({"Parameters": {"Worker": "fargate"}}, "takes WorkerImage"),
        (
            {
                "Parameters": {
                    "Worker": "fargate",
                    "WorkerImage": "i",
                    "WorkerSubnets": "s",
                    "WorkerSecurityGroups": "g",
                    "WorkerDisk": "30",
                }
            },
            "WorkerDisk is 30 GiB",
        ),
        ({"Parameters": {"Worker": "fargate", "WorkerDisk": "big"}}, "WorkerDisk .* takes 21 to 200"),
        ({"Parameters": {"Monitoring": "yes"}}, "Monitoring .* is 'yes', and takes true or false"),
        ({"Parameters": {"AlarmEmail": "me"}}, "AlarmEmail .* takes an e-mail address"),
        ({"Params": {}}, "has Params"),
        ({"LogRetentionInDays": 31}, "LogRetentionInDays"),
        ({"Throttle": {"Rate": 1}}, "Throttle"),
        ({"Throttle": {"RatePerSecond": 0, "Burst": 1}}, "numbers above zero"),
        ({"Tags": ["a"]}, "Tags"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(
    project: Path, target: Target, chosen: dict[str, Any], why: str
) -> None:
    set_variables(project, JWT_SECRET=SECRET)
    choose(project, **chosen)

    with pytest.raises(Refused, match=why):
        steps.plan(target)


@pytest.mark.parametrize(
    ("version", "refused"), [((3, 11), True), ((3, 12), False), ((3, 13), False), ((3, 14), True)]
)
def test_aws_is_deployed_to_from_a_python_that_it_has(
    target: Target, version: tuple[int, int], refused: bool
) -> None:
    embedded = Target("dev", target.project, REGION, ACCOUNT, "aws", target.client, "http://127.0.0.1:4566")
    checks.interpreter(embedded, version)
    if not refused:
        checks.interpreter(target, version)
        return
    with pytest.raises(Refused, match=r"make PYTHON=python3.12 deploy STAGE=dev"):
        checks.interpreter(target, version)


@pytest.mark.parametrize("stage", ["local", "Dev", "a--b", "", "x" * 21, "dev;rm"])
def test_a_name_that_no_stage_can_have_is_refused(stage: str) -> None:
    with pytest.raises(Refused):
        check_name(stage, template.of(CHECKOUT))


def test_a_name_that_ends_otherwise_is_not_the_embedded_aws(target: Target) -> None:
    def at(url: str | None) -> bool:
        return Target("dev", target.project, REGION, ACCOUNT, "aws", target.client, url).embedded

    assert at("http://localhost:4566")
    assert not at("http://localhost.example:4566")
    assert not at(None)


# --- What follows from the settings -------------------------------------------------------------------------


def test_parameters_follow_from_settings_and_choices(project: Path, target: Target) -> None:
    set_variables(project, JWT_SECRET=SECRET, EXPIRES_IN="3600", MALWARE_SCAN="guardduty")
    choose(project, Parameters={"AllowedOrigins": "https://app.example.com", "Transcriber": "none"})

    expected = {
        "AllowedOrigins": "https://app.example.com",
        "Stage": "dev",
        "RequireTls": "true",
        "MalwareScan": "guardduty",
        "MaxSignatureAge": "3600",
        "FunctionTimeout": "60",
        "Transcriber": "none",
    }
    assert expected.items() <= steps.plan(target).parameters.items()


def test_true_is_written_as_cloudformation_writes_it(project: Path, target: Target) -> None:
    set_variables(project, JWT_SECRET=SECRET)
    choose(project, Parameters={"Monitoring": False})

    assert steps.plan(target).parameters["Monitoring"] == "false"


def test_a_choice_may_be_more_than_the_settings_ask_for(project: Path, target: Target) -> None:
    set_variables(project, JWT_SECRET=SECRET)
    choose(project, Parameters={"MaxSignatureAge": 1800, "FunctionTimeout": 120})

    made = steps.plan(target).parameters

    assert (made["MaxSignatureAge"], made["FunctionTimeout"]) == ("1800", "120")


def test_prefixes_that_the_template_does_not_know_are_refused_where_it_has_to(
    project: Path, target: Target
) -> None:
    """Nobody would scan what comes in elsewhere, and no policy would keep it apart."""
    set_variables(project, JWT_SECRET=SECRET, UPLOAD_PREFIX="inbox/")
    choose(project, Parameters={"Transcriber": "none"})
    steps.plan(target)
    set_variables(project, MALWARE_SCAN="guardduty")

    with pytest.raises(Refused, match="MALWARE_SCAN that was chosen, every …_PREFIX has its default"):
        steps.plan(target)


def test_without_a_file_everything_has_its_default(project: Path) -> None:
    assert Options.read(project, "dev") == Options("infra/dev.json")
    assert options.LOG_RETENTION_DAYS in options.RETENTIONS


# --- The configuration --------------------------------------------------------------------------------------


def test_the_configuration_is_written_as_it_is_kept() -> None:
    text = (CHECKOUT / ".chalice" / "config.json").read_text()
    assert dumps(json.loads(text)) == text


def test_a_configuration_that_cannot_be_read_is_refused_by_name(project: Path) -> None:
    path = project / ".chalice" / "config.json"
    path.write_text('{"stages": {')
    with pytest.raises(Refused, match=r"config\.json is not JSON: .*line 1"):
        StageConfig(project, "dev")
    path.write_text('{"stages": {}}')
    with pytest.raises(Refused, match=r"config\.json has no lambda_functions"):
        StageConfig(project, "dev")
    path.unlink()
    with pytest.raises(Refused, match=r"config\.json is not there"):
        StageConfig(project, "dev")


def test_only_what_is_the_deployment_s_own_is_written(project: Path) -> None:
    set_variables(project, MAX_ROWS="7", BUCKET_NAME="an-older-one")
    set_variables(project, function="consume", DECODE_SECONDS="20")
    before = json.loads((project / ".chalice" / "config.json").read_text())
    config = StageConfig(project, "dev")

    config.take_outputs(OUTPUTS)

    assert config.write()
    after = json.loads((project / ".chalice" / "config.json").read_text())
    names = {variable: OUTPUTS[output] for variable, output in FROM_OUTPUTS.items()}
    before["stages"]["dev"]["environment_variables"] |= names
    assert after == before
    again = StageConfig(project, "dev")
    again.take_outputs(OUTPUTS)
    assert not again.write()
    assert [path.name for path in (project / ".chalice").iterdir()] == ["config.json"]


def test_a_new_stage_is_made_after_dev_without_what_is_dev_s_own(project: Path) -> None:
    set_variables(project, BUCKET_NAME="dev's", JWT_ISSUER="dev's", MAX_ROWS="7")
    set_variables(project, function="api_handler", JWT_SECRET="", DECODE_SECONDS="20")
    config = StageConfig(project, "prod")
    assert config.is_new

    config.take_outputs(OUTPUTS)
    config.write()

    made = json.loads((project / ".chalice" / "config.json").read_text())["stages"]["prod"]
    names = {variable: OUTPUTS[output] for variable, output in FROM_OUTPUTS.items()}
    assert made["environment_variables"] == {"AUTH_MODE": "jwt", "MAX_ROWS": "7", **names}
    assert made["lambda_functions"].keys() == GRANTS.keys()
    assert made["lambda_functions"]["api_handler"] == {
        "iam_policy_file": "policy-prod-api_handler.json",
        "environment_variables": {"DECODE_SECONDS": "20"},
    }


# --- The secret ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "shell", "deployed", "found"),
    [
        ({}, {}, None, None),
        ({}, {"JWT_SECRET": "shell"}, {"JWT_SECRET": "deployed"}, "shell"),
        ({"JWT_SECRET": ""}, {}, {"JWT_SECRET": "deployed"}, "deployed"),
        ({"JWT_SECRET": "written"}, {"JWT_SECRET": "shell"}, None, "written"),
        ({"JWT_JWKS_URL": "https://i"}, {"JWT_SECRET": "shell"}, {"JWT_SECRET": "deployed"}, None),
    ],
)
def test_the_secret_comes_from_who_knows_it(
    project: Path,
    written: dict[str, str],
    shell: dict[str, str],
    deployed: dict[str, str] | None,
    found: str | None,
) -> None:
    set_variables(project, **written)
    target = Target("dev", project, REGION, ACCOUNT, "aws", lambda _: NothingThere(deployed))

    assert secret.find(target, StageConfig(project, "dev"), shell) == found


def test_where_there_is_a_secret_the_configuration_says_so_and_not_which(project: Path) -> None:
    config = StageConfig(project, "dev")
    config.leave_out_the_secret()
    assert config.variables()["JWT_SECRET"] == ""
    assert "JWT_SECRET" not in config.variables("consume")
    set_variables(project, function="api_handler", JWT_SECRET=SECRET)
    config = StageConfig(project, "dev")
    config.leave_out_the_secret()
    assert config.variables()["JWT_SECRET"] == SECRET  # somebody has chosen to keep it there


# --- The template -------------------------------------------------------------------------------------------


def test_the_template_is_small_enough_to_be_sent() -> None:
    read = template.of(CHECKOUT)
    assert len(template.body(read).encode()) <= template.MAX_BYTES
    with pytest.raises(ValueError, match="51200"):
        template.body({"Description": "x" * template.MAX_BYTES})


def test_the_template_reads_as_cloudformation_reads_it() -> None:
    from tests.unit.test_template import RAW

    def normal(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: one.split(".", 1) if name == "Fn::GetAtt" and isinstance(one, str) else normal(one)
                for name, one in value.items()
            }
        return [normal(one) for one in value] if isinstance(value, list) else value

    assert template.of(CHECKOUT) == normal(RAW)


def test_an_import_holds_nothing_but_what_was_kept_and_needs_nothing_else(target: Target) -> None:
    read = target.template
    found = [
        {"ResourceType": resource["Type"], "LogicalResourceId": name, "ResourceIdentifier": {}}
        for name, resource in kept.kept(read).items()
    ]
    made = kept.template_of(read, found)

    assert {"Bucket", "JobsTable", "DeliveriesQueue", "FailedEventsQueue"} <= made["Resources"].keys()
    text = json.dumps(made["Resources"])
    assert "Fn::GetAtt" not in text
    assert "Fn::If" not in text
    assert '"Ref": ' not in text
    assert all("DeletionPolicy" in resource for resource in made["Resources"].values())
    names = [kept.name_of(target, resource) for resource in kept.kept(read).values()]
    assert f"waybill-dev-{ACCOUNT}" in names
    assert not [name for name in names if "$" in name]


def test_a_change_set_is_told_in_lines() -> None:
    def change(action: str, name: str, **more: Any) -> dict[str, Any]:
        resource = {"Action": action, "LogicalResourceId": name, "ResourceType": "AWS::SQS::Queue", **more}
        return {"Type": "Resource", "ResourceChange": resource}

    detail = {"Target": {"Attribute": "Properties", "Name": "VisibilityTimeout"}}
    given = [
        change("Add", "New"),
        change("Modify", "Queue", Replacement="False", Details=[detail, detail]),
        change("Modify", "Table", Replacement="True", Details=[{"Target": {"Name": "KeySchema"}}]),
        change("Remove", "Old"),
    ]

    assert list(changes.lines(given)) == [
        "  +  New    AWS::SQS::Queue",
        "  ~  Queue  AWS::SQS::Queue  VisibilityTimeout",
        "  !  Table  AWS::SQS::Queue  replaced: KeySchema",
        "  -  Old    AWS::SQS::Queue",
    ]
    assert changes.summary(given) == "1 to create, 1 to change, 1 to replace, 1 to delete"
    kept_ones = {"Table": {"DeletionPolicy": "RetainExceptOnCreate"}}
    assert changes.would_part_with(given, kept_ones) == ["Table"]
    assert changes.would_part_with(given[:2], kept_ones) == []


# --- The stack ----------------------------------------------------------------------------------------------


class CloudFormation:
    """One stack, whose states follow each other as scripted; remembers what it was told to do."""

    def __init__(self, *statuses: str | None, reason: str = "") -> None:
        self._statuses = list(statuses)
        self._reason = reason
        self.calls: list[str] = []

    def describe_stacks(self, **_: Any) -> Any:
        status = self._statuses[0]
        if len(self._statuses) > 1:
            self._statuses.pop(0)
        if status is None:
            message = "Stack with id waybill-dev does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks")
        return {"Stacks": [{"StackStatus": status}]}

    def paginate(self, **_: Any) -> Any:
        """Of events, the latest first: what is taken back fills the first page."""
        failed = {"ResourceStatus": "CREATE_FAILED", "ResourceStatusReason": "it is taken"}
        deleted = {"LogicalResourceId": "Topic", "ResourceStatus": "DELETE_COMPLETE"}
        before = {"LogicalResourceId": "Queue", "ResourceStatus": "CREATE_FAILED"}
        if "execute_change_set" in self.calls:
            yield {"StackEvents": [deleted | {"EventId": "3"}]}
            yield {"StackEvents": [failed | {"EventId": "2", "LogicalResourceId": "Bucket"}]}
        yield {"StackEvents": [before | {"EventId": "1", "ResourceStatusReason": "last week"}]}

    def get_paginator(self, name: str) -> Any:
        if name == "describe_stack_events":
            return self
        status = "FAILED" if self._reason else "CREATE_COMPLETE"
        described = {"Status": status, "StatusReason": self._reason, "Changes": []}

        class Pages:
            def paginate(self, **_: Any) -> list[Any]:
                return [described]

        return Pages()

    def create_change_set(self, **request: Any) -> Any:
        self.calls.append(f"create_change_set {request['ChangeSetType']}")
        return {"Id": "change-set", "StackId": "stack"}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda **_: self.calls.append(name)


def stack(cloudformation: CloudFormation) -> Stack:
    return Stack(cloudformation, "waybill-dev", pause=0)


@pytest.mark.parametrize("status", HOPELESS)
def test_what_takes_no_update_is_deleted_first(status: str) -> None:
    cloudformation = CloudFormation(status, status, "DELETE_IN_PROGRESS", None)

    stack(cloudformation).settle()

    assert cloudformation.calls == ["delete_stack"]


def test_a_change_under_way_is_waited_for() -> None:
    cloudformation = CloudFormation("UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE")

    stack(cloudformation).settle()

    assert cloudformation.calls == []
    assert stack(cloudformation).status() == "UPDATE_COMPLETE"


def test_a_change_that_was_not_taken_back_is_taken_back() -> None:
    cloudformation = CloudFormation(
        "UPDATE_ROLLBACK_FAILED", "UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"
    )

    stack(cloudformation).settle()

    assert cloudformation.calls == ["continue_update_rollback"]


@pytest.mark.parametrize(
    ("status", "calls"),
    [
        (None, ["create_change_set CREATE"]),
        ("REVIEW_IN_PROGRESS", ["delete_change_set", "create_change_set CREATE"]),
        ("UPDATE_COMPLETE", ["delete_change_set", "create_change_set UPDATE"]),
        ("IMPORT_COMPLETE", ["delete_change_set", "create_change_set UPDATE"]),
    ],
)
def test_a_stack_is_created_or_updated_as_it_is_there(status: str | None, calls: list[str]) -> None:
    cloudformation = CloudFormation(status)

    assert stack(cloudformation).propose("{}", {}) is not None

    assert cloudformation.calls == calls


def test_an_empty_change_set_is_no_change_and_is_cleared_away() -> None:
    reason = "The submitted information didn't contain changes. Submit different information to create one."
    cloudformation = CloudFormation("UPDATE_COMPLETE", reason=reason)

    assert stack(cloudformation).propose("{}", {}) is None

    assert cloudformation.calls[-1] == "delete_change_set"


def test_a_change_set_that_is_refused_says_why_and_leaves_no_stack_behind() -> None:
    cloudformation = CloudFormation(
        None, "REVIEW_IN_PROGRESS", "REVIEW_IN_PROGRESS", None, reason="No such type."
    )

    with pytest.raises(StackFailed, match=r"was refused: No such type\."):
        stack(cloudformation).propose("{}", {})

    assert cloudformation.calls == ["create_change_set CREATE", "delete_change_set", "delete_stack"]


EARLY = "The following hook(s)/validation failed: [AWS::EarlyValidation::ResourceExistenceCheck]."


def validated(resource: str, mode: str, reason: str) -> dict[str, str]:
    """As DescribeEvents has it."""
    return {
        "EventType": "VALIDATION_ERROR",
        "LogicalResourceId": resource,
        "ValidationFailureMode": mode,
        "ValidationStatusReason": reason,
    }


@pytest.mark.parametrize("may_look", [True, False])
def test_what_cannot_be_is_told_before_it_is_tried(may_look: bool) -> None:
    """The change set says no more than that; its events say what."""
    taken = validated("Queue", "FAIL", "Resource of type 'AWS::SQS::Queue' already exists.")
    events = [taken, validated("Bucket", "WARN", "It is not empty."), taken]

    class Validating(CloudFormation):
        def describe_events(self, **request: Any) -> Any:
            assert request["ChangeSetName"] == "change-set"
            assert "delete_change_set" not in self.calls[1:]
            if not may_look:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "No."}}, "DescribeEvents")
            return {"OperationEvents": events}

    with pytest.raises(StackFailed) as failed:
        stack(Validating("UPDATE_COMPLETE", reason=EARLY)).propose("{}", {})

    said = "Queue: Resource of type 'AWS::SQS::Queue' already exists." if may_look else EARLY
    assert str(failed.value) == f"infra/template.yaml was refused: {said}"


def test_a_failure_is_told_by_what_failed_first() -> None:
    cloudformation = CloudFormation("CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", None)

    with pytest.raises(StackFailed, match="Bucket: it is taken"):
        stack(cloudformation).carry_out(ChangeSet("change-set", creates=True))


# --- Rights, and what Chalice says --------------------------------------------------------------------------


NAMELESS = ("WithoutResources", "KeepTheApi", "WriteListsInTheTemplate", "LetEcsWork")


def test_the_rights_are_for_one_stage_and_no_other() -> None:
    document = rights.policy("aws", REGION, ACCOUNT, "dev")
    for statement in document["Statement"]:
        for resource in statement["Resource"]:
            free = statement["Sid"] in NAMELESS
            assert free or "waybill-dev" in resource or "/waybill/dev/" in resource, resource
    assert f"arn:aws:cloudformation:{REGION}:aws:transform/LanguageExtensions" in json.dumps(document)
    assert len(json.dumps(document, separators=(",", ":"))) <= 6144  # of a managed policy
    assert "iam:*" not in json.dumps(document)


def test_what_chalice_says_is_told_once_and_without_its_traceback(tmp_path: Path) -> None:
    log, told = tmp_path / "log", list[str]()
    log.write_text("Creating IAM role: a\nCreat")
    read = chalice._tell(log, 0, told.append)
    log.write_text(
        "Creating IAM role: a\nCreating IAM role: b\nTraceback (most recent call last):\n  File x\nE: y\n"
    )
    chalice._tell(log, read, told.append)

    assert told == ["Creating IAM role: a", "Creating IAM role: b"]
    assert chalice._reason(log) == "E: y"
    log.write_text("ERROR - While deploying, received\nthe following error:\n\n No leave.\n")
    assert chalice._reason(log) == "While deploying, received the following error: No leave."


# --- What was deployed before -------------------------------------------------------------------------------


def test_only_a_second_mapping_of_the_stage_s_own_queue_is_deleted() -> None:
    """Somebody else's queue may feed a function as well."""
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:waybill-dev-consume"
    queues = ["orders", "waybill-dev-jobs", "waybill-dev-jobs"]
    deleted: list[str] = []

    class Lambda(NothingThere):
        def list_event_source_mappings(self, **_: str) -> Any:
            source = f"arn:aws:sqs:{REGION}:{ACCOUNT}:"
            found = [{"UUID": str(at), "EventSourceArn": source + name} for at, name in enumerate(queues)]
            return {"EventSourceMappings": found}

        def delete_event_source_mapping(self, UUID: str) -> None:
            deleted.append(UUID)

        def get_policy(self, **_: str) -> Any:
            raise self.exceptions.ResourceNotFoundException

    functions = Lambda()
    (note,) = deployed._triggers(lambda _: functions, "dev", "consume", arn)

    assert (note["queue"], note["event_uuid"]) == ("waybill-dev-jobs", "1")
    assert deleted == ["2"]


def test_a_stage_of_another_account_is_not_destroyed(
    project: Path, target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even by who says that nobody need be asked."""
    set_variables(project, TOPIC_ARN=f"arn:aws:sns:{REGION}:000000000000:waybill-dev-events")
    monkeypatch.setattr("ops.deploy.target.find", lambda *_: target)
    parser = argparse.ArgumentParser()
    destroy.add_arguments(parser)

    assert destroy.run(parser.parse_args(["--yes", "--delete-data", "--project-dir", str(project)])) == 2

    assert "lives in eu-central-1, account 000000000000" in capsys.readouterr().err
