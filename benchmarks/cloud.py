"""An embedded AWS with the resources of the template and no function on them: handlers are called here."""

import contextlib
import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks.bench import Bench
from chalicelib import clients, consumer, intake, keys
from chalicelib.settings import Settings
from ops.stack import ROOT_KEYS, LocalStack

SERVICES = ("s3", "dynamodb", "sqs", "sns")
BODY = b"A delivery of forty crates, signed for at the quay.\n" * 20


class Resources(LocalStack):
    """The local stack, but for functions and HTTP."""

    def _deploy(self) -> None:
        pass

    def _serve_http(self, listening: Any) -> None:
        listening.close()


def running(bench: Bench) -> Resources:
    return bench.shared("resources", partial(Resources, state_dir=bench.scratch / "resources"))


class Cloud:
    """Waybill's handlers in this process, on resources of their own, through the real SDK."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        config = json.loads((stack.app_dir / ".chalice" / "config.json").read_text())
        self.variables: dict[str, str] = config["stages"]["local"]["environment_variables"] | {
            "AWS_ACCESS_KEY_ID": ROOT_KEYS[0],
            "AWS_SECRET_ACCESS_KEY": ROOT_KEYS[1],
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.settings = Settings.from_env(self.variables)

    def upload(self, body: bytes = BODY, filename: str = "words.txt") -> dict[str, Any]:
        """Put a file under `uploads/`; the record of it in S3's event."""
        key = f"uploads/{keys.NOBODY}/{keys.new_job_id()}/{filename}"
        s3 = self.stack.client("s3")
        etag = s3.put_object(Bucket=self.settings.bucket, Key=key, Body=body)["ETag"].strip('"')
        return {
            "eventTime": "2026-11-21T10:00:00.000Z",
            "s3": {
                "bucket": {"name": self.settings.bucket},
                "object": {"key": key, "eTag": etag, "size": len(body), "sequencer": f"{time.time_ns():X}"},
            },
        }

    def enter(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Intake of each, and the messages that it has queued for the consumer, as Lambda gives them."""
        for record in records:
            intake.on_objects_created(self.settings, {"Records": [record]})
        sqs, queue = self.stack.client("sqs"), self.settings.queue_url
        found: list[dict[str, Any]] = []
        while len(found) < len(records):
            answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer["Messages"]:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                found.append(
                    {
                        "messageId": message["MessageId"],
                        "receiptHandle": message["ReceiptHandle"],
                        "body": message["Body"],
                    }
                )
        return found

    def consume(self, messages: Sequence[dict[str, Any]]) -> None:
        consumer.consume(self.settings, {"Records": messages})


@contextmanager
def opened(bench: Bench) -> Iterator[Cloud]:
    """A cloud to call handlers on; what they log is heard by nobody meanwhile."""
    cloud = Cloud(running(bench))
    before = dict(os.environ)
    clients.reset()
    os.environ.update(cloud.variables)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield cloud
    finally:
        os.environ.clear()
        os.environ.update(before)
        clients.reset()


@contextmanager
def before_each_request(do: Callable[[str], None]) -> Iterator[None]:
    """Have something done before every HTTP request that the SDK sends for Waybill, retries too.

    Registered with each client under a name of its own (botocore's `before-send`).
    """

    def hook(event_name: str, **_: Any) -> None:
        do(event_name.rpartition(".")[2])

    made = [getattr(clients, service)() for service in SERVICES]
    for client in made:
        client.meta.events.register("before-send", hook, unique_id="benchmark")
    try:
        yield
    finally:
        for client in made:
            client.meta.events.unregister("before-send", unique_id="benchmark")


@contextmanager
def slowed(seconds: float) -> Iterator[None]:
    with before_each_request(lambda _: time.sleep(seconds)):
        yield


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each operation was asked for."""
    calls: Counter[str] = Counter()
    with before_each_request(lambda operation: calls.update([operation])):
        yield calls
