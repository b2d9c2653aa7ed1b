"""The way of one job: claim → validate → detect → process → finish. The same stages run wherever work runs.

What ends a job happens in this order, and each step may run twice:

    copy to the final prefix ▶ outputs ▶ ledger ▶ event ▶ delete the object under the open prefix ▶ message

The copy is the gate: S3 makes it only of the very content that was opened, so that a run which a newer upload
has overtaken does not write its outputs over the newer ones. The open object goes last. Until it is gone, the
sweep can see that something is unfinished, so that a crash between any two steps loses nothing, not even the
announcement.
"""

import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib import events, keys, notifications, outputs, sandbox, scratch, storage
from chalicelib.errors import LeaseLost, NotFound, NoTurn, Rejected, RetryLater, Superseded, WaybillError
from chalicelib.filetypes import HEAD_BYTES, OTHER, FileType, detect
from chalicelib.jobs import Ending, Job, Status
from chalicelib.ledger import Claim, Ledger, open_ledger
from chalicelib.messages import Message
from chalicelib.processors import REGISTRY, Caps, Result, Source
from chalicelib.scratch import Place
from chalicelib.settings import Settings
from chalicelib.storage import Original
from chalicelib.telemetry import cause, log, owner_hash

NO_TURN = 5
"""Seconds after which to come again where there was no room to begin."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt at a job came out, before any of it is written down."""

    status: Status
    original: Original | None
    file_type: FileType | None = None
    result: Result = field(default_factory=Result)
    error: dict[str, str] | None = None


def run(settings: Settings, message: Message, begin_by: float = math.inf) -> None:
    """Work on the job of a message until it has ended, or say why it has not.

    A file that nobody could begin with until `begin_by`, a moment of `time.monotonic()`, is left as it was.

    Raises:
        RetryLater: another worker holds the lease, there was no room to begin, or the attempt failed and
            there are more to come.
    """
    ledger = open_ledger(settings)
    claim, job = ledger.claim(message.owner, message.job_id, message.etag)
    if job is None or claim is Claim.SUPERSEDED:
        log("message.moot", jobId=message.job_id, claim=claim)
    elif claim is Claim.BUSY:
        raise RetryLater("Another worker is at this job.", after=_seconds_until(job.lease_until))
    elif claim is Claim.ENDED:
        close(settings, job)
    elif claim is Claim.DELETED:
        storage.remove_ended(settings, job.owner, job.job_id)
    else:
        work(settings, ledger, job, begin_by)


def work(settings: Settings, ledger: Ledger, job: Job, begin_by: float) -> None:
    """One attempt at a claimed job."""
    try:
        end(settings, ledger, job, begin_by)
    except Superseded as error:
        step_aside(settings, ledger, job, error)
    except LeaseLost:
        log("job.lease_lost", jobId=job.job_id, run=job.run)
        _clear_what_came_too_late(settings, ledger, job)


def end(settings: Settings, ledger: Ledger, job: Job, begin_by: float) -> None:
    """Bring a claimed job to its end, which is FAILED where this was the last attempt and it failed.

    Raises:
        RetryLater: there was no room to begin, or the attempt failed and there are more to come.
        LeaseLost, Superseded: the job is another worker's, or a newer upload's, by now.
    """
    processed_here = job.size <= settings.light_limit_bytes
    try:
        with scratch.place(job.size if processed_here else 0, begin_by) as place:
            outcome = attempt(settings, job, place, begin_by)
            finish(settings, ledger, job, outcome, begin_by + sandbox.wall_seconds(settings.decode_seconds))
    except (LeaseLost, Superseded):
        raise
    except NoTurn as error:
        log("job.no_turn", jobId=job.job_id)
        ledger.release(job, tried=False)
        raise RetryLater(error.message, after=NO_TURN) from error
    except Exception as error:
        reason = _reason(error)
        log("job.attempt_failed", jobId=job.job_id, attempt=job.attempts, error=cause(error))
        # Without the lease, the job may have ended all the same: the next look at its message will tell.
        held = ledger.release(job, reason)
        if not held or (_may_pass(error) and job.attempts < settings.max_attempts):
            raise RetryLater(reason["message"], after=2**job.attempts) from error
        finish(settings, ledger, job, Outcome(Status.FAILED, _what_is_left(settings, job), error=reason))


