"""The copy of the app that a local stack deploys and serves."""

import json
from pathlib import Path

import pytest

from ops import snapshot
from ops.policies import GRANTS
from ops.state import CHECKOUT

OUTPUTS = {
    "BucketName": "a-bucket",
    "JobsTable": "the-jobs",
    "EventsTable": "the-events",
    "WebhooksTable": "the-webhooks",
    "DeliveriesTable": "the-deliveries",
    "DeliveriesQueueUrl": "http://127.0.0.1:1/000000000000/a-deliveries-queue",
    "DeliveriesDeadLetterQueueUrl": "http://127.0.0.1:1/000000000000/a-dead-letter-queue",
    "FailedEventsQueueUrl": "http://127.0.0.1:1/000000000000/a-failed-events-queue",
    "QueueUrl": "http://127.0.0.1:1/000000000000/a-queue",
    "TopicArn": "arn:aws:sns:us-east-1:000000000000:a-topic",
    "StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:a-machine",
    "Transcriber": "pocketsphinx",
}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    snapshot.take(CHECKOUT, tmp_path, endpoint_url="http://127.0.0.1:1", outputs=OUTPUTS)
    return tmp_path


def test_every_setting_that_names_a_resource_comes_from_the_stack(target: Path) -> None:
    config = json.loads((target / ".chalice" / "config.json").read_text())
    variables = config["stages"]["local"]["environment_variables"]
    assert variables["BUCKET_NAME"] == "a-bucket"
    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert not [value for value in variables.values() if "waybill-local" in value or "4566" in value]


def test_no_process_gets_keys_from_the_configuration(target: Path) -> None:
    assert "AWS_SECRET_ACCESS_KEY" in (CHECKOUT / ".chalice" / "config.json").read_text()
    assert "AWS_SECRET_ACCESS_KEY" not in (target / ".chalice" / "config.json").read_text()


def test_every_function_has_the_policy_file_its_configuration_names(target: Path) -> None:
    config = json.loads((target / ".chalice" / "config.json").read_text())
    functions = config["stages"]["local"]["lambda_functions"]
    assert functions.keys() == GRANTS.keys()
    for function in functions.values():
        assert "Statement" in json.loads((target / ".chalice" / function["iam_policy_file"]).read_text())


def test_a_module_that_was_deleted_is_gone_and_the_record_of_deployments_stays(target: Path) -> None:
    (target / "chalicelib" / "deleted.py").write_text("")
    (target / ".chalice" / "deployed").mkdir()
    snapshot.take(CHECKOUT, target, endpoint_url="http://127.0.0.1:1", outputs=OUTPUTS)
    assert not (target / "chalicelib" / "deleted.py").exists()
    assert (target / ".chalice" / "deployed").exists()
    assert not list(target.rglob("__pycache__"))


def test_what_the_configuration_chooses_is_what_the_template_is_told(tmp_path: Path) -> None:
    (tmp_path / ".chalice").mkdir()
    stage = {"environment_variables": {"TRANSCRIBER": "none", "MALWARE_SCAN": ""}}
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps({"stages": {"local": stage}}))

    assert snapshot.parameters(tmp_path, {}) == {"Transcriber": "none"}
    assert snapshot.parameters(tmp_path, {"TRANSCRIBER": "amazon", "MALWARE_SCAN": "guardduty"}) == {
        "Transcriber": "amazon",
        "MalwareScan": "guardduty",
    }
