"""What unit tests share: valid settings, and a mocked AWS that holds what they name.

moto enforces no signature, no expiry and no IAM: what depends on those is tested in `tests/stack`.
"""

import copy
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from chalicelib import clients
from chalicelib import settings as settings_module
from chalicelib.settings import Settings
from tests.unit.mocked import mocked
from tests.unit.receivers import OK, Start, serving

CLIENTS: Final = (clients.s3, clients.dynamodb, clients.sqs, clients.sns, clients.stepfunctions)
ACCOUNT = "123456789012"  # moto's own
REGION: Final = "eu-central-1"  # not us-east-1, whose S3 forgives more than any other region's


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    return make_env(monkeypatch)


def make_env(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A complete environment, in force for the test; whatever the shell says of AWS is not."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    values = {
        "BUCKET_NAME": f"waybill-test-{ACCOUNT}",
        "UPLOAD_PREFIX": "uploads/",
        "INCOMING_PREFIX": "incoming/",
        "PROCESSED_PREFIX": "processed/",
        "REJECTED_PREFIX": "rejected/",
        "FAILED_PREFIX": "failed/",
        "EXPIRES_IN": "900",
        "JOBS_TABLE": "waybill-test-jobs",
        "EVENTS_TABLE": "waybill-test-events",
        "WEBHOOKS_TABLE": "waybill-test-webhooks",
        "DELIVERIES_TABLE": "waybill-test-deliveries",
        "DELIVERIES_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/waybill-test-deliveries",
        "DELIVERIES_DEAD_LETTER_QUEUE_URL": (
            f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/waybill-test-deliveries-dead"
        ),
        "QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/waybill-test-jobs",
        "TOPIC_ARN": f"arn:aws:sns:{REGION}:{ACCOUNT}:waybill-test-events",
        "AUTH_MODE": "none",
        "MAX_UPLOAD_BYTES": "5368709120",
        "LIGHT_LIMIT_BYTES": "67108864",
        "LEASE_SECONDS": "90",
        "MAX_ATTEMPTS": "5",
        "SWEEP_AFTER_SECONDS": "900",
        "RETENTION_DAYS": "0",
        "MAX_EVENTS": "10000",
        "MAX_ROWS": "5000000",
        "MAX_PIXELS": "100000000",
        "MAX_PAGES": "10000",
        "WEBHOOK_ALLOW_INSECURE": "false",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        # An SDK that finds a profile on the machine would read region and endpoint from there.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    # moto answers at the addresses of AWS itself, where an API that is open to everybody would be refused.
    monkeypatch.setattr(settings_module, "_stays_on_this_machine", lambda _env: True)
    return values


@pytest.fixture
def settings(env: dict[str, str]) -> Iterator[Settings]:
    settings_module.get.cache_clear()
    yield Settings.from_env(env)
    settings_module.get.cache_clear()


@pytest.fixture
def aws(settings: Settings) -> Iterator[Settings]:
    """The settings, and behind them a bucket, four tables, two queues with their dead letters, and a topic.

    The clients stay from test to test, as making them takes longer than most tests; whatever hooks a test
    hung on them are gone after it.
    """
    with mocked(settings, lambda: make_resources(settings)):
        emitters = [_emitter(make()) for make in CLIENTS]
        pristine = [(copy.copy(e._handlers), dict(e._unique_id_handlers)) for e in emitters]
        yield settings
        for emitter, (handlers, unique_ids) in zip(emitters, pristine, strict=True):
            emitter._handlers, emitter._unique_id_handlers, emitter._lookup_cache = handlers, unique_ids, {}


def _emitter(client: Any) -> Any:
    """Where a client's hooks hang: botocore has no public way to take an unknown one off again."""
    return client.meta.events._emitter


def make_resources(settings: Settings) -> None:
    clients.s3().create_bucket(
        Bucket=settings.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    for table, sort_key in (
        (settings.jobs_table, "jobId"),
        (settings.events_table, "pk"),
        (settings.webhooks_table, "webhookId"),
        (settings.deliveries_table, "attemptId"),
    ):
        index: Any = _open_jobs_index() if table == settings.jobs_table else {}
        names = ["owner", sort_key, *(["openSince"] if index else [])]
        clients.dynamodb().create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            **index,
            KeySchema=[
                {"AttributeName": "owner", "KeyType": "HASH"},
                {"AttributeName": sort_key, "KeyType": "RANGE"},
            ],
        )
    sqs = clients.sqs()
    for name in (settings.queue_name, settings.deliveries_queue_name):
        dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
        redrive = {"deadLetterTargetArn": attributes["QueueArn"], "maxReceiveCount": 5}
        sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(redrive)})
    clients.sns().create_topic(Name=settings.topic_arn.rsplit(":", 1)[-1])


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts an endpoint that answers as told, until the end of the test."""
    with ExitStack() as stack:
        yield lambda answer=OK, tls=None: stack.enter_context(serving(answer, tls))


def _open_jobs_index() -> dict[str, Any]:
    """As in infra/template.yaml."""
    keys = [
        {"AttributeName": "owner", "KeyType": "HASH"},
        {"AttributeName": "openSince", "KeyType": "RANGE"},
    ]
    projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["size"]}
    return {
        "GlobalSecondaryIndexes": [{"IndexName": "open-jobs", "KeySchema": keys, "Projection": projection}]
    }
