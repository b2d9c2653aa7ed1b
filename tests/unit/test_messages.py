"""The message on the jobs queue, and the batch calls around it."""

import json
from typing import Any

import pytest

from chalicelib import clients, messages
from chalicelib.errors import Unavailable
from chalicelib.jobs import Job, queued
from chalicelib.messages import BadMessage, Message
from chalicelib.settings import Settings
from tests.unit.flow import Calls, refusal, upload_at

BUCKET = "the-bucket"
JOB_ID = "01936b2e-7c1a-7d3e-8f00-0123456789ab"
GOOD = {"v": 1, "owner": "_", "jobId": JOB_ID, "bucket": BUCKET, "key": "k", "etag": "e1", "size": 3}

WRONG: dict[str, list[object]] = {
    "v": [0, 2, "1", None],
    "bucket": ["another", None, [BUCKET]],
    "owner": ["", None, 7, {}],
    "etag": ["", None, 7, []],
    "jobId": ["", None, 7, "no-id", JOB_ID + "0"],
}
"""The fields that a message must have, and what they must not hold."""


def some_jobs(count: int) -> list[Job]:
    keys = [f"uploads/_/01936b2e-7c1a-7d3e-8f00-{n:012x}/é + %.txt" for n in range(count)]
    return [queued(upload_at(key, sequencer="0A"), run=1, created_at="t", now="t") for key in keys]


def received(settings: Settings, **options: Any) -> list[Any]:
    found: list[Any] = []
    while (
        some := clients.sqs()
        .receive_message(QueueUrl=settings.queue_url, MaxNumberOfMessages=10, **options)
        .get("Messages")
    ):
        found += some
    return found


class TestParsing:
    def test_a_good_message(self) -> None:
        assert Message.parse(json.dumps(GOOD), BUCKET) == Message("_", JOB_ID, "e1")

    def test_unknown_fields_are_for_others(self) -> None:
        assert Message.parse(json.dumps(GOOD | {"colour": "red"}), BUCKET).etag == "e1"

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "not json",
            "{",
            "[" * 100_000,
            "null",
            "7",
            '"text"',
            json.dumps([GOOD]),
            json.dumps({}),
            *(json.dumps({k: v for k, v in GOOD.items() if k != name}) for name in WRONG),
            *(json.dumps(GOOD | {name: value}) for name, values in WRONG.items() for value in values),
            json.dumps({"Type": "Notification", "Message": json.dumps(GOOD)}),
            json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}),
        ],
        ids=lambda body: body[:60],
    )
    def test_anything_else_is_refused(self, body: str) -> None:
        with pytest.raises(BadMessage):
            Message.parse(body, BUCKET)


class TestSending:
    def test_what_was_sent_is_what_parses(self, aws: Settings) -> None:
        (job,) = some_jobs(1)
        messages.send(aws, [job])
        (message,) = received(aws)
        assert Message.parse(message["Body"], aws.bucket) == Message(job.owner, job.job_id, job.etag)
        assert json.loads(message["Body"]) == {
            "v": 1,
            "owner": "_",
            "jobId": job.job_id,
            "bucket": aws.bucket,
            "key": job.key,
            "etag": "e1",
            "size": 3,
            "sequencer": "0A",
        }

    @pytest.mark.parametrize(("count", "calls"), [(0, 0), (1, 1), (10, 1), (11, 2), (25, 3)])
    def test_ten_go_in_one_call(self, aws: Settings, count: int, calls: int) -> None:
        watched = Calls(aws)
        messages.send(aws, some_jobs(count))
        assert watched.count("SendMessageBatch") == calls
        sent = {json.loads(message["Body"])["jobId"] for message in received(aws)}
        assert sent == {job.job_id for job in some_jobs(count)}

    def test_one_that_the_queue_refuses_is_an_error(self, aws: Settings) -> None:
        clients.sqs().meta.events.register(
            "after-call.sqs.SendMessageBatch",
            lambda parsed, **_: parsed.update(Failed=[{"Id": "1", "Code": "InternalError"}]),
        )
        with pytest.raises(Unavailable) as caught:
            messages.send(aws, some_jobs(2))
        assert caught.value.code == "queue_refused"
        assert caught.value.retryable

    def test_a_refused_call_is_an_error(self, aws: Settings) -> None:
        clients.sqs().meta.events.register(
            "before-call.sqs.SendMessageBatch", lambda **_: refusal(500, "InternalError")
        )
        with pytest.raises(clients.sqs().exceptions.ClientError):
            messages.send(aws, some_jobs(1))
