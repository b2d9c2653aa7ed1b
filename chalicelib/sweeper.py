"""Reconciliation: what still lies under an open prefix is work not done.

The queue is only a buffer and events may get lost, so the bucket is asked. Each object that has lain there
too long is looked up in the ledger and pushed on:

    no job, or of other content   ▶ entered and queued
    QUEUED, long untouched        ▶ queued again, unless its file still has to be scanned
    PROCESSING, lease run out     ▶ queued again; with its tries used up, the consumer ends it
    PROCESSING by an execution,
    long untouched                ▶ queued again; the consumer looks whether there is such an execution
    ended before it was uploaded,
    or without its file           ▶ opened again
    ended                         ▶ announced again, and the object deleted
    DELETED since                 ▶ deleted, and whatever else is left of the job
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any

from chalicelib import clients, executions, intake, keys, messages, metrics, pipeline, scans, storage
from chalicelib.jobs import Job, Order, Status, Upload, is_left_over, order
from chalicelib.ledger import Ledger, open_ledger
from chalicelib.settings import Settings
from chalicelib.telemetry import about, carried, cause, log, owner_hash

SIDE_BY_SIDE = 8
MARGIN = 10.0  # seconds kept back for the page of objects at hand

FINDS = ("entered", "queued_again", "opened_again", "closed", "deleted", "failed")
"""What would not have gone on by itself."""

STATES = (*FINDS, "no_work", "recent", "replaced", "in_work", "waiting", "scanning", "out_of_time")
"""All that a sweep counts, by the names of its line in the log."""


def sweep(settings: Settings, seconds_left: Callable[[], float] = lambda: float("inf")) -> Counter[str]:
    """Push on everything that lies open for longer than `SWEEP_AFTER_SECONDS`.

    Returns:
        How many objects were found in which state; the same numbers are logged. Stops between two pages of
        the listing when time runs short. The prefixes take turns in being first, so that what is left of one
        is not left every time.
    """
    ledger = open_ledger(settings)
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for page in _pages(settings):
            if seconds_left() < MARGIN:
                counts["out_of_time"] += 1
                break
            counts.update(pool.map(carried(partial(_push_on, settings, ledger)), page))
    found = sum(counts[state] for state in FINDS)
    log("sweep.done", **counts, **metrics.measured(settings.stage, {metrics.SWEEP_FINDS: found}))
    return counts


def _pages(settings: Settings) -> Iterator[list[Any]]:
    paginator = clients.s3().get_paginator("list_objects_v2")
    for prefix in in_any_order(settings.open_prefixes):
        for page in paginator.paginate(Bucket=settings.bucket, Prefix=prefix):
            yield list(page.get("Contents", []))


def in_any_order(prefixes: Sequence[str]) -> list[str]:
    return random.sample(prefixes, len(prefixes))


def _push_on(settings: Settings, ledger: Ledger, listed: Mapping[str, Any]) -> str:
    """Deal with one object; one that cannot be dealt with now must not stop the others."""
    try:
        upload = upload_of(settings, listed)
        if upload is None:
            return "no_work"
        with about(jobId=upload.job_id, owner=owner_hash(upload.owner)):
            return _push_on_upload(settings, ledger, listed, upload)
    except Exception as error:
        log(
            "sweep.failed", level=logging.ERROR, jobId=_job_id_of(settings, listed["Key"]), error=cause(error)
        )
        return "failed"


def _push_on_upload(settings: Settings, ledger: Ledger, listed: Mapping[str, Any], upload: Upload) -> str:
    if time.time() - listed["LastModified"].timestamp() < settings.sweep_after_seconds:
        return "recent"
    job = ledger.find(upload.owner, upload.job_id)
    if job is None or order(job, upload) is Order.NEWER:
        if not storage.is_current(settings, upload):
            return "replaced"
        intake.enter(settings, ledger, upload)
        return "entered"
    if job.status is Status.DELETED:
        storage.remove(settings, upload.key, upload.etag)
        storage.remove_ended(settings, job.owner, job.job_id)
        return "deleted"
    if job.status.ended:
        return _push_on_ended(settings, ledger, job, upload)
    return _push_on_open(settings, ledger, job)


def _push_on_open(settings: Settings, ledger: Ledger, job: Job) -> str:
    held = job.status is Status.PROCESSING and job.lease_until > time.time()
    if held and not executions.holds(job):
        return "in_work"
    if _age(job.updated_at) < settings.sweep_after_seconds:
        return "waiting"
    if job.status is Status.QUEUED and scans.is_pending(settings, job):
        return "scanning"
    if not ledger.touch(job):  # somebody is at it after all
        return "waiting"
    messages.send(settings, [job])
    return "queued_again"


def _push_on_ended(settings: Settings, ledger: Ledger, job: Job, upload: Upload) -> str:
    if is_left_over(job, upload):
        pipeline.close_again(settings, job)
        if upload.key != job.source_key:  # a retry has brought the file under the key that it has now
            storage.remove(settings, upload.key, upload.etag)
        return "closed"
    if reopened := ledger.reopen(job, upload):
        scans.queue(settings, reopened)
        return "opened_again"
    return "waiting"


def upload_of(settings: Settings, listed: Mapping[str, Any]) -> Upload | None:
    """What an object of a listing is, as an event would have told of it; None where it is no work."""
    return intake.upload_at(settings, listed["Key"], listed["ETag"], listed["Size"], listed["LastModified"])


def _job_id_of(settings: Settings, key: str) -> str | None:
    """The id that a key carries: the key itself tells too much for a log."""
    place = keys.parse(settings, key)
    return place.job_id if place else None


def _age(moment: str) -> float:
    return time.time() - datetime.fromisoformat(moment).timestamp()
