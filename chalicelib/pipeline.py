"""The way of one job: claim → validate → detect → process → finish. The same stages run wherever work runs.

What ends a job happens in this order, and each step may run twice:

    copy to the final prefix ▶ outputs ▶ ledger ▶ event ▶ delete the object under the open prefix ▶ message

The copy is the gate: S3 makes it only of the very content that was opened, so that a run which a newer upload
has overtaken does not write its outputs over the newer ones. The open object goes last. Until it is gone, the
sweep can see that something is unfinished, so that a crash between any two steps loses nothing, not even the
announcement.

What would take too long here is heavy work: the job goes over to the state machine (`executions`), which runs
the same stages (`workflow`).
"""

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib import (
    events,
    executions,
    keys,
    metrics,
    notifications,
    outputs,
    sandbox,
    scans,
    scratch,
    storage,
)
from chalicelib.errors import (
    AwaitingScan,
    LeaseLost,
    NotFound,
    NoTurn,
    Rejected,
    RetryLater,
    Superseded,
    WaybillError,
)
from chalicelib.filetypes import HEAD_BYTES, OTHER, FileType, detect, family_of
from chalicelib.jobs import Ending, Job, Status
from chalicelib.ledger import Claim, Ledger, open_ledger
from chalicelib.messages import Message
from chalicelib.processors import REGISTRY, Caps, Result, Source
from chalicelib.scratch import Place
from chalicelib.settings import Settings
from chalicelib.storage import Original
from chalicelib.telemetry import about, cause, log, owner_hash

HEAVY_FAMILIES = ("audio", "video")
"""Whatever their size: there are minutes in a small file."""

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


Work = Callable[[Original, bytes, FileType], Result]
"""Makes something of an opened original, of which the head has been read and the type is known."""


class _Heavy(Exception):
    """The file is not for this function to work on."""


def run(settings: Settings, message: Message, begin_by: float = math.inf) -> None:
    """Work on the job of a message until it has ended, or say why it has not.

    A file that nobody could begin with until `begin_by`, a moment of `time.monotonic()`, is left as it was.

    Raises:
        RetryLater: another worker holds the lease, there was no room to begin, or the attempt failed and
            there are more to come.
    """
    with about(jobId=message.job_id, owner=owner_hash(message.owner)):
        _run(settings, message, begin_by)


def _run(settings: Settings, message: Message, begin_by: float) -> None:
    ledger = open_ledger(settings)
    claim, job = ledger.claim(message.owner, message.job_id, message.etag)
    if job is None or claim is Claim.SUPERSEDED:
        log("message.moot", claim=claim.value)
    elif claim is Claim.BUSY and executions.holds(job):
        work(settings, ledger, job, lambda: go_on(settings, ledger, job))
    elif claim is Claim.BUSY:
        raise RetryLater("Another worker is at this job.", after=_seconds_until(job.lease_until))
    elif claim is Claim.ENDED:
        close_again(settings, job)
    elif claim is Claim.DELETED:
        storage.remove_ended(settings, job.owner, job.job_id)
    else:
        work(settings, ledger, job, lambda: end(settings, ledger, job, begin_by))


def work(settings: Settings, ledger: Ledger, job: Job, do: Callable[[], None]) -> None:
    """One attempt at a claimed job."""
    try:
        do()
    except Superseded as error:
        step_aside(settings, ledger, job, error)
    except LeaseLost:
        log("job.lease_lost", run=job.run)
        clear_if_deleted(settings, ledger, job.owner, job.job_id)


def end(settings: Settings, ledger: Ledger, job: Job, begin_by: float) -> None:
    """Bring a claimed job to its end, which is FAILED where this was the last attempt and it failed.

    Heavy work only begins here; the job is its execution's when this returns.
    One whose file has not been scanned yet, where that has to be, goes back and waits for it.

    Raises:
        RetryLater: there was no room to begin, or the attempt failed and there are more to come.
        LeaseLost, Superseded: the job is another worker's, or a newer upload's, by now.
    """
    try:
        _try(settings, ledger, job, begin_by)
    except (LeaseLost, Superseded):
        raise
    except NoTurn as error:
        log("job.no_turn")
        ledger.release(job, tried=False)
        raise RetryLater(error.message, after=NO_TURN) from error
    except AwaitingScan:
        await_scan(settings, ledger, job)
    except Exception as error:
        reason = reason_of(error)
        failed = metrics.failed_attempt(settings.stage, error)
        level = level_of(error)
        log("job.attempt_failed", level=level, attempt=job.attempts, error=cause(error), **failed)
        # Without the lease, the job may have ended all the same: the next look at its message will tell.
        held = ledger.release(job, reason)
        if not held or (may_pass(error) and job.attempts < settings.max_attempts):
            raise RetryLater(reason["message"], after=2**job.attempts) from error
        finish(settings, ledger, job, Outcome(Status.FAILED, what_is_left(settings, job), error=reason))


