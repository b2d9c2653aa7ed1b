"""The `events` table: the latest version of each event that came in as data.

Partition key `owner`, sort key `pk`: the event's `id`, else the key of its file (with `#<index>` where the
file holds many). Owners' ids never meet.
"""

import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from chalicelib import clients, items
from chalicelib.errors import Unavailable
from chalicelib.jobs import Job
from chalicelib.once import once
from chalicelib.processors import Event
from chalicelib.settings import Settings

WRITERS = 16

MAX_PK_BYTES = 1024
"""Of a sort key (DynamoDB Developer Guide, "Quotas"). An S3 key may be as long as that by itself."""

_SEQUENCER_WIDTH = 64
_SECONDS = len("2026-01-02T03:04:05")


@once
def _writers() -> ThreadPoolExecutor:
    """Of its own, beside the pool that works on a batch: a pool that waits for itself would stand still."""
    return ThreadPoolExecutor(WRITERS, thread_name_prefix="events")


def store(
    settings: Settings,
    job: Job,
    events: Sequence[Event],
    outputs: dict[str, str],
    stop_by: float = math.inf,
) -> None:
    """Write each event, unless the table has a later version of it.

    `outputs` maps the name of an output to its S3 key, for events that are kept by reference. Within one file
    the last event of an id wins. The events may lie on disk: they are gone through twice, and none is kept.

    Raises:
        Unavailable: not all were written by `stop_by`, a moment of `time.monotonic()` (`out_of_time`). The
            function would be cut off, and with it the other files of its batch.
    """
    latest = {_pk(job, event, many=len(events) > 1): number for number, event in enumerate(events)}

    def write(pk: str, number: int) -> None:
        if time.monotonic() > stop_by:
            raise Unavailable("Its events take too long to store: split the file up.", code="out_of_time")
        _write(settings, job, outputs, pk, events[number])

    for _ in _writers().map(write, latest.keys(), latest.values()):
        pass


def _pk(job: Job, event: Event, *, many: bool) -> str:
    if event.id is not None:
        return event.id
    pk = f"{job.source_key}#{event.index}" if many else job.source_key
    return pk if len(pk.encode()) <= MAX_PK_BYTES else f"{job.job_id}#{event.index}"


def version_of(job: Job) -> str:
    """Compares as text in the order of uploads: by time, then, within one key, by sequencer.

    An upload without a sequencer was found in a listing, which knows whole seconds only. It is what lies
    there now, and so later than whatever an event has told of the same second.
    """
    if not job.sequencer:
        return f"{job.uploaded_at[:_SECONDS]}.999Z#{'~' * _SEQUENCER_WIDTH}"
    return f"{job.uploaded_at}#{job.sequencer.ljust(_SEQUENCER_WIDTH, '0')}"


def _data(event: Event) -> dict[str, Any]:
    """The attribute that holds the event: its numbers to the last digit, and `null` a value like others."""
    value = json.loads(event.json or "null", parse_float=Decimal, parse_int=Decimal)
    return items.to_item({"data": value}) or {"data": {"NULL": True}}


def _write(settings: Settings, job: Job, outputs: dict[str, str], pk: str, event: Event) -> None:
    version = version_of(job)
    values: dict[str, Any] = {
        "owner": job.owner,
        "pk": pk,
        "version": version,
        "jobId": job.job_id,
        "sourceKey": job.source_key,
        "uploadedAt": job.uploaded_at,
    }
    if event.output is not None:
        item = items.to_item(values | {"dataRef": {"bucket": settings.bucket, "key": outputs[event.output]}})
    else:
        item = items.to_item(values) | _data(event)
    dynamodb = clients.dynamodb()
    try:
        dynamodb.put_item(
            TableName=settings.events_table,
            Item=item,
            ConditionExpression="attribute_not_exists(pk) OR version <= :version",
            ExpressionAttributeValues=items.to_item({":version": version}),
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return  # a later file has brought a later version
