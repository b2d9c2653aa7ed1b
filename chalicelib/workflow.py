"""The steps of the state machine: the stages of heavy work, each a function of its own.

    validate ▶ detect ▶ process ▶ finish          any of them, tried often enough ▶ fail
                           └ speech, where Amazon Transcribe listens to it ▶ finish

Every step asks the ledger for the job, on the lease that is the execution's, and leaves what it found there.
So it makes no difference which step runs where, or how often: what has a verdict only has to be finished,
and a job that a newer upload, a deletion or another worker has taken over is stepped aside from.

A step returns `{"next": …}`: what the state machine does with it is in infra/template.yaml. It raises
`RetryLater`, and nothing else of ours, where trying again may help; what cannot get better is a verdict.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

from chalicelib import executions, heavy, keys, metrics, pipeline, speech, storage
from chalicelib.errors import LeaseLost, NotFound, Rejected, RetryLater, Superseded
from chalicelib.jobs import Ending, Job, Status
from chalicelib.ledger import Ledger, open_ledger
from chalicelib.pipeline import Outcome
from chalicelib.processors import Result
from chalicelib.settings import Settings
from chalicelib.telemetry import about, cause, log, owner_hash

Step = Callable[[Settings, Ledger, Job], str]

ON = "on"
"""There is more to be done."""
FINISH = "finish"
"""The job has its verdict."""
TRANSCRIBE = "transcribe"
ENDED = "ended"
ASIDE = "aside"
"""The job is not this execution's any more."""

TIMED_OUT = ("States.Timeout", "Sandbox.Timedout")
"""A state's time was up, or a function's."""

TIMEOUT = {"code": "worker_timeout", "message": "Processing took longer than a file is given."}


@dataclass(frozen=True, slots=True)
class Task:
    """The run of a job that an execution is about: its input."""

    owner: str
    job_id: str
    run: int

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Self:
        """
        Raises:
            KeyError, ValueError: it is no input of ours.
        """
        return cls(str(event["owner"]), str(event["jobId"]), int(event["run"]))

    @property
    def lease(self) -> str:
        return executions.name(self.job_id, self.run)


def validate(settings: Settings, event: Mapping[str, Any]) -> dict[str, str]:
    """Whether the file is one to be worked on."""
    return _step(settings, event, "validating", _validate)


def detect(settings: Settings, event: Mapping[str, Any]) -> dict[str, str]:
    """Whether what the file is may be worked on."""
    return _step(settings, event, "detecting", _detect)


def process(settings: Settings, event: Mapping[str, Any]) -> dict[str, str]:
    """What takes its time: see `heavy`."""
    return _step(settings, event, "processing", _process)


def finish(settings: Settings, event: Mapping[str, Any]) -> dict[str, str]:
    """End the job as its verdict says, and tell of it."""
    return _last_step(settings, event, _finish)


def find_speech(settings: Settings, event: Mapping[str, Any]) -> dict[str, Any]:
    """Whether Amazon Transcribe has something to listen to, and what it is to be asked."""
    with _at_work_on(event) as task:
        ledger = open_ledger(settings)
        try:
            job = ledger.report(task.owner, task.job_id, task.lease, "transcribing")
        except LeaseLost:
            return dict(_aside(settings, ledger, task))
        request = speech.request(settings, job)
    if request is None:
        return {"next": FINISH}
    return {"next": TRANSCRIBE, "request": request, "waited": {"times": 0}}


def fetch_transcript(settings: Settings, event: Mapping[str, Any]) -> dict[str, str]:
    """What Amazon Transcribe has made of it, for the job."""
    with _at_work_on(event) as task:
        ledger = open_ledger(settings)
        try:
            job = ledger.report(task.owner, task.job_id, task.lease, "transcribing")
            speech.fetch(settings, ledger, job, event)
        except LeaseLost:
            speech.forget(settings, event)
            return _aside(settings, ledger, task)
        except Exception as error:
            _tell(settings, "transcribing", error)
            raise _again(error) from error
    return {"next": FINISH}


def fail(settings: Settings, event: Mapping[str, Any]) -> dict[str, str]:
    """End the job after a step of it has been tried for the last time."""
    name = event.get("failure", {}).get("Error", "")
    return _last_step(settings, event, lambda *held: _fail(*held, timed_out=name in TIMED_OUT))


def give_back(settings: Settings, event: Mapping[str, Any]) -> None:
    """Have the job say that it waits for the next worker, where this one has been stopped."""
    task = Task.of(event)
    with suppress(LeaseLost):
        open_ledger(settings).report(task.owner, task.job_id, task.lease, "waiting")


def _validate(settings: Settings, ledger: Ledger, job: Job) -> str:
    try:
        original = storage.open_original(settings, job)
    except NotFound as error:
        return _decide(settings, ledger, job, Outcome(Status.FAILED, None, error=pipeline.reason_of(error)))
    original.body.close()
    try:
        pipeline.validate(settings, original)
    except Rejected as error:
        refusal = pipeline.reason_of(error)
        return _decide(settings, ledger, job, Outcome(Status.REJECTED, original, error=refusal))
    return ON