def _try(settings: Settings, ledger: Ledger, job: Job, begin_by: float) -> None:
    processed_here = job.size <= settings.light_limit_bytes
    try:
        with scratch.place(job.size if processed_here else 0, begin_by) as place:
            outcome = attempt(settings, job, _here(settings, job, place, begin_by))
            finish(settings, ledger, job, outcome, begin_by + sandbox.wall_seconds(settings.decode_seconds))
    except _Heavy:
        go_on(settings, ledger, executions.hand_over(settings, ledger, job))


def go_on(settings: Settings, ledger: Ledger, job: Job) -> None:
    """Have the execution that holds a job be at work on it.

    One that has ended, while its job has not, will not come back: it ran out of time, or was stopped. That
    ends the job, as its verdict says where there is one already; a retry of its owner's is a new run, and so
    a new execution.
    """
    if executions.start(settings, job):
        return
    log("job.execution_lost", level=logging.ERROR, run=job.run)
    now = ledger.find(job.owner, job.job_id)
    if now is None or now.lease != job.lease or now.status.ended:
        return
    if now.verdict is None:
        finish(settings, ledger, now, lost(settings, now))
    else:
        conclude(settings, ledger, now, Ending.from_verdict(now.verdict))


def await_scan(settings: Settings, ledger: Ledger, job: Job) -> None:
    """Leave a claimed job until its file has been scanned: the verdict's event, or the sweep, queues it.

    Raises:
        RetryLater: the verdict came right now, when its event found the job in this worker's hands.
    """
    log("job.awaits_scan", run=job.run)
    if ledger.await_scan(job) and not scans.is_pending(settings, job):
        raise RetryLater("The file has just been scanned.", after=1)


def step_aside(settings: Settings, ledger: Ledger, job: Job, superseded: Superseded) -> None:
    """Leave a claimed job to the newer upload on its key.

    Where the key carries the job's id, that upload is the next run of the job. Where it carries none, the
    upload is a job of its own, and this one ends here: nothing else would ever end it.
    """
    log("job.superseded", run=job.run)
    place = keys.parse(settings, job.source_key)
    if place is not None and place.job_id == job.job_id:
        ledger.release(job)
        return
    with suppress(LeaseLost):
        finish(settings, ledger, job, Outcome(Status.FAILED, None, error=reason_of(superseded)))


def clear_if_deleted(settings: Settings, ledger: Ledger, owner: str, job_id: str) -> None:
    """What was written after the job's deletion had cleared up goes as well."""
    job = ledger.find(owner, job_id)
    if job is not None and job.status is Status.DELETED:
        storage.remove_ended(settings, owner, job_id)


def attempt(settings: Settings, job: Job, work: Work) -> Outcome:
    """Validate, detect, process: everything that may fail on account of the file itself."""
    if job.attempts > settings.max_attempts:
        return lost(settings, job)
    original: Original | None = None
    file_type: FileType | None = None
    try:
        original = storage.open_original(settings, job)
        validate(settings, original)
        scans.admit(settings, original)
        head = original.body.read(HEAD_BYTES)
        file_type = detect(head, job.filename)
        admit(settings, file_type)
        return Outcome(Status.COMPLETED, original, file_type, work(original, head, file_type))
    except Rejected as error:
        return Outcome(Status.REJECTED, original, file_type, error=reason_of(error))
    except NotFound as error:
        return Outcome(Status.FAILED, original, error=reason_of(error))
    finally:
        if original is not None:
            original.body.close()


def _here(settings: Settings, job: Job, place: Place, begin_by: float) -> Work:
    """Light work. The original is read once; what is made of it lies in `place`, until the job has ended."""

    def work(original: Original, head: bytes, file_type: FileType) -> Result:
        if is_heavy(settings, original, file_type):
            if settings.state_machine_arn:
                raise _Heavy
            file_type = FileType(OTHER.family, file_type.media_type)
        if original.size > settings.light_limit_bytes:
            return Result()
        place.receive(head, original.body)
        return process(settings, job, file_type, place, begin_by)

    return work


def is_heavy(settings: Settings, original: Original, file_type: FileType) -> bool:
    return file_type.family in HEAVY_FAMILIES or original.size > settings.light_limit_bytes


def lost(settings: Settings, job: Job) -> Outcome:
    """The last attempt never came to its end: its worker was lost."""
    reason = {"code": "worker_lost", "message": "Processing was cut off every time it was tried."}
    return Outcome(Status.FAILED, what_is_left(settings, job), error=job.error or reason)


def what_is_left(settings: Settings, job: Job) -> Original | None:
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


