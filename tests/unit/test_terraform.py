"""`python -m ops terraform`: what it lays out follows from the template, the policies and app.py."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops import policies
from ops.deploy import checks
from ops.deploy.refusal import Failed, Refused
from ops.deploy.target import Target
from ops.policies import ASYNCHRONOUS, GRANTS
from ops.snapshot import FROM_OUTPUTS
from ops.state import CHECKOUT
from ops.terraform import chalice, functions, module
from ops.terraform.outputs import foretold
from tests.unit.test_template import ACCOUNT, ENDPOINT, REGION, Stack

STAGE = "blue"
CHOSEN = {
    "Tags": {"team": "files"},
    "LogRetentionInDays": 7,
    "Throttle": {"RatePerSecond": 50, "Burst": 100},
}


def no_client(service: str) -> Any:
    raise AssertionError(f"{service} was asked")


def target_of(project: Path) -> Target:
    return Target(STAGE, project, REGION, ACCOUNT, "aws", no_client, ENDPOINT)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with options of its own for a stage that it does not know yet."""
    project = tmp_path_factory.mktemp("project")
    for part in ("app.py", "chalicelib", "infra", "requirements.txt"):
        copy = shutil.copytree if (CHECKOUT / part).is_dir() else shutil.copy
        copy(CHECKOUT / part, project / part)
    (project / ".chalice").mkdir()
    shutil.copy(CHECKOUT / ".chalice" / "config.json", project / ".chalice" / "config.json")
    (project / "infra" / f"{STAGE}.json").write_text(json.dumps(CHOSEN))
    return project