def _detect(settings: Settings, ledger: Ledger, job: Job) -> str:
    outcome = pipeline.attempt(settings, job, lambda *_: Result())
    return ON if outcome.status is Status.COMPLETED else _decide(settings, ledger, job, outcome)


def _decide(settings: Settings, ledger: Ledger, job: Job, outcome: Outcome) -> str:
    ledger.decide(job, pipeline.store(settings, job, outcome))
    return FINISH


def _process(settings: Settings, ledger: Ledger, job: Job) -> str:
    ledger.decide(job, heavy.run(settings, ledger, job))
    return FINISH


def _finish(settings: Settings, ledger: Ledger, job: Job) -> str:
    if job.verdict is None:  # a worker that says it is done, and has left nothing
        return _fail(settings, ledger, job)
    pipeline.conclude(settings, ledger, job, Ending.from_verdict(job.verdict))
    return ENDED


def _fail(settings: Settings, ledger: Ledger, job: Job, *, timed_out: bool = False) -> str:
    if job.verdict is not None:
        return _finish(settings, ledger, job)
    outcome = pipeline.lost(settings, job)
    if timed_out:
        outcome = Outcome(Status.FAILED, outcome.original, error=TIMEOUT)
    pipeline.finish(settings, ledger, job, outcome)
    return ENDED


def _step(settings: Settings, event: Mapping[str, Any], stage: str, step: Step) -> dict[str, str]:
    """One step on the way to a verdict."""
    with _at_work_on(event) as task:
        return _take(settings, task, stage, step)


def _take(settings: Settings, task: Task, stage: str, step: Step) -> dict[str, str]:
    ledger = open_ledger(settings)
    job: Job | None = None
    try:
        job = ledger.report(task.owner, task.job_id, task.lease, stage)
        return {"next": FINISH if job.verdict else step(settings, ledger, job)}
    except LeaseLost:
        return _aside(settings, ledger, task)
    except Superseded as error:
        assert job is not None
        return _superseded(settings, ledger, job, error)
    except Exception as error:
        if job is None:  # the ledger could not be asked
            raise _again(error) from error
        _tell(settings, stage, error)
        return _failed(settings, ledger, task, job, error)


def _last_step(settings: Settings, event: Mapping[str, Any], step: Step) -> dict[str, str]:
    """A step that ends the job; the second time it announces the end once more, and clears away."""
    with _at_work_on(event) as task:
        return _take_last(settings, task, step)


def _take_last(settings: Settings, task: Task, step: Step) -> dict[str, str]:
    ledger = open_ledger(settings)
    job: Job | None = None
    try:
        job = ledger.report(task.owner, task.job_id, task.lease, "finishing")
        return {"next": step(settings, ledger, job)}
    except Superseded as error:
        assert job is not None
        pipeline.step_aside(settings, ledger, job, error)
        return {"next": ASIDE}
    except LeaseLost:
        ended = ledger.find(task.owner, task.job_id)
        if ended is not None and ended.status.ended and ended.lease == task.lease:
            pipeline.close_again(settings, ended)
            return {"next": ENDED}
        return _aside(settings, ledger, task)
    except Exception as error:
        _tell(settings, "finishing", error)
        raise _again(error) from error


@contextmanager
def _at_work_on(event: Mapping[str, Any]) -> Iterator[Task]:
    """The task of an event, which every line within is about."""
    task = Task.of(event)
    with about(jobId=task.job_id, owner=owner_hash(task.owner)):
        yield task


def _tell(settings: Settings, stage: str, error: Exception) -> None:
    failed = metrics.failed_attempt(settings.stage, error)
    log("job.step_failed", level=pipeline.level_of(error), stage=stage, error=cause(error), **failed)


def _aside(settings: Settings, ledger: Ledger, task: Task) -> dict[str, str]:
    log("job.lease_lost", run=task.run)
    pipeline.clear_if_deleted(settings, ledger, task.owner, task.job_id)
    return {"next": ASIDE}


def _superseded(settings: Settings, ledger: Ledger, job: Job, superseded: Superseded) -> dict[str, str]:
    """As `pipeline.step_aside`, but for the end, which is another step's."""
    log("job.superseded", run=job.run)
    place = keys.parse(settings, job.source_key)
    if place is not None and place.job_id == job.job_id:
        ledger.release(job)
        return {"next": ASIDE}
    with suppress(LeaseLost):
        ending = Ending(Status.FAILED, job.key, error=pipeline.reason_of(superseded))
        ledger.decide(job, ending)
    return {"next": FINISH}


def _failed(settings: Settings, ledger: Ledger, task: Task, job: Job, error: Exception) -> dict[str, str]:
    """A verdict where nothing can help; else what the job will say should this have been the last try."""
    reason = pipeline.reason_of(error)
    try:
        if pipeline.may_pass(error):
            ledger.note(job, reason)
        else:
            left = pipeline.what_is_left(settings, job)
            return {"next": _decide(settings, ledger, job, Outcome(Status.FAILED, left, error=reason))}
    except LeaseLost:
        return _aside(settings, ledger, task)
    except Superseded as superseded:
        return _superseded(settings, ledger, job, superseded)
    raise _again(error) from error


def _again(error: Exception) -> RetryLater:
    return RetryLater(pipeline.reason_of(error)["message"], after=0)
