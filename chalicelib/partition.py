"""An owner's partition of the `jobs` table, read from end to end: the jobs page by page, or only their sizes.

What changes a job, and reads it to that end, is the ledger.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chalicelib import clients, cursors, items, jobs, keys
from chalicelib.jobs import Job, Status
from chalicelib.settings import Settings

MAX_READS_PER_PAGE = 10


@dataclass(frozen=True, slots=True)
class Page:
    jobs: list[Job]
    cursor: str | None


def page(settings: Settings, owner: str, *, limit: int, cursor: str | None, status: Status | None) -> Page:
    """Newest first; `cursor` is what the page before gave, and None at the end.

    Raises:
        BadRequest: `bad_cursor`.
    """
    query: dict[str, Any] = {
        "TableName": settings.jobs_table,
        "KeyConditionExpression": "#owner = :owner",
        "FilterExpression": "#status = :status" if status else "#status <> :status",
        "ExpressionAttributeNames": {"#owner": "owner", "#status": "status"},
        "ExpressionAttributeValues": items.to_item({":owner": owner, ":status": status or Status.DELETED}),
        "ScanIndexForward": False,
        "Limit": limit,
    }
    if cursor:
        query["ExclusiveStartKey"] = jobs.item_key(owner, cursors.decode(cursor, keys.is_job_id))
    found: list[Job] = []
    # A filter works after the read, so that a page can come back short: read on, within bounds, and let
    # the cursor carry on where the bounds are reached.
    for _ in range(MAX_READS_PER_PAGE):
        answer: Any = clients.dynamodb().query(**query)
        found += [jobs.from_item(item) for item in answer["Items"]]
        last = answer.get("LastEvaluatedKey")
        if len(found) > limit:
            return Page(found[:limit], cursor_behind(found[limit - 1].job_id))
        if last is None:
            return Page(found, None)
        if len(found) == limit:
            break
        query["ExclusiveStartKey"] = last
        query.pop("Limit", None)  # as much as one read gives: many deleted jobs may lie in between
    return Page(found, cursor_behind(last["jobId"]["S"]))


def cursor_behind(job_id: str) -> str:
    """What continues a list behind this job."""
    return cursors.encode(job_id)


def sizes(settings: Settings, owner: str) -> Iterator[tuple[Status, int]]:
    """Status and size in bytes of each of an owner's jobs, deleted ones too, as they lie in the partition."""
    query: dict[str, Any] = {
        "TableName": settings.jobs_table,
        "KeyConditionExpression": "#owner = :owner",
        "ProjectionExpression": "#status, #size",
        "ExpressionAttributeNames": {"#owner": "owner", "#status": "status", "#size": "size"},
        "ExpressionAttributeValues": items.to_item({":owner": owner}),
    }
    last: Any = {}
    while last is not None:
        answer: Any = clients.dynamodb().query(**query, **({"ExclusiveStartKey": last} if last else {}))
        for item in answer["Items"]:
            yield Status(item["status"]["S"]), int(item["size"]["N"])
        last = answer.get("LastEvaluatedKey")
