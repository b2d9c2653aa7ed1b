"""The message on the jobs queue: which job there is work on, and for which content of it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from chalicelib import clients, keys
from chalicelib.errors import Unavailable, WaybillError
from chalicelib.jobs import Job
from chalicelib.settings import Settings

T = TypeVar("T")

VERSION = 1
BATCH = 10  # entries in one SQS batch call
MAX_BACK_OFF = 900  # seconds


class BadMessage(WaybillError):
    """Nothing that this queue should hold; it ends in the dead-letter queue."""

    code = "bad_message"


@dataclass(frozen=True, slots=True)
class Message:
    owner: str
    job_id: str
    etag: str

    @classmethod
    def parse(cls, body: str, bucket: str) -> "Message":
        """
        Raises:
            BadMessage: not JSON, of another version, of another bucket, or incomplete.
        """
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError):
            raise BadMessage("The message is not JSON.") from None
        if not isinstance(fields, dict) or fields.get("v") != VERSION:
            raise BadMessage(f"The message is not of version {VERSION}.")
        if fields.get("bucket") != bucket:
            raise BadMessage("The message speaks of another bucket.")
        owner, job_id, etag = (fields.get(name) for name in ("owner", "jobId", "etag"))
        if not (isinstance(owner, str) and owner and isinstance(etag, str) and etag):
            raise BadMessage("The message names no owner or no etag.")
        if not (isinstance(job_id, str) and keys.is_job_id(job_id)):
            raise BadMessage("The message names no job.")
        return cls(owner, job_id, etag)


def body_of(bucket: str, job: Job) -> str:
    return json.dumps(
        {
            "v": VERSION,
            "owner": job.owner,
            "jobId": job.job_id,
            "bucket": bucket,
            "key": job.key,
            "etag": job.etag,
            "size": job.size,
            "sequencer": job.sequencer,
        }
    )


def send(settings: Settings, jobs: Iterable[Job], *, delay: int = 0) -> None:
    """Queue the work on each job; `delay` is in seconds, 900 at most.

    Raises:
        Unavailable: the queue did not take every one of them; sending all again is safe.
    """
    for some in batches(jobs):
        answer = clients.sqs().send_message_batch(
            QueueUrl=settings.queue_url,
            Entries=[
                {"Id": str(n), "MessageBody": body_of(settings.bucket, job), "DelaySeconds": delay}
                for n, job in enumerate(some)
            ],
        )
        if answer.get("Failed"):
            raise Unavailable("The jobs queue refused messages.", code="queue_refused")


def acknowledge(settings: Settings, records: Sequence[Mapping[str, Any]]) -> None:
    """Delete what is done, without waiting for the fate of the rest of its batch."""
    for some in batches(records):
        clients.sqs().delete_message_batch(
            QueueUrl=settings.queue_url,
            Entries=[{"Id": str(n), "ReceiptHandle": r["receiptHandle"]} for n, r in enumerate(some)],
        )


def retry_later(settings: Settings, delays: Sequence[tuple[Mapping[str, Any], int]]) -> None:
    """Let each record come back after so many seconds, instead of the queue's whole visibility timeout."""
    for some in batches(delays):
        clients.sqs().change_message_visibility_batch(
            QueueUrl=settings.queue_url,
            Entries=[
                {
                    "Id": str(n),
                    "ReceiptHandle": record["receiptHandle"],
                    "VisibilityTimeout": min(seconds, MAX_BACK_OFF),
                }
                for n, (record, seconds) in enumerate(some)
            ],
        )


def batches(entries: Iterable[T]) -> Iterator[list[T]]:
    left = iter(entries)
    while some := list(islice(left, BATCH)):
        yield some