@pytest.fixture(scope="module")
def directory(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared twice: the second time finds what the first has left, and what is the operator's."""
    directory = tmp_path_factory.mktemp("terraform")
    for _ in range(2):
        assert module.prepare(target_of(project), directory) == ("JWT_SECRET",)
        (directory / "terraform.tfvars").write_text("parameters = {}\n")
    return directory


@pytest.fixture(scope="module")
def made(directory: Path) -> Any:
    return json.loads((directory / "functions.tf.json").read_text())


def each(made: Any, kind: str) -> Iterator[tuple[str, Any]]:
    yield from made["resource"][kind].items()


# --- The outputs of a stack that is not there yet -----------------------------------------------------------


def test_outputs_are_foretold_as_the_template_makes_them(project: Path) -> None:
    parameters = {"Stage": STAGE, "Transcriber": "amazon"}

    known = foretold(target_of(project), parameters)

    made = Stack(**parameters).outputs
    assert known == {name: made[name] for name in known}
    assert set(FROM_OUTPUTS.values()) <= known.keys()


@pytest.mark.parametrize(
    ("partition", "region", "domain"),
    [("aws", "eu-central-1", "amazonaws.com"), ("aws-cn", "cn-north-1", "amazonaws.com.cn")],
)
def test_on_aws_queues_are_at_the_regions_own_endpoint(partition: str, region: str, domain: str) -> None:
    target = Target(STAGE, CHECKOUT, region, "123456789012", partition, no_client)

    known = foretold(target, {"Stage": STAGE})

    assert known["QueueUrl"] == f"https://sqs.{region}.{domain}/123456789012/waybill-blue-jobs"
    assert known["TopicArn"] == f"arn:{partition}:sns:{region}:123456789012:waybill-blue-events"


# --- The directory ------------------------------------------------------------------------------------------


def test_it_holds_all_that_terraform_reads_and_keeps_what_is_the_operators(directory: Path) -> None:
    ours = {file.name for file in (CHECKOUT / "infra" / "terraform").iterdir()}

    assert {file.name for file in directory.iterdir() if file.is_file()} == {
        *ours,
        "deployment.zip",
        "functions.tf.json",
        "template.json",
        "terraform.tfvars",
    }


def test_every_function_has_its_own_policy(made: Any) -> None:
    resources = policies.Resources.from_outputs(STAGE, made["locals"]["outputs"])

    written = {body["role"]: json.loads(body["policy"]) for _, body in each(made, "aws_iam_role_policy")}

    assert written == {
        f"${{aws_iam_role.{name}_role.id}}": policies.policy(name, resources) for name in GRANTS
    }


def test_policies_are_for_the_prefixes_of_the_settings(project: Path, tmp_path: Path) -> None:
    chalice.copy(
        target_of(project),
        tmp_path,
        foretold(target_of(project), {"Stage": STAGE}),
        policies.Prefixes(uploads="inbox/"),
    )

    written = (tmp_path / ".chalice" / f"policy-{STAGE}-on_upload.json").read_text()
    assert "/inbox/*" in written
    assert "/uploads/*" not in written


def test_what_follows_from_the_settings_cannot_be_set_beside_them(directory: Path, made: Any) -> None:
    assert {"RequireTls", "MalwareScan", "MaxSignatureAge"} <= set(made["locals"]["fixed_parameters"])
    assert "local.fixed_parameters" in (directory / "variables.tf").read_text()
    template = json.loads((directory / "template.json").read_text())
    assert set(made["locals"]["fixed_parameters"]) <= template["Parameters"].keys()


def test_the_alarms_know_the_api_by_its_name(made: Any) -> None:
    (api,) = made["resource"]["aws_api_gateway_rest_api"].values()
    assert made["locals"]["parameters"]["ApiName"] == api["name"]


def test_functions_know_their_stack_and_no_secret_is_in_a_file(directory: Path, made: Any) -> None:
    for name, function in each(made, "aws_lambda_function"):
        variables = function["environment"]["variables"]
        assert variables["BUCKET_NAME"] == f"waybill-blue-{ACCOUNT}"
        assert variables.get("JWT_SECRET") == ("${var.jwt_secret}" if name == "api_handler" else None)
    assert made["variable"]["jwt_secret"]["sensitive"] is True
    files = [file for file in directory.rglob("*") if file.suffix in (".tf", ".json", ".tfvars")]
    assert not [
        file for file in files if chalice.STAND_IN in file.read_text() and "package" not in file.parts
    ]


def test_a_stage_that_looks_keys_up_needs_no_secret(project: Path, tmp_path: Path) -> None:
    other = shutil.copytree(project, tmp_path / "other")
    keys = {
        "JWT_JWKS_URL": "https://id.example/keys",
        "JWT_ISSUER": "https://id.example",
        "JWT_AUDIENCE": "w",
    }
    config = json.loads((other / ".chalice" / "config.json").read_text())
    config["stages"][STAGE] = {"environment_variables": {"AUTH_MODE": "jwt", **keys}}
    (other / ".chalice" / "config.json").write_text(json.dumps(config))

    assert module.prepare(target_of(other), tmp_path / "to") == ()

    assert json.loads((tmp_path / "to" / "functions.tf.json").read_text())["variable"] == {}


def test_the_options_of_the_stage_are_taken(made: Any) -> None:
    assert made["locals"]["tags"] == CHOSEN["Tags"]
    assert made["locals"]["log_retention_days"] == 7
    assert made["locals"]["parameters"]["Stage"] == STAGE
    (throttle,) = made["resource"]["aws_api_gateway_method_settings"].values()
    assert throttle["settings"] == {"throttling_rate_limit": 50, "throttling_burst_limit": 100}


def test_a_page_of_another_origin_can_read_what_api_gateway_answers_by_itself(made: Any) -> None:
    definition = json.loads(made["locals"]["chalice_api_swagger"])
    responses = definition["x-amazon-apigateway-gateway-responses"]
    preflight = definition["paths"]["/presign"]["options"]["x-amazon-apigateway-integration"]["responses"]

    for kind in ("DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED"):
        headers = responses[kind]["responseParameters"]
        assert headers["gatewayresponse.header.Access-Control-Allow-Origin"] == "'*'"
        for name, value in preflight["default"]["responseParameters"].items():
            if not name.endswith("-Methods"):
                assert headers[name.replace("method.response", "gatewayresponse")] == value
        assert responses[kind].get("statusCode") == ("429" if kind == "THROTTLED" else None)
    # Terraform reads the definition as a template of its own.
    assert "${" not in json.dumps(responses)


def test_failed_events_of_asynchronous_functions_are_kept(made: Any) -> None:
    kept = dict(each(made, "aws_lambda_function_event_invoke_config"))

    assert set(kept) == set(ASYNCHRONOUS)
    (arn,) = {body["destination_config"]["on_failure"]["destination"] for body in kept.values()}
    assert arn == f"arn:aws:sqs:{REGION}:{ACCOUNT}:waybill-blue-failed-events"


def test_everything_waits_for_the_stack_and_failures_of_a_batch_are_reported(made: Any) -> None:
    for _, function in each(made, "aws_lambda_function"):
        assert {functions.STACK, functions.LOG_GROUPS} <= set(function["depends_on"])
    for _, mapping in each(made, "aws_lambda_event_source_mapping"):
        assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
        assert mapping["function_name"].startswith("${aws_lambda_function.")
    for _, notification in each(made, "aws_s3_bucket_notification"):
        assert all(
            target["lambda_function_arn"].startswith("${aws_lambda_function.")
            for target in notification["lambda_function"]
        )


def test_the_bucket_is_told_of_functions_when_it_may_call_them(made: Any) -> None:
    """S3 refuses them otherwise: "Unable to validate the following destination configurations"."""
    allowed = {
        f"aws_lambda_permission.{name}": permission["function_name"]
        for name, permission in each(made, "aws_lambda_permission")
    }
    (notification,) = (body for _, body in each(made, "aws_s3_bucket_notification"))
    callable_before = {allowed[name] for name in notification["depends_on"]}

    assert {target["lambda_function_arn"] for target in notification["lambda_function"]} == callable_before


@pytest.mark.parametrize("scans", [True, False])
def test_the_scanner_hears_of_objects_after_terraform_has_set_notifications(
    project: Path, tmp_path: Path, scans: bool
) -> None:
    """A bucket has one set of them; Terraform writes all of it."""
    mine = tmp_path / "project"
    shutil.copytree(project, mine)
    config = json.loads((mine / ".chalice" / "config.json").read_text())
    config["stages"]["dev"]["environment_variables"] |= {"MALWARE_SCAN": "guardduty" if scans else "none"}
    (mine / ".chalice" / "config.json").write_text(json.dumps(config))
    module.prepare(target_of(mine), tmp_path / "out")
    made = json.loads((tmp_path / "out" / "functions.tf.json").read_text())
    (notification,) = made["resource"]["aws_s3_bucket_notification"].values()

    assert notification.get("eventbridge", False) is scans


def test_all_names_are_the_stages_own(made: Any) -> None:
    for kind, key in (
        ("aws_lambda_function", "function_name"),
        ("aws_cloudwatch_event_rule", "name"),
        ("aws_iam_role", "name"),
        ("aws_api_gateway_rest_api", "name"),
    ):
        names = [body[key] for _, body in each(made, kind)]
        assert [name for name in names if name != "waybill-blue" and name[:13] != "waybill-blue-"] == []


def test_nothing_is_left_that_terraform_and_its_provider_have_given_up(made: Any) -> None:
    assert "terraform" not in made
    assert set(made["data"]) == {"aws_caller_identity", "aws_partition", "aws_region"}
    assert "null_data_source" not in json.dumps(made)
    # Both live in aws_api_gateway_stage since version 6 of the provider.
    assert (
        not {"stage_name", "stage_description"}
        & made["resource"]["aws_api_gateway_deployment"]["rest_api"].keys()
    )


# --- What it refuses ----------------------------------------------------------------------------------------


def test_what_opens_every_file_to_everybody_is_refused(project: Path, tmp_path: Path) -> None:
    other = shutil.copytree(project, tmp_path / "other")
    config = json.loads((other / ".chalice" / "config.json").read_text())
    config["stages"][STAGE] = {"environment_variables": {"AUTH_MODE": "none"}}
    (other / ".chalice" / "config.json").write_text(json.dumps(config))

    with pytest.raises(Refused, match="AUTH_MODE is none"):
        module.prepare(target_of(other), tmp_path / "to")

    assert not (tmp_path / "to").exists()


def test_a_python_that_lambda_does_not_run_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def old(target: Target) -> None:
        looked(target, (3, 11))

    looked = checks.interpreter
    monkeypatch.setattr(checks, "interpreter", old)

    with pytest.raises(Refused, match=r"this is Python 3\.11"):
        module.prepare(dataclasses.replace(target_of(project), endpoint_url=None), CHECKOUT / "nowhere")


def test_an_app_that_cannot_be_packaged_says_why(project: Path, tmp_path: Path) -> None:
    other = shutil.copytree(project, tmp_path / "other")
    (other / "app.py").write_text("raise RuntimeError('the app is broken')")

    with pytest.raises(Failed, match=r"chalice package failed: .*the app is broken"):
        module.prepare(target_of(other), tmp_path / "to")

    assert not (tmp_path / "to" / "functions.tf.json").exists()
