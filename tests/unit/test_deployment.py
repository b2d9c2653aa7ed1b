"""How an operator's commands find a deployment, and what they say when there is none."""

import argparse
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib.settings import Settings
from ops import deployment as deployments
from ops.columns import age, printable, table
from ops.deployment import CannotLook, Deployment, errors_in_one_line


@pytest.fixture
def aws_stage(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """On AWS, a CloudFormation stack `waybill-test`, and nothing deployed beside it."""
    outputs = {
        "BucketName": settings.bucket,
        "JobsTable": settings.jobs_table,
        "EventsTable": settings.events_table,
        "WebhooksTable": settings.webhooks_table,
        "QueueUrl": settings.queue_url,
        "TopicArn": settings.topic_arn,
        "DeliveriesTable": settings.deliveries_table,
        "DeliveriesQueueUrl": settings.deliveries_queue_url,
        "DeliveriesDeadLetterQueueUrl": settings.deliveries_dead_letter_queue_url,
        "FailedEventsQueueUrl": "https://sqs/000000000000/waybill-dev-failed-events",
    }
    make_call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def describe_stacks(client: BaseClient, operation: str, params: dict[str, Any]) -> Any:
        """moto's own would import more than there is."""
        if operation != "DescribeStacks":
            return make_call(client, operation, params)
        if params["StackName"] != "waybill-test":
            message = f"Stack with id {params['StackName']} does not exist"
            raise ClientError({"Error": {"Code": "ValidationError", "Message": message}}, operation)
        told = [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()]
        return {"Stacks": [{"Outputs": told}]}

    with mock_aws():
        monkeypatch.setattr(BaseClient, "_make_api_call", describe_stacks)
        yield settings


def find(stage: str) -> Deployment:
    return deployments.find(argparse.Namespace(stage=stage, aws_port=4566))


def test_a_stage_on_aws_is_found_by_its_stack(aws_stage: Settings) -> None:
    found = find("test")

    assert found.outputs["QueueUrl"] == aws_stage.queue_url
    assert found.where == f"stage test on AWS, {aws_stage.region}"
    assert found.call("redrive", "list").endswith("-m ops redrive list --stage test")
    assert found.function_name("api_handler") == "waybill-test"
    assert found.function_name("consume") == "waybill-test-consume"


def test_its_settings_are_the_defaults_while_no_function_is_there(aws_stage: Settings) -> None:
    found = find("test").settings

    assert (found.bucket, found.sweep_after_seconds) == (aws_stage.bucket, 900)


def test_settings_that_no_function_starts_with(aws_stage: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    del aws_stage
    monkeypatch.setattr(Deployment, "_variables", lambda *_: {"LEASE_SECONDS": "soon"})

    with pytest.raises(CannotLook, match="LEASE_SECONDS is 'soon'"):
        _ = find("test").settings


@pytest.mark.usefixtures("aws_stage")
def test_a_stage_that_is_not_there() -> None:
    with pytest.raises(CannotLook, match="there is no Waybill at stage other on AWS"):
        find("other")


def test_no_region(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    del env
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)

    with pytest.raises(CannotLook, match="set AWS_REGION"):
        find("test")


def test_no_credentials(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    del env
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    with pytest.raises(CannotLook, match="no AWS credentials"):
        find("test")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredToken", "your AWS credentials have expired"),
        ("AccessDenied", "ListStacks is refused at here (AccessDenied: No, never.)"),
    ],
)
def test_refusals_are_one_line(code: str, said: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": "No,\nnever."}}, "ListStacks")

    with pytest.raises(CannotLook) as refused, errors_in_one_line("here"):
        raise error

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_columns() -> None:
    assert table([("a", "bb", "c"), ("日本", "b", "")]) == ["a     bb  c", "日本  b"]
    assert table([]) == []
    assert printable("a\x1b[2J\nb") == "a�[2J�b"
    assert [age(n) for n in (-1, 59, 60, 7199, 7200, 200_000)] == [
        "0 s",
        "59 s",
        "1 min",
        "120 min",
        "2 h",
        "2 d",
    ]
