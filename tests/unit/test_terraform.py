"""`python -m ops terraform`: what it lays out follows from the template, the policies and app.py."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops import policies, terraform
from ops.deployment import CannotLook
from ops.policies import GRANTS
from ops.snapshot import FROM_OUTPUTS
from ops.state import CHECKOUT
from ops.terraform import CannotPrepare, app, functions, template
from ops.terraform.template import Place, TemplateError
from tests.unit.test_template import ACCOUNT, ENDPOINT, REGION, Stack

HERE = Place("blue", ACCOUNT, REGION, endpoint_url=ENDPOINT)
TEMPLATE = template.load((CHECKOUT / "infra" / "template.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the stage blue, prepared twice: the second time finds what the first has left."""
    target = tmp_path_factory.mktemp("terraform")
    for _ in range(2):
        assert terraform.prepare(CHECKOUT, target, HERE) == len(GRANTS)
        (target / "terraform.tfvars").write_text("log_retention_days = 7\n")
    return target


@pytest.fixture(scope="module")
def made(directory: Path) -> Any:
    return json.loads((directory / "functions.tf.json").read_text())


def each(made: Any, kind: str) -> Iterator[tuple[str, Any]]:
    yield from made["resource"][kind].items()


# --- The template -------------------------------------------------------------------------------------------


def test_outputs_are_foretold_as_the_template_makes_them() -> None:
    foretold = template.outputs(TEMPLATE, HERE, {"Transcriber": "amazon"})

    made = Stack(Stage="blue", Transcriber="amazon").outputs
    assert foretold == {name: made[name] for name in foretold}
    assert set(FROM_OUTPUTS.values()) <= foretold.keys()


@pytest.mark.parametrize(
    ("partition", "region", "domain"),
    [("aws", "eu-central-1", "amazonaws.com"), ("aws-cn", "cn-north-1", "amazonaws.com.cn")],
)
def test_on_aws_queues_are_at_the_regions_own_endpoint(partition: str, region: str, domain: str) -> None:
    place = Place("blue", "123456789012", region, partition)

    foretold = template.outputs(TEMPLATE, place, {})

    assert foretold["QueueUrl"] == f"https://sqs.{region}.{domain}/123456789012/waybill-blue-jobs"
    assert foretold["TopicArn"] == f"arn:{partition}:sns:{region}:123456789012:waybill-blue-events"


def test_the_template_says_the_same_as_json() -> None:
    text = template.compact(TEMPLATE)

    assert json.loads(text) == TEMPLATE
    assert {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]} in _nodes(json.loads(text))


def test_a_template_that_cloudformation_would_not_take_is_refused() -> None:
    with pytest.raises(TemplateError, match="CloudFormation takes 51,200"):
        template.compact({"Description": "x" * template.MAX_BYTES})


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(child)


# --- The directory ------------------------------------------------------------------------------------------


def test_the_directory_holds_all_that_terraform_reads_and_keeps_what_is_the_operators(
    directory: Path,
) -> None:
    ours = {file.name for file in (CHECKOUT / "infra" / "terraform").iterdir()}

    assert {file.name for file in directory.iterdir() if file.is_file()} == {
        *ours,
        "deployment.zip",
        "functions.tf.json",
        "template.json",
        "terraform.tfvars",
    }


def test_every_function_has_its_own_policy(made: Any) -> None:
    outputs = template.outputs(TEMPLATE, HERE, {})
    resources = policies.Resources.from_outputs("blue", outputs)

    written = {body["role"]: json.loads(body["policy"]) for _, body in each(made, "aws_iam_role_policy")}

    assert written == {
        f"${{aws_iam_role.{name}_role.id}}": policies.policy(name, resources) for name in GRANTS
    }


def test_functions_know_their_stack_and_no_secret_is_in_a_file(directory: Path, made: Any) -> None:
    for _, function in each(made, "aws_lambda_function"):
        variables = function["environment"]["variables"]
        assert variables["BUCKET_NAME"] == f"waybill-blue-{ACCOUNT}"
        assert variables["JWT_SECRET"] == "${var.jwt_secret}"
    assert made["variable"]["jwt_secret"]["sensitive"] is True
    assert not [file for file in directory.glob("*.tf*") if "-" * 32 in file.read_text()]


def test_a_stage_that_looks_keys_up_needs_no_secret() -> None:
    assert app.secrets_of({"JWT_JWKS_URL": "https://id.example/keys"}) == set()
    assert app.secrets_of({"AUTH_MODE": "jwt"}) == {"JWT_SECRET"}


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


@pytest.mark.parametrize("stage", ["", "Dev", "a--b", "a" * 21, "x/y"])
def test_what_is_no_stage_is_refused(stage: str) -> None:
    with pytest.raises(CannotPrepare, match="is no stage"):
        terraform.find_place(stage, {})


def test_an_endpoint_elsewhere_is_refused() -> None:
    with pytest.raises(CannotPrepare, match=r"AWS_ENDPOINT_URL is https://aws\.example: unset it"):
        terraform.find_place("dev", {"AWS_ENDPOINT_URL": "https://aws.example"})


def test_an_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))

    with pytest.raises(CannotPrepare, match=r"Python 3\.12 or later: make PYTHON=python3\.12"):
        terraform.find_place("dev", {})


def test_no_credentials_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))

    with pytest.raises(CannotLook, match="no AWS credentials"):
        terraform.find_place("dev", {"AWS_REGION": "eu-central-1"})


def test_an_app_that_cannot_be_packaged_says_why(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for part in ("infra", "chalicelib", ".chalice"):
        (checkout / part).mkdir(parents=True)
    for file in ("infra/template.yaml", ".chalice/config.json"):
        (checkout / file).write_text((CHECKOUT / file).read_text(encoding="utf-8"))
    (checkout / "app.py").write_text("raise RuntimeError('the app is broken')")

    with pytest.raises(CannotPrepare, match=r"chalice package failed: .*the app is broken"):
        terraform.prepare(checkout, tmp_path / "to", HERE)

    assert not (tmp_path / "to" / "functions.tf.json").exists()
