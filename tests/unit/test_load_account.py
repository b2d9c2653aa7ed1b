"""The sums of a load run: right when all went well, and wrong for every way in which it can go wrong."""

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.settings import Settings
from ops.load import journal
from ops.load.cargo import Parcel
from ops.load.journal import Account, Sent
from tests.unit.flow import Flow, bystander


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


class Run:
    """Two files that have come to their ends."""

    def __init__(self, flow: Flow) -> None:
        settings = flow.settings
        self.flow = flow
        self.letters: list[str] = []
        self.stack: Any = SimpleNamespace(
            outputs={
                "BucketName": settings.bucket,
                "JobsTable": settings.jobs_table,
                "EventsTable": settings.events_table,
                "QueueUrl": settings.queue_url,
            },
            client=lambda service: bystander(service, settings.region),
        )
        order = {"id": "order-1"}
        events = (("order-1", order),)
        self.sent = [
            self._send(Parcel(0, "order.json", json.dumps(order).encode(), "COMPLETED", None, events)),
            self._send(Parcel(1, "empty.txt", b"", "REJECTED", "empty_file")),
        ]
        self.payloads = {event["id"]: {"one"} for event in flow.published()}

    def _send(self, parcel: Parcel) -> Sent:
        key = self.flow.new_key(parcel.name)
        sent = Sent(parcel, key, time.time())
        self.flow.run(key, parcel.body)
        return sent

    def account(self) -> Account:
        return journal.account(self.stack, self.sent, self.payloads, self.letters)

    def client(self, service: str) -> Any:
        return self.stack.client(service)

    @property
    def bucket(self) -> str:
        return self.flow.settings.bucket


def job_gone(run: Run) -> None:
    job = run.flow.job(run.sent[0].key)
    run.client("dynamodb").delete_item(
        TableName=run.flow.settings.jobs_table, Key={"owner": {"S": job.owner}, "jobId": {"S": job.job_id}}
    )


def original_gone(run: Run) -> None:
    run.client("s3").delete_object(Bucket=run.bucket, Key=run.flow.job(run.sent[0].key).key)


def another_original(run: Run) -> None:
    key = run.flow.job(run.sent[0].key).key
    run.client("s3").put_object(Bucket=run.bucket, Key=key.replace("processed/", "failed/"), Body=b"")


def not_announced(run: Run) -> None:
    run.payloads.popitem()


def announced_differently(run: Run) -> None:
    next(iter(run.payloads.values())).add("another")


def ended_twice(run: Run) -> None:
    run.payloads[next(iter(run.payloads)).replace("completed", "failed")] = {"one"}


def event_row(pk: str, data: str) -> Callable[[Run], None]:
    def put(run: Run) -> None:
        item = {"owner": {"S": "_"}, "pk": {"S": pk}, "data": {"M": {"id": {"S": data}}}}
        run.client("dynamodb").put_item(TableName=run.flow.settings.events_table, Item=item)

    return put


def event_gone(run: Run) -> None:
    run.client("dynamodb").delete_item(
        TableName=run.flow.settings.events_table, Key={"owner": {"S": "_"}, "pk": {"S": "order-1"}}
    )


def unfinished(run: Run) -> None:
    run.flow.upload(run.flow.new_key("open.txt"), b"open")


def left_lying(run: Run) -> None:
    run.client("s3").put_object(Bucket=run.bucket, Key="incoming/x.json", Body=b"{}")


def dead_letter(run: Run) -> None:
    run.letters.append("dead letter")


def other_status(run: Run) -> None:
    one = run.sent[1]
    run.sent[1] = Sent(Parcel(1, "empty.txt", b"", "COMPLETED"), one.key, one.at)


def other_content(run: Run) -> None:
    one = run.sent[1]
    run.sent[1] = Sent(Parcel(1, "empty.txt", b"more", "REJECTED", "empty_file"), one.key, one.at)


def test_a_run_that_went_well_adds_up(flow: Flow) -> None:
    result = Run(flow).account()

    assert result.is_clean, result
    assert result.statuses == {"COMPLETED": 1, "REJECTED": 1}
    assert len(result.latencies) == 2


@pytest.mark.parametrize(
    ("spoil", "column"),
    [
        (job_gone, "lost"),
        (original_gone, "lost"),
        (not_announced, "lost"),
        (event_gone, "lost"),
        (event_row("order-1", "older"), "lost"),
        (another_original, "twice"),
        (announced_differently, "twice"),
        (ended_twice, "twice"),
        (event_row("order-2", "order-2"), "twice"),
        (unfinished, "left"),
        (left_lying, "left"),
        (dead_letter, "left"),
        (other_status, "wrong"),
        (other_content, "wrong"),
    ],
)
def test_whatever_went_wrong_is_seen(flow: Flow, spoil: Callable[[Run], None], column: str) -> None:
    run = Run(flow)

    spoil(run)

    result = run.account()
    assert getattr(result, column), result
    assert not result.is_clean