def process(
    settings: Settings,
    job: Job,
    file_type: FileType,
    place: Place,
    begin_by: float = math.inf,
    *,
    heavy: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Result:
    """Have the family's processor make what it makes of the file; heavy work has limits of its own.

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
            Caps(
                settings.max_events,
                settings.max_rows,
                settings.max_pixels,
                settings.max_pages,
                settings.max_duration_seconds,
                settings.max_transcript_seconds,
            ),
            "none" if settings.transcriber == "amazon" else settings.transcriber,
        ),
        owner=job.owner,
        cpu_seconds=settings.heavy_decode_seconds if heavy else settings.decode_seconds,
        memory_bytes=settings.heavy_memory_bytes if heavy else settings.decode_memory_bytes,
        begin_by=begin_by,
        on_progress=on_progress,
    )


def finish(settings: Settings, ledger: Ledger, job: Job, outcome: Outcome, stop_by: float = math.inf) -> None:
    """Write down how the job ended, announce it, and clear its open object away.

    Raises:
        LeaseLost, Superseded: the job is another worker's, or a newer upload's, by now.
    """
    conclude(settings, ledger, job, store(settings, job, outcome, stop_by))


def store(settings: Settings, job: Job, outcome: Outcome, stop_by: float = math.inf) -> Ending:
    """The original to its final prefix, then what was made of it; what the ledger is to hold of both.

    Raises:
        Superseded: a newer upload has taken the original's place.
    """
    key = job.key
    if outcome.original is not None:
        key = storage.final_key(_final_prefix(settings, outcome.status), job)
        storage.copy(settings, job, outcome.original, key)
    made = outputs.store(settings, job, outcome.result.outputs)
    if outcome.result.events:
        references = {output["name"]: output["key"] for output in made}
        events.store(settings, job, outcome.result.events, references, stop_by)
    return Ending(
        status=outcome.status,
        key=key,
        content_type=outcome.original.content_type if outcome.original else None,
        detected_type=outcome.file_type.media_type if outcome.file_type else None,
        outputs=made,
        declared=outcome.original.declared if outcome.original else {},
        metadata=outcome.result.metadata,
        error=outcome.error,
    )


def conclude(settings: Settings, ledger: Ledger, job: Job, ending: Ending) -> None:
    """The end of a job, counted where it takes place: one write of the ledger ends it, and who has written it
    counts it at once. What comes again finds the job ended, and closes it without counting.

    Raises:
        LeaseLost: the job is another worker's, or a newer upload's, by now.
    """
    ended = ledger.finish(job, ending)
    milliseconds = _milliseconds_between(ended.uploaded_at, ended.finished_at or ended.updated_at)
    measured = metrics.measured(
        settings.stage,
        {
            metrics.FILES_ENDED: 1,
            metrics.FILES_FAILED: int(ended.status is Status.FAILED),
            metrics.BYTES: ended.size,
            metrics.UPLOAD_TO_END: milliseconds,
        },
        Status=str(ended.status),
        Family=family_of(ended.detected_type) if ended.detected_type else metrics.UNKNOWN,
    )
    log(
        "job.ended",
        level=logging.ERROR if ended.status is Status.FAILED else logging.INFO,
        run=ended.run,
        type=ended.detected_type,
        attempts=ended.attempts,
        error=ended.error["code"] if ended.error else None,
        **measured,
    )
    close(settings, ended)


def close_again(settings: Settings, ended: Job) -> None:
    """For what comes again of a job that has ended: its message, its step, the sweep."""
    close(settings, ended)
    log("job.closed_again", run=ended.run)


def close(settings: Settings, ended: Job) -> None:
    """Announce an ended job and delete its open object. Both are as good the second time."""
    notifications.publish(settings, ended)
    if ended.moved:  # or else what lies there by now has never been set aside
        if ended.run > 1 and ended.status is not Status.FAILED:
            storage.remove_retried(settings, ended)
        storage.remove_open(settings, ended)


def _final_prefix(settings: Settings, status: Status) -> str:
    return {
        Status.COMPLETED: settings.processed_prefix,
        Status.REJECTED: settings.rejected_prefix,
        Status.FAILED: settings.failed_prefix,
    }[status]


def reason_of(error: Exception) -> dict[str, str]:
    """What a job says of its failure: our own errors in their words, others without their insides."""
    if isinstance(error, WaybillError):
        return {"code": error.code, "message": error.message}
    return {"code": "processing_failed", "message": "Something failed on our side while processing the file."}


def level_of(error: Exception) -> int:
    """Of the line that tells of it: what nobody has foreseen is what an operator looks for."""
    return logging.WARNING if isinstance(error, WaybillError) else logging.ERROR


def may_pass(error: Exception) -> bool:
    return error.retryable if isinstance(error, WaybillError) else True


def _seconds_until(epoch_seconds: int) -> int:
    return max(1, epoch_seconds - int(time.time()) + 1)


def _milliseconds_between(earlier: str, later: str) -> int:
    """Of two clocks, which may differ."""
    between = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    return max(0, round(between.total_seconds() * 1000))
