"""The job: what the ledger knows of one file. Its state graph is drawn in `ledger.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Self

from chalicelib import items
from chalicelib.status import EVENT_TYPES, VISIBLE, Status

__all__ = [
    "EVENT_TYPES",
    "SCANNING",
    "VISIBLE",
    "Ending",
    "Job",
    "Order",
    "Status",
    "Upload",
    "from_item",
    "item_key",
    "order",
    "queued",
    "timestamp",
    "to_item",
]

SCANNING = "scanning"
"""The stage of a job that is QUEUED, but without a message: its file has first to be scanned for malware."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One object under an open prefix, as an event or a listing tells of it."""

    owner: str
    job_id: str
    key: str
    filename: str
    etag: str
    """Without its quotes."""
    size: int
    uploaded_at: str
    sequencer: str = ""
    """Empty when a listing found the object: only events carry one."""


@dataclass(frozen=True, slots=True)
class Job:
    """One file on its way, or at the end of it. Times are ISO 8601 in UTC; `lease_until` is epoch seconds."""

    owner: str
    job_id: str
    status: Status
    run: int
    """Counts the uploads and retries of this job; part of its events' ids."""
    key: str
    """Where the original is now."""
    source_key: str
    """Where it came in."""
    filename: str
    etag: str
    size: int
    uploaded_at: str
    created_at: str
    updated_at: str
    sequencer: str = ""
    attempts: int = 0
    lease: str | None = None
    lease_until: int = 0
    stage: str = "queued"
    progress: int = 0
    content_type: str | None = None
    detected_type: str | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    declared: dict[str, str] = field(default_factory=dict)
    """What came with the file as its metadata: known from the end on, as nobody opens the object before."""
    metadata: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None
    started_at: str | None = None
    """When the latest attempt began."""
    finished_at: str | None = None
    expires_at: int | None = None
    verdict: dict[str, Any] | None = None
    """How heavy work came out (see `Ending`), from the worker to the step that ends the job."""
    open_since: str | None = None
    """Only while the job is open, and with it its entry in the index of open jobs (see `partition.py`)."""

    @property
    def moved(self) -> bool:
        """Whether the original has left its open key; a job that ended without its file never moved it."""
        return self.key != self.source_key

    def view(self) -> dict[str, Any]:
        """The job as the API and the events show it."""
        shown = {
            "jobId": self.job_id,
            "owner": self.owner,
            "status": self.status,
            "stage": self.stage,
            "progress": self.progress,
            "filename": self.filename,
            "contentType": self.content_type,
            "detectedType": self.detected_type,
            "size": self.size,
            "key": self.key,
            "sourceKey": self.source_key,
            "attempts": self.attempts,
            "outputs": self.outputs,
            "declared": self.declared,
            "metadata": self.metadata,
            "error": self.error,
            "createdAt": self.created_at,
            "startedAt": self.started_at,
            "updatedAt": self.updated_at,
            "finishedAt": self.finished_at,
        }
        return {name: value for name, value in shown.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Ending:
    """What finishing a job writes into it."""

    status: Status
    key: str
    content_type: str | None = None
    detected_type: str | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    declared: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None

    def verdict(self) -> dict[str, Any]:
        """For the ledger, where it waits for the step that ends the job."""
        values = {name: getattr(self, field) for field, name in _VERDICT.items()}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_verdict(cls, verdict: Mapping[str, Any]) -> Self:
        values = {field: verdict[name] for field, name in _VERDICT.items() if name in verdict}
        return cls(**values | {"status": Status(verdict["status"])})


_VERDICT = {
    "status": "status",
    "key": "key",
    "content_type": "contentType",
    "detected_type": "detectedType",
    "outputs": "outputs",
    "declared": "declared",
    "metadata": "metadata",
    "error": "error",
}

_SECONDS = len("2026-01-02T03:04:05")


class Order(Enum):
    """How an upload relates to the one that the ledger knows on the same key."""

    OLDER = -1
    SAME = 0
    NEWER = 1


def order(job: Job, upload: Upload) -> Order:
    """Compare by sequencer, and by etag where one of the two has no sequencer.

    Sequencers are hexadecimal text of differing length: the shorter is padded with zeros on the right, then
    they compare as text (Amazon S3 User Guide, "Event message structure"). Of a deleted job only the time
    counts: what was uploaded before the deletion is gone with it, and its event may still come.
    """
    if job.status is Status.DELETED:
        return Order.OLDER if upload.uploaded_at <= job.updated_at else Order.NEWER
    if not job.sequencer or not upload.sequencer:
        if job.etag == upload.etag:
            return Order.SAME
        # A listing shows what lies there now; an event may be a late one. Listings know whole seconds only.
        late = upload.sequencer and upload.uploaded_at[:_SECONDS] < job.uploaded_at[:_SECONDS]
        return Order.OLDER if late else Order.NEWER
    width = max(len(job.sequencer), len(upload.sequencer))
    known, heard = job.sequencer.ljust(width, "0"), upload.sequencer.ljust(width, "0")
    return Order.SAME if known == heard else Order.NEWER if heard > known else Order.OLDER


def is_left_over(job: Job, upload: Upload) -> bool:
    """Whether all that remains to be done with an upload is to delete it: the ended job has moved it.

    The same content may have come again since, by a retry or from its owner, and only the time tells them
    apart.
    """
    return job.moved and upload.etag == job.etag and upload.uploaded_at <= (job.finished_at or job.updated_at)


def queued(upload: Upload, *, run: int, created_at: str, now: str, stage: str = "queued") -> Job:
    """The job that an upload opens, ready to be claimed."""
    return Job(
        owner=upload.owner,
        job_id=upload.job_id,
        status=Status.QUEUED,
        run=run,
        key=upload.key,
        source_key=upload.key,
        filename=upload.filename,
        etag=upload.etag,
        size=upload.size,
        uploaded_at=upload.uploaded_at,
        sequencer=upload.sequencer,
        created_at=created_at,
        updated_at=now,
        stage=stage,
        open_since=now,
    )


def timestamp(epoch_seconds: float) -> str:
    """ISO 8601 in UTC to the millisecond, which compares as text in the order of time."""
    return (
        datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


# One name in the table and in JSON for each field in Python.
_ATTRIBUTES = {
    "owner": "owner",
    "job_id": "jobId",
    "status": "status",
    "run": "run",
    "key": "key",
    "source_key": "sourceKey",
    "filename": "filename",
    "etag": "etag",
    "size": "size",
    "uploaded_at": "uploadedAt",
    "created_at": "createdAt",
    "updated_at": "updatedAt",
    "sequencer": "sequencer",
    "attempts": "attempts",
    "lease": "lease",
    "lease_until": "leaseUntil",
    "stage": "stage",
    "progress": "progress",
    "content_type": "contentType",
    "detected_type": "detectedType",
    "outputs": "outputs",
    "declared": "declared",
    "metadata": "metadata",
    "error": "error",
    "started_at": "startedAt",
    "finished_at": "finishedAt",
    "expires_at": "expiresAt",
    "verdict": "verdict",
    "open_since": "openSince",
}


def to_item(job: Job) -> dict[str, Any]:
    """The job as its DynamoDB item."""
    return items.to_item({attribute: getattr(job, name) for name, attribute in _ATTRIBUTES.items()})


def item_key(owner: str, job_id: str) -> dict[str, Any]:
    """Where the job's item is in the table."""
    return items.to_item({"owner": owner, "jobId": job_id})


def from_item(item: Mapping[str, Any]) -> Job:
    values = items.from_item(item)
    known = {name: values[attribute] for name, attribute in _ATTRIBUTES.items() if attribute in values}
    return Job(**known | {"status": Status(known["status"])})
