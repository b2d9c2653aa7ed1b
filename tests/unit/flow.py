"""The flow between the functions, played by hand: what S3, SQS and SNS do on AWS, but when a test says so.

`Flow` lets files arrive, brings events and messages to the handlers, as often as a test likes, and shows what
came of them. `Calls` sees every AWS call of the code under test, and can spoil one of them.
"""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import quote_plus, unquote

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber

from chalicelib import (
    clients,
    consumer,
    events,
    intake,
    items,
    jobs,
    keys,
    notifications,
    outputs,
    pipeline,
    sandbox,
    sweeper,
    workflow,
)
from chalicelib.jobs import Job, Status, Upload
from chalicelib.ledger import Ledger
from chalicelib.processors import REGISTRY, Result, Source
from chalicelib.settings import Settings

When = Literal["before", "after"]


@lru_cache
def bystander(service: Any, region: str) -> Any:
    """A client beside those of the code under test: it arranges and inspects, and its calls do not count."""
    return boto3.client(service, region_name=region)


class Clock:
    """Stands still until it is moved. It starts in the present, which is where moto's queues stay."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Killed(BaseException):
    """The process dies. Not an `Exception`, so that no handler under test can live on."""


class Calls:
    """Every AWS call that goes through `chalicelib.clients`, in order.

    moto ignores `CopySourceIfMatch`. It is kept here the way S3 does, or nothing here could show that the
    code asks for it.
    """

    def __init__(self, settings: Settings) -> None:
        self.made: list[str] = []
        self.requests: list[tuple[str, Any]] = []
        """Operation and parameters, as the code passed them."""
        self.endings: list[tuple[str, str]] = []
        """Job id and status, once for every write that ended a job."""
        self._settings = settings
        self._bystander = bystander("s3", settings.region)
        self._lock = threading.Lock()
        self._spoil: tuple[int, When, Callable[[], Any]] | None = None
        self._refusals: dict[str, Callable[[], Any]] = {}
        self._dead = False
        self._meanwhile: list[tuple[When, str, Callable[[], object]]] = []
        for client in (
            clients.s3(),
            clients.dynamodb(),
            clients.sqs(),
            clients.sns(),
            clients.stepfunctions(),
        ):
            hooks = client.meta.events
            hooks.register("provide-client-params", self._asked)
            hooks.register("before-call", self._before)
            hooks.register("after-call", self._after)

    def count(self, operation: str) -> int:
        return self.made.count(operation)

    def meanwhile(self, when: When, operation: str, what: Callable[[], object]) -> None:
        """Let something happen once, right before or after the next call of an operation."""
        self._meanwhile.append((when, operation, what))

    def kill(self, when: When, number: int) -> None:
        """Die at the call of this number, counted from now; before it leaves, or when its answer is due."""

        def die() -> None:
            self._dead = True
            raise Killed(f"{when} call {number}")

        self._spoil = (len(self.made) + number, when, die)

    def fail(self, number: int, fault: str) -> None:
        """Let the call of this number, counted from now, fail for good: the SDK's own retries are used up."""
        when: When = "after" if fault == "answer lost" else "before"
        self._spoil = (len(self.made) + number, when, FAULTS[fault])

    def fail_next(self, operation: str, fault: str = "server error") -> None:
        """Let the next call of an operation fail, before it leaves."""
        self._refusals[operation] = FAULTS[fault]

    @property
    def triggered(self) -> bool:
        """Whether the call that was to be spoilt has come."""
        return self._spoil is None

    def revive(self) -> bool:
        """Let calls through again; whether the call that was to be spoilt has come at all."""
        came = self.triggered
        self._spoil, self._dead = None, False
        return came

    def _asked(self, params: Any, model: Any, **_: Any) -> None:
        self.requests.append((model.name, dict(params)))

    def _before(self, model: Any, params: Any, **_: Any) -> Any:
        with self._lock:
            if self._dead:
                raise Killed("dead already")
            self.made.append(model.name)
        self._let_happen("before", model.name)
        if refuse := self._refusals.pop(model.name, None):
            return refuse()
        return self._spoilt("before") or self._conditional_copy(model.name, params)

    def _after(self, model: Any, parsed: Any, **_: Any) -> None:
        written = parsed.get("Attributes", {}) if model.name == "UpdateItem" else {}
        if "status" in written and Status(written["status"]["S"]).ended:
            self.endings.append((written["jobId"]["S"], written["status"]["S"]))
        self._let_happen("after", model.name)
        self._spoilt("after")

    def _spoilt(self, when: When) -> Any:
        with self._lock:
            if self._spoil is None or self._spoil[:2] != (len(self.made) - 1, when):
                return None
            _, _, act = self._spoil
            self._spoil = None
            return act()

    def _let_happen(self, when: When, operation: str) -> None:
        due = [entry for entry in self._meanwhile if entry[:2] == (when, operation)]
        for entry in due[:1]:
            self._meanwhile.remove(entry)
            entry[2]()

    def _conditional_copy(self, operation: str, params: Mapping[str, Any]) -> Any:
        if operation not in ("CopyObject", "UploadPartCopy"):
            return None
        wanted = params["headers"].get("x-amz-copy-source-if-match")
        _, _, source = unquote(params["headers"]["x-amz-copy-source"]).partition("/")
        found = self._bystander.list_objects_v2(Bucket=self._settings.bucket, Prefix=source)
        there = [entry["ETag"] for entry in found.get("Contents", []) if entry["Key"] == source]
        if not wanted or not there or there == [wanted]:
            return None
        return refusal(412, "PreconditionFailed")


