"""The batch calls around every queue."""

from typing import Any

import pytest

from chalicelib import clients, queues
from chalicelib.errors import Unavailable
from chalicelib.settings import Settings
from tests.unit.flow import Calls

HALF = queues.MAX_BYTES // 2


def send(settings: Settings, count: int) -> None:
    queues.send(settings.queue_url, ({"MessageBody": str(n)} for n in range(count)))


def received(settings: Settings, **options: Any) -> list[Any]:
    found: list[Any] = []
    sqs = clients.sqs()
    while some := sqs.receive_message(QueueUrl=settings.queue_url, MaxNumberOfMessages=10, **options).get(
        "Messages"
    ):
        found += some
    return found


def as_records(found: list[Any]) -> list[dict[str, str]]:
    return [{"receiptHandle": message["ReceiptHandle"]} for message in found]


class TestSending:
    @pytest.mark.parametrize(
        ("sizes", "calls"),
        [
            ([], []),
            ([1] * 25, [10, 10, 5]),
            ([HALF, HALF], [2]),
            ([HALF, HALF + 1], [1, 1]),
            ([queues.MAX_BYTES] * 2, [1, 1]),
            ([HALF, 1, HALF, 1], [2, 2]),
        ],
    )
    def test_a_call_holds_ten_messages_and_one_mebibyte(
        self, aws: Settings, sizes: list[int], calls: list[int]
    ) -> None:
        watched = Calls(aws)
        queues.send(aws.queue_url, [{"MessageBody": "x" * size} for size in sizes])
        asked = [request for name, request in watched.requests if name == "SendMessageBatch"]
        assert [len(request["Entries"]) for request in asked] == calls
        assert sorted(len(message["Body"]) for message in received(aws)) == sorted(sizes)

    def test_the_size_is_in_bytes(self, aws: Settings) -> None:
        watched = Calls(aws)
        queues.send(
            aws.queue_url, [{"MessageBody": "é" * (HALF // 2)}, {"MessageBody": "é" * (HALF // 2 + 1)}]
        )
        assert watched.count("SendMessageBatch") == 2

    def test_one_that_the_queue_refuses_is_an_error(self, aws: Settings) -> None:
        clients.sqs().meta.events.register(
            "after-call.sqs.SendMessageBatch",
            lambda parsed, **_: parsed.update(Failed=[{"Id": "1", "Code": "InternalError"}]),
        )
        with pytest.raises(Unavailable) as caught:
            send(aws, 2)
        assert caught.value.code == "queue_refused"


class TestDeletingAndReturning:
    def test_what_is_done_is_deleted_and_nothing_else(self, aws: Settings) -> None:
        send(aws, 13)
        found = received(aws, VisibilityTimeout=600)
        queues.acknowledge(aws.queue_url, as_records(found[:12]))
        for message in found[12:]:
            clients.sqs().change_message_visibility(
                QueueUrl=aws.queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        (left,) = received(aws)
        assert left["Body"] == found[12]["Body"]
        attributes = clients.sqs().get_queue_attributes(QueueUrl=aws.queue_url, AttributeNames=["All"])
        assert attributes["Attributes"]["ApproximateNumberOfMessages"] == "0"
        assert attributes["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1"

    def test_nothing_to_do_is_no_call(self, aws: Settings) -> None:
        watched = Calls(aws)
        queues.acknowledge(aws.queue_url, [])
        queues.retry_later(aws.queue_url, [])
        assert watched.made == []

    def test_each_comes_back_in_its_own_time_twelve_hours_at_most(self, aws: Settings) -> None:
        watched = Calls(aws)
        send(aws, 11)
        records = as_records(received(aws, VisibilityTimeout=600))
        delays = [1, 30, 43_001, 2**100, *range(7)]
        queues.retry_later(aws.queue_url, list(zip(records, delays, strict=True)))
        asked = [request for name, request in watched.requests if name == "ChangeMessageVisibilityBatch"]
        assert [len(request["Entries"]) for request in asked] == [10, 1]
        assert {
            entry["ReceiptHandle"]: entry["VisibilityTimeout"]
            for request in asked
            for entry in request["Entries"]
        } == {
            record["receiptHandle"]: min(delay, queues.MAX_WAIT)
            for record, delay in zip(records, delays, strict=True)
        }
