"""Amazon SQS, ten messages at a time: what all queues have in common."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from chalicelib import clients
from chalicelib.errors import Unavailable

T = TypeVar("T")

BATCH = 10
"""Entries of one call."""

MAX_BYTES = 1_048_576
"""Of a message, and of all messages of one call (Amazon SQS API Reference, `SendMessageBatch`)."""

MAX_WAIT = 43_000
"""Seconds: SQS hides a message for 12 hours at most, and those count from when it was received."""

Record = Mapping[str, Any]
"""A message as an event source mapping brings it."""


def send(queue_url: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """Queue messages: `{"MessageBody", …}` as `SendMessageBatch` takes them, without an `Id`.

    Raises:
        Unavailable: the queue did not take every one of them; sending all again is safe.
    """
    for some in batches(entries, _body_size, MAX_BYTES):
        answer = clients.sqs().send_message_batch(
            QueueUrl=queue_url,
            Entries=[{"Id": str(n), **entry} for n, entry in enumerate(some)],  # type: ignore[typeddict-item]
        )
        if answer.get("Failed"):
            raise Unavailable("A queue refused messages.", code="queue_refused")


def acknowledge(queue_url: str, records: Iterable[Record]) -> None:
    """Delete what is done, without waiting for the fate of the rest of its batch."""
    for some in batches(records):
        clients.sqs().delete_message_batch(
            QueueUrl=queue_url,
            Entries=[{"Id": str(n), "ReceiptHandle": r["receiptHandle"]} for n, r in enumerate(some)],
        )


def retry_later(queue_url: str, delays: Sequence[tuple[Record, int]]) -> None:
    """Let each record come back after so many seconds, instead of the queue's whole visibility timeout."""
    for some in batches(delays):
        clients.sqs().change_message_visibility_batch(
            QueueUrl=queue_url,
            Entries=[
                {
                    "Id": str(n),
                    "ReceiptHandle": record["receiptHandle"],
                    "VisibilityTimeout": min(seconds, MAX_WAIT),
                }
                for n, (record, seconds) in enumerate(some)
            ],
        )


def batches(entries: Iterable[T], size: Callable[[T], int] = lambda _: 0, room: int = 0) -> Iterator[list[T]]:
    """At most ten at a time, and together no more than `room`."""
    batch: list[T] = []
    held = 0
    for entry in entries:
        if batch and (len(batch) == BATCH or held + size(entry) > room):
            yield batch
            batch, held = [], 0
        batch.append(entry)
        held += size(entry)
    if batch:
        yield batch


def _body_size(entry: Mapping[str, Any]) -> int:
    return len(entry["MessageBody"].encode())