def refusal(status: int, code: str) -> Any:
    """What a `before-call` hook returns in the service's place."""
    answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return SimpleNamespace(status_code=status), answer


def _lose_answer() -> None:
    raise ReadTimeoutError(endpoint_url="https://aws.invalid")


FAULTS: Mapping[str, Callable[[], Any]] = {
    "throttled": lambda: refusal(400, "ThrottlingException"),
    "server error": lambda: refusal(500, "InternalError"),
    "answer lost": _lose_answer,
}


def repeat_once(client: BaseClient, operation: str) -> None:
    """Have the SDK send the next call of an operation twice, as it does when the first answer got lost."""
    left = [0]  # seconds to wait before the repetition

    def again(**_: Any) -> Any:
        return left.pop() if left else None

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register_first(f"needs-retry.{service}.{operation}", again)


def process_here(family: str, source: Source, **_: Any) -> Result:
    """In the sandbox's place, for tests that are not about it: they can then see and replace processors."""
    return REGISTRY[family](source)


class Flow:
    """The functions of a stage, with a clock that stands still, on whatever moto holds."""

    def __init__(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, sandboxed: bool = False
    ) -> None:
        self.settings = settings
        self.clock = Clock()
        self.s3 = bystander("s3", settings.region)
        self._dynamodb = bystander("dynamodb", settings.region)
        self._sqs = bystander("sqs", settings.region)
        self._sequencers = itertools.count(0x10)
        self._waiting: list[dict[str, Any]] = []
        self._received: set[str] = set()
        self._published: list[dict[str, Any]] = []
        self._subscription = self._subscribe()
        for module in (intake, pipeline, sweeper, workflow):
            monkeypatch.setattr(module, "open_ledger", self._open_ledger)
        monkeypatch.setattr("moto.s3.models.utcnow", self._utcnow)
        monkeypatch.setattr(sweeper, "in_any_order", list)
        for module in (pipeline, sweeper):
            monkeypatch.setattr(module, "time", SimpleNamespace(time=self.clock))
        if not sandboxed:
            monkeypatch.setattr(sandbox, "run", process_here)
        _one_request_at_a_time(monkeypatch)
        self.calls = Calls(settings)

    def _utcnow(self) -> datetime:
        """For moto's objects, whose times are without a zone."""
        return datetime.fromtimestamp(self.clock(), UTC).replace(tzinfo=None)

    # --- what arrives

    def new_key(self, filename: str, owner: str = keys.NOBODY) -> str:
        """A key as `/presign` makes it."""
        return keys.upload_key(self.settings, owner, keys.new_job_id(), filename)

    def put(self, key: str, body: bytes, **extra: Any) -> dict[str, Any]:
        """Upload an object; the event that S3 sends of it."""
        etag = self.s3.put_object(Bucket=self.settings.bucket, Key=key, Body=body, **extra)["ETag"]
        return self.event_of(key, etag.strip('"'), len(body))

    def event_of(self, key: str, etag: str, size: int) -> dict[str, Any]:
        """Shape: Amazon S3 User Guide, "Event message structure"."""
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self.settings.region,
            "eventTime": jobs.timestamp(self.clock()),
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": self.settings.bucket},
                "object": {
                    "key": quote_plus(key, safe="/"),
                    "size": size,
                    "eTag": etag,
                    "sequencer": f"{next(self._sequencers):016X}",
                },
            },
        }
        return {"Records": [record]}

    def upload(self, key: str, body: bytes, **extra: Any) -> None:
        """Upload an object, and let its event through."""
        self.intake(self.put(key, body, **extra))

    # --- what runs

    def intake(self, *events: Mapping[str, Any]) -> None:
        records = [record for event in events for record in event["Records"]]
        intake.on_objects_created(self.settings, {"Records": records})

    def messages(self) -> list[dict[str, Any]]:
        """What waits on the queue, as the records of an SQS event; the queue keeps it until it is deleted."""
        while found := self._sqs.receive_message(
            QueueUrl=self.settings.queue_url, MaxNumberOfMessages=10, VisibilityTimeout=3600
        ).get("Messages"):
            # A message that was given back would be seen twice, as moto's queue goes by the real time.
            new = [message for message in found if message["MessageId"] not in self._received]
            self._received.update(message["MessageId"] for message in new)
            self._waiting += [
                {"messageId": m["MessageId"], "receiptHandle": m["ReceiptHandle"], "body": m["Body"]}
                for m in new
            ]
        return self._waiting

    def queue_size(self) -> int:
        """Messages on the queue, in flight or not."""
        attributes = self._sqs.get_queue_attributes(QueueUrl=self.settings.queue_url, AttributeNames=["All"])[
            "Attributes"
        ]
        return int(attributes["ApproximateNumberOfMessages"]) + int(
            attributes["ApproximateNumberOfMessagesNotVisible"]
        )

    def send(self, body: str) -> None:
        self._sqs.send_message(QueueUrl=self.settings.queue_url, MessageBody=body)

    def consume(self, records: Iterable[Mapping[str, Any]] | None = None) -> None:
        """One batch with the waiting messages, or with the given ones.

        As under a plain event source mapping, all of them are gone when the handler returns; when it raises,
        those stay that it did not delete by itself.
        """
        batch = list(self.messages() if records is None else records)
        try:
            consumer.consume(self.settings, {"Records": batch})
        except BaseException:
            self._forget(self._deleted())
            raise
        for record in batch:
            self._sqs.delete_message(QueueUrl=self.settings.queue_url, ReceiptHandle=record["receiptHandle"])
        self._forget({record["receiptHandle"] for record in batch})

    def run(self, key: str, body: bytes, **extra: Any) -> Job:
        """Upload an object to a presigned key, and see its job through."""
        self.upload(key, body, **extra)
        self.consume()
        return self.job(key)

    def sweep(self, seconds_left: Callable[[], float] = lambda: float("inf")) -> dict[str, int]:
        return dict(sweeper.sweep(self.settings, seconds_left))

    def list_in_pages_of(self, count: int) -> None:
        """Have S3 list fewer objects at a time than its thousand."""

        def ask_for_fewer(params: dict[str, Any], **_: Any) -> Any:
            return params | {"MaxKeys": count}

        clients.s3().meta.events.register("provide-client-params.s3.ListObjectsV2", ask_for_fewer)

    def let_pass_until_swept(self) -> None:
        """Long enough for any lease to run out, and for the sweep to look at what lies open."""
        self.clock.advance(max(self.settings.sweep_after_seconds, self.settings.lease_seconds) + 2)

    def new_process(self) -> bool:
        """What a new process begins with; whether the last one has come to the call that was to be spoilt."""
        for pool in (consumer._workers, events._writers, outputs._writers):
            pool().shutdown(wait=True)
            pool.cache_clear()
        return self.calls.revive()

    # --- what came of it

    @property
    def ledger(self) -> Ledger:
        return self._ledger_on(self._dynamodb)

    def _open_ledger(self, settings: Settings) -> Ledger:
        return self._ledger_on(clients.dynamodb(), settings)

    def _ledger_on(self, dynamodb: Any, settings: Settings | None = None) -> Ledger:
        settings = settings or self.settings
        return Ledger(
            dynamodb,
            settings.jobs_table,
            lease_seconds=settings.lease_seconds,
            retention_days=settings.retention_days,
            entry_stage=jobs.SCANNING if settings.scans_for_malware else "queued",
            clock=self.clock,
        )

    def job(self, key: str) -> Job:
        """The job of a presigned key."""
        place = keys.parse(self.settings, key)
        assert place is not None
        assert place.job_id is not None
        found = self.ledger.find(place.owner, place.job_id)
        assert found is not None
        return found

    def jobs(self, owner: str = keys.NOBODY) -> list[Job]:
        """All jobs of an owner, the newest first."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self.settings.jobs_table,
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": owner}},
            ScanIndexForward=False,
        )
        found = [jobs.from_item(item) for page in pages for item in page["Items"]]
        return [job for job in found if job.status is not Status.DELETED]

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Every object under a prefix, with its content."""
        return {key: self.content(key) for key in self.object_keys(prefix)}

    def object_keys(self, prefix: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.settings.bucket, Prefix=prefix).get("Contents", [])
        return [entry["Key"] for entry in found]

    def content(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.settings.bucket, Key=key)["Body"].read()
        return body

    def events(self, owner: str = keys.NOBODY) -> dict[str, Any]:
        """The events table of one owner: `pk` to the stored values."""
        rows = self._dynamodb.query(
            TableName=self.settings.events_table,
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": owner}},
        )["Items"]
        return {row["pk"]: row for row in map(items.from_item, rows)}

    def published(self) -> list[dict[str, Any]]:
        """Every CloudEvent since the beginning, in the order of its publication as far as there is one."""
        while found := self._sqs.receive_message(QueueUrl=self._subscription, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in found:
                self._published.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._subscription, ReceiptHandle=message["ReceiptHandle"])
        return self._published

    def event_id(self, job: Job, status: Status | None = None, run: int | None = None) -> str:
        """The id of the event for the end of a job; with another status or run, of another end of it."""
        end = replace(job, status=status or job.status, run=run or job.run)
        return str(notifications.event(self.settings, end)["id"])

    def published_ids(self, job_id: str | None = None) -> list[str]:
        return [event["id"] for event in self.published() if job_id in (None, event["subject"])]

    def _subscribe(self) -> str:
        queue: str = self._sqs.create_queue(QueueName="subscriber")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
        bystander("sns", self.settings.region).subscribe(
            TopicArn=self.settings.topic_arn,
            Protocol="sqs",
            Endpoint=attributes["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        return queue

    def _deleted(self) -> set[str]:
        """Receipt handles of what the code under test has deleted by itself."""
        return {
            entry["ReceiptHandle"]
            for operation, request in self.calls.requests
            if operation == "DeleteMessageBatch"
            for entry in request["Entries"]
        }

    def _forget(self, receipts: set[str]) -> None:
        self._waiting = [record for record in self._waiting if record["receiptHandle"] not in receipts]


def _one_request_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto checks a condition and writes in two steps; no thread gets in between on AWS, so none may here."""
    lock, process = threading.RLock(), BotocoreStubber.process_request

    def process_alone(stubber: BotocoreStubber, request: Any) -> Any:
        with lock:
            return process(stubber, request)

    monkeypatch.setattr(BotocoreStubber, "process_request", process_alone)


def upload_at(key: str, etag: str = "e1", sequencer: str = "", uploaded_at: str = "", **more: Any) -> Upload:
    """An upload for tests of the ledger, which looks at no object."""
    _, owner, job_id, filename = key.split("/")
    return Upload(
        owner=owner,
        job_id=job_id,
        key=key,
        filename=filename,
        etag=etag,
        size=more.get("size", 3),
        uploaded_at=uploaded_at or jobs.timestamp(time.time()),
        sequencer=sequencer,
    )