def step_aside(settings: Settings, ledger: Ledger, job: Job, superseded: Superseded) -> None:
    """Leave a claimed job to the newer upload on its key.

    Where the key carries the job's id, that upload is the next run of the job. Where it carries none, the
    upload is a job of its own, and this one ends here: nothing else would ever end it.
    """
    log("job.superseded", jobId=job.job_id, run=job.run)
    place = keys.parse(settings, job.source_key)
    if place is not None and place.job_id == job.job_id:
        ledger.release(job)
        return
    with suppress(LeaseLost):
        finish(settings, ledger, job, Outcome(Status.FAILED, None, error=_reason(superseded)))


def _clear_what_came_too_late(settings: Settings, ledger: Ledger, lost: Job) -> None:
    """What was written after the job had been deleted, or had ended otherwise, goes as well."""
    job = ledger.find(lost.owner, lost.job_id)
    if job is not None and job.status is Status.DELETED:
        storage.remove_ended(settings, lost.owner, lost.job_id)
    elif job is not None and job.status.ended and job.moved:
        storage.remove_strays(settings, job)


def attempt(settings: Settings, job: Job, place: Place, begin_by: float) -> Outcome:
    """Validate, detect, process: everything that may fail on account of the file itself.

    The original is read once. What is made of it lies in `place`, until the job has ended.
    """
    if job.attempts > settings.max_attempts:
        return _exhausted(settings, job)
    original: Original | None = None
    file_type: FileType | None = None
    try:
        original = storage.open_original(settings, job)
        validate(settings, original)
        head = original.body.read(HEAD_BYTES)
        file_type = detect(head, job.filename)
        admit(settings, file_type)
        if original.size > settings.light_limit_bytes:
            return Outcome(Status.COMPLETED, original, FileType(OTHER.family, file_type.media_type))
        place.receive(head, original.body)
        return Outcome(
            Status.COMPLETED, original, file_type, process(settings, job, file_type, place, begin_by)
        )
    except Rejected as error:
        return Outcome(Status.REJECTED, original, file_type, error=_reason(error))
    except NotFound as error:
        return Outcome(Status.FAILED, original, error=_reason(error))
    finally:
        if original is not None:
            original.body.close()


def _exhausted(settings: Settings, job: Job) -> Outcome:
    """The last attempt never came to its end: its worker was lost."""
    lost = {"code": "worker_lost", "message": "Processing was cut off every time it was tried."}
    return Outcome(Status.FAILED, _what_is_left(settings, job), error=job.error or lost)


def _what_is_left(settings: Settings, job: Job) -> Original | None:
    try:
        original = storage.open_original(settings, job)
    except NotFound:
        return None
    original.body.close()
    return original


def validate(settings: Settings, original: Original) -> None:
    """
    Raises:
        Rejected: `empty_file`, `size_mismatch` or `too_large`.
    """
    declared = original.metadata.get(storage.SIZE_MARK, str(original.size))
    if str(original.size) != declared:
        raise Rejected(
            f"The file has {original.size} bytes, and {declared} were declared: send it again.",
            code="size_mismatch",
        )
    if original.size == 0:
        raise Rejected("The file is empty.", code="empty_file")
    if original.size > settings.max_upload_bytes:
        raise Rejected(
            f"The file has {original.size} bytes; at most {settings.max_upload_bytes} are allowed.",
            code="too_large",
        )


