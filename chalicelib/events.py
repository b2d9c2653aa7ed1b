"""The `events` table: the latest version of each event that came in as data.

Partition key `owner`, sort key `pk`: the event's `id`, else the key of its file (with `#<index>` where the
file holds many). Owners' ids never meet.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any

from chalicelib import clients, items
from chalicelib.jobs import Job
from chalicelib.processors import Event
from chalicelib.settings import Settings

WRITERS = 16

MAX_PK_BYTES = 1024
"""Of a sort key (DynamoDB Developer Guide, "Quotas"). An S3 key may be as long as that by itself."""

_SEQUENCER_WIDTH = 64


@lru_cache(maxsize=1)
def _writers() -> ThreadPoolExecutor:
    """Of its own, beside the pool that works on a batch: a pool that waits for itself would stand still."""
    return ThreadPoolExecutor(WRITERS, thread_name_prefix="events")


def store(settings: Settings, job: Job, events: Sequence[Event], outputs: dict[str, str]) -> None:
    """Write each event, unless the table has a later version of it.

    `outputs` maps the name of an output to its S3 key, for events that are kept by reference. Within one file
    the last event of an id wins.
    """
    latest = {_pk(job, event, many=len(events) > 1): event for event in events}
    write = partial(_write, settings, job, outputs)
    for _ in _writers().map(write, latest.keys(), latest.values()):
        pass


def _pk(job: Job, event: Event, *, many: bool) -> str:
    if event.id is not None:
        return event.id
    pk = f"{job.source_key}#{event.index}" if many else job.source_key
    return pk if len(pk.encode()) <= MAX_PK_BYTES else f"{job.job_id}#{event.index}"


def version_of(job: Job) -> str:
    """Compares as text in the order of uploads: by time, then, within one key, by sequencer."""
    return f"{job.uploaded_at}#{job.sequencer.ljust(_SEQUENCER_WIDTH, '0')}"


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
    value = None if event.json is None else json.loads(event.json, parse_float=Decimal, parse_int=Decimal)
    if event.output is None:
        values["data"] = value
    else:
        values["dataRef"] = {"bucket": settings.bucket, "key": outputs[event.output]}
    item = items.to_item(values)
    if event.output is None and value is None:
        item["data"] = {"NULL": True}  # the event is the JSON `null`
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
