"""What tells of objects → a job in the ledger and a message on the queue."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from chalicelib import clients, keys, scans, storage
from chalicelib.errors import Unavailable
from chalicelib.jobs import Job, Order, Status, Upload, timestamp
from chalicelib.ledger import Ledger, open_ledger
from chalicelib.settings import Settings
from chalicelib.telemetry import about, cause, log, owner_hash


def on_objects_created(settings: Settings, event: Mapping[str, Any]) -> None:
    """Enter every object of the event, and queue the work that is open.

    The records are independent: one that fails stops no other, and raises in the end, so that the event comes
    again. What has been entered already is then queued again at most, and never entered twice.
    """
    ledger = open_ledger(settings)
    failures: list[Exception] = []
    for record in event.get("Records", []):
        try:
            upload = upload_of(settings, record)
            if upload is not None:
                enter(settings, ledger, upload)
        except Exception as error:
            log("intake.failed", level=logging.ERROR, error=cause(error))
            failures.append(error)
    if failures:
        raise Unavailable(f"{len(failures)} records could not be entered.") from failures[0]


def on_scanned(settings: Settings, event: Mapping[str, Any]) -> None:
    """Queue the job of an object that has been scanned for malware; enter it, where this is the first event.

    The event is no more than a hint: its verdict is read from the object's tag. Shape: Amazon GuardDuty User
    Guide, "Monitoring S3 object scans with Amazon EventBridge", S3 object scan result. The key is as it is.
    """
    told = event["detail"]["s3ObjectDetails"]
    key = told["objectKey"]
    ours = told["bucketName"] == settings.bucket and keys.parse(settings, key) is not None
    if not (ours and settings.scans_for_malware):
        return
    found = storage.head(settings, key)
    if found is None or found["ETag"].strip('"') != told["eTag"].strip('"'):
        log("scan.moot")  # it has been moved, or the newer upload that lies there gets a scan of its own
        return
    upload = upload_at(settings, key, found["ETag"], found["ContentLength"], found["LastModified"])
    if upload is not None:
        enter(settings, open_ledger(settings), upload, scanned=True)


def upload_at(settings: Settings, key: str, etag: str, size: int, modified: datetime) -> Upload | None:
    """The upload that lies on a key, by what a listing or a look at it tells; None where it is no work."""
    place = keys.parse(settings, key)
    if place is None:
        return None
    etag = etag.strip('"')
    return Upload(
        owner=place.owner,
        job_id=place.job_id or keys.derived_job_id(settings.bucket, key, etag, modified),
        key=key,
        filename=place.filename,
        etag=etag,
        size=size,
        uploaded_at=timestamp(modified.timestamp()),
    )


def enter(settings: Settings, ledger: Ledger, upload: Upload, *, scanned: bool = False) -> Job:
    """Ledger first, then queue: a crash in between leaves a job for the repeated event or the sweep."""
    with about(jobId=upload.job_id, owner=owner_hash(upload.owner)):
        job, relation = ledger.record(upload, lambda: storage.is_current(settings, upload))
        if relation is not Order.OLDER and job.status is Status.QUEUED:
            scans.queue(settings, job, scanned=scanned)
        log("job.entered", run=job.run, order=relation.name.lower())
    return job


def upload_of(settings: Settings, record: Mapping[str, Any]) -> Upload | None:
    """The upload that one S3 event record tells of; None where there is no work in it.

    Shape of a record: Amazon S3 User Guide, "Event message structure". Keys arrive as form-encoded text.
    """
    try:
        item = record["s3"]["object"]
        key, etag, size = unquote_plus(item["key"]), str(item["eTag"]), int(item["size"])
        event_time = datetime.fromisoformat(record["eventTime"])
        sequencer = str(item.get("sequencer") or "").upper()
        bucket = record["s3"]["bucket"]["name"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        log("intake.not_a_record", level=logging.ERROR, error=cause(error))
        return None
    place = keys.parse(settings, key) if bucket == settings.bucket else None
    if place is None:
        return None
    job_id = place.job_id or _derived_id(settings, key, etag)
    if job_id is None:
        return None
    return Upload(
        owner=place.owner,
        job_id=job_id,
        key=key,
        filename=place.filename,
        etag=etag,
        size=size,
        uploaded_at=timestamp(event_time.timestamp()),
        sequencer=sequencer,
    )


def _derived_id(settings: Settings, key: str, etag: str) -> str | None:
    """The id for a key that carries none; None where the object has moved on or has been replaced since."""
    s3 = clients.s3()
    try:
        head = s3.head_object(Bucket=settings.bucket, Key=key)
    except s3.exceptions.ClientError as error:
        if clients.http_status(error) == 404:
            return None
        raise
    if head["ETag"].strip('"') != etag:
        return None
    return keys.derived_job_id(settings.bucket, key, etag, head["LastModified"])