def admit(settings: Settings, file_type: FileType) -> None:
    """Whether the deployment takes what the file is, whatever it was declared as or is called.

    Raises:
        Rejected: `type_not_allowed`.
    """
    for taken, allowed in (
        (settings.allows_type(file_type.media_type), settings.allowed_types),
        (settings.allows_family(file_type.family), settings.allowed_families),
    ):
        if not taken:
            raise Rejected(
                f"The file is {file_type.media_type}; allowed are: {', '.join(allowed)}.",
                code="type_not_allowed",
            )


def process(settings: Settings, job: Job, file_type: FileType, place: Place, begin_by: float) -> Result:
    """Have the family's processor make what it makes of the file.

    Raises:
        Rejected: the processor does not accept the file.
        DecodeFailed: the processor did not survive it.
        NoTurn: it could not begin in time.
    """
    return sandbox.run(
        file_type.family if file_type.family in REGISTRY else OTHER.family,
        Source(
            place.original,
            job.filename,
            file_type.media_type,
            place.scratch,
            Caps(settings.max_events, settings.max_rows, settings.max_pixels, settings.max_pages),
        ),
        owner=job.owner,
        cpu_seconds=settings.decode_seconds,
        memory_bytes=settings.decode_memory_bytes,
        begin_by=begin_by,
    )


def finish(settings: Settings, ledger: Ledger, job: Job, outcome: Outcome, stop_by: float = math.inf) -> None:
    """Write down how the job ended, announce it, and clear its open object away.

    Raises:
        LeaseLost, Superseded: the job is another worker's, or a newer upload's, by now.
    """
    key = job.key
    if outcome.original is not None:
        key = storage.final_key(_final_prefix(settings, outcome.status), job)
        storage.copy(settings, job, outcome.original, key)
    made = outputs.store(settings, job, outcome.result.outputs)
    if outcome.result.events:
        references = {output["name"]: output["key"] for output in made}
        events.store(settings, job, outcome.result.events, references, stop_by)
    ended = ledger.finish(
        job,
        Ending(
            status=outcome.status,
            key=key,
            content_type=outcome.original.content_type if outcome.original else None,
            detected_type=outcome.file_type.media_type if outcome.file_type else None,
            outputs=made,
            metadata=outcome.result.metadata,
            error=outcome.error,
        ),
    )
    close(settings, ended)


def close(settings: Settings, ended: Job) -> None:
    """Announce an ended job and delete its open object. Both are as good the second time."""
    notifications.publish(settings, ended)
    if ended.moved:  # or else what lies there by now has never been set aside
        if ended.run > 1 and ended.status is not Status.FAILED:
            storage.remove_retried(settings, ended)
        if ended.attempts > 1 and ended.status is not Status.COMPLETED:
            storage.remove_strays(settings, ended)
        storage.remove_open(settings, ended)
    log(
        "job.ended",
        jobId=ended.job_id,
        owner=owner_hash(ended.owner),
        run=ended.run,
        status=ended.status,
        type=ended.detected_type,
        size=ended.size,
        attempts=ended.attempts,
        error=ended.error["code"] if ended.error else None,
        seconds=_seconds_between(ended.uploaded_at, ended.finished_at or ended.updated_at),
    )


def _final_prefix(settings: Settings, status: Status) -> str:
    return {
        Status.COMPLETED: settings.processed_prefix,
        Status.REJECTED: settings.rejected_prefix,
        Status.FAILED: settings.failed_prefix,
    }[status]


def _reason(error: Exception) -> dict[str, str]:
    """What a job says of its failure: our own errors in their words, others without their insides."""
    if isinstance(error, WaybillError):
        return {"code": error.code, "message": error.message}
    return {"code": "processing_failed", "message": "Something failed on our side while processing the file."}


def _may_pass(error: Exception) -> bool:
    return error.retryable if isinstance(error, WaybillError) else True


def _seconds_until(epoch_seconds: int) -> int:
    return max(1, epoch_seconds - int(time.time()) + 1)


def _seconds_between(earlier: str, later: str) -> float:
    return round((datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds(), 3)
