"""What was sent, what has been heard of it, and in the end what the stack holds: added up."""

import hashlib
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from ops.load.cargo import Parcel
from ops.stack import LocalStack

ENDED = ("COMPLETED", "REJECTED", "FAILED")


@dataclass
class Sent:
    """A file that is on its way."""

    parcel: Parcel
    key: str
    at: float
    """When all of it was in S3, epoch seconds."""
    ended: threading.Event = field(default_factory=threading.Event)

    def hear(self, event: Mapping[str, Any]) -> None:
        if event["data"]["size"] == len(self.parcel.body):
            self.ended.set()


@dataclass(frozen=True)
class Account:
    """The sums of a run; each fault in words."""

    sent: int
    statuses: Counter[str]
    lost: Sequence[str]
    twice: Sequence[str]
    wrong: Sequence[str]
    left: Sequence[str]
    latencies: Sequence[float]

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.twice or self.wrong or self.left)

    def percentile(self, percent: int) -> float:
        """By nearest rank; seconds."""
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else math.nan


def account(
    stack: LocalStack, sent: Sequence[Sent], payloads: Mapping[str, set[str]], letters: Sequence[str]
) -> Account:
    """Compare what was sent with ledger, bucket, events and queues; `letters` are dead ones left behind."""
    jobs: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for item in items(stack, "JobsTable"):
        jobs[item["sourceKey"]].append(item)
    originals = Counter(
        "/".join(key.split("/")[1:3]) for key in keys(stack, "processed/", "rejected/", "failed/")
    )
    lost: list[str] = []
    twice = [f"event {id}: {len(found)} payloads" for id, found in payloads.items() if len(found) > 1]
    wrong: list[str] = []
    latencies: list[float] = []
    statuses: Counter[str] = Counter()
    ends = Counter(id.rpartition("-")[0].rpartition("-")[0] + id[id.rindex("-") :] for id in payloads)
    twice += [f"run {run} ended {count} times" for run, count in ends.items() if count > 1]
    for one in sent:
        found = jobs.pop(one.key, [])
        if len(found) != 1 or found[0]["status"] not in ENDED:
            lost.append(f"{one.key}: {', '.join(job['status'] for job in found) or 'no job'}")
            continue
        (job,) = found
        statuses[job["status"]] += 1
        latencies.append(datetime.fromisoformat(job["finishedAt"]).timestamp() - one.at)
        wrong += [f"{one.key}: {what}" for what in _differences(one.parcel, job)]
        folder = f"{job['owner']}/{job['jobId']}"
        if originals[folder] != 1:
            (lost if not originals[folder] else twice).append(f"{one.key}: {originals[folder]} originals")
        if f"{job['jobId']}-{job['status'].lower()}-{job['run']}" not in payloads:
            lost.append(f"{one.key}: its end was not announced")
    twice += [f"{key}: a job that nobody sent" for key in jobs]
    _compare_events(stack, sent, lost, twice)
    return Account(len(sent), statuses, lost, twice, wrong, [*_left_over(stack), *letters], latencies)


def _differences(parcel: Parcel, job: Mapping[str, Any]) -> Iterator[str]:
    if job["status"] != parcel.status or job.get("error", {}).get("code") != parcel.error:
        yield f"{job['status']} {job.get('error')} instead of {parcel.status} {parcel.error}"
    if job["etag"] != hashlib.md5(parcel.body, usedforsecurity=False).hexdigest():
        yield "not the content that was sent last"


def _compare_events(stack: LocalStack, sent: Sequence[Sent], lost: list[str], twice: list[str]) -> None:
    must = {id if id is not None else one.key: data for one in sent for id, data in one.parcel.events}
    for item in items(stack, "EventsTable"):
        if item["pk"] not in must:
            twice.append(f"event {item['pk']}: a row that nobody sent")
        elif item["data"] != must.pop(item["pk"]):
            lost.append(f"event {item['pk']}: not the data that was sent last")
    lost += [f"event {pk}: no row" for pk in must]


def _left_over(stack: LocalStack) -> Iterator[str]:
    yield from keys(stack, "uploads/", "incoming/")
    if count := waiting(stack, "QueueUrl"):
        yield f"{count} messages on the jobs queue"


def waiting(stack: LocalStack, output: str) -> int:
    """Messages on a queue, hidden or not."""
    names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
    found = stack.client("sqs").get_queue_attributes(QueueUrl=stack.outputs[output], AttributeNames=names)
    return sum(int(found["Attributes"][name]) for name in names)


def items(stack: LocalStack, table: str) -> Iterator[dict[str, Any]]:
    read = TypeDeserializer().deserialize
    for page in stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs[table]):
        for item in page["Items"]:
            yield {name: read(value) for name, value in item.items()}


def keys(stack: LocalStack, *prefixes: str) -> Iterator[str]:
    """Of originals, and of whatever lies open."""
    pages = stack.client("s3").get_paginator("list_objects_v2")
    for prefix in prefixes:
        for page in pages.paginate(Bucket=stack.outputs["BucketName"], Prefix=prefix):
            for entry in page.get("Contents", []):
                if "/outputs/" not in entry["Key"]:
                    yield entry["Key"]
