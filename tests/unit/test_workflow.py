"""Heavy work, one step at a time: who holds the job, and that every way leads to the same end."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from chalicelib import batch, clients, consumer, events, executions, heavy, outputs, pipeline, workflow
from chalicelib.errors import DecodeFailed, DecodeStalled, RetryLater
from chalicelib.jobs import Ending, Status
from chalicelib.settings import Settings
from tests.unit.flow import Flow, repeat_once
from tests.unit.machine import Machine, with_machine

BODY = bytes(range(256)) * 8
NEWER = BODY + b"\0and more"
TABLE = b"a,b\n" + b"1,2\n" * 60


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flow]:
    monkeypatch.setattr(consumer, "BATCH", 1)
    monkeypatch.setattr(events, "WRITERS", 1)
    monkeypatch.setattr(outputs, "WRITERS", 1)
    flow = Flow(with_machine(aws), monkeypatch)
    flow.new_process()
    yield flow
    flow.new_process()


@pytest.fixture
def machine(flow: Flow) -> Machine:
    return Machine(flow)


def handed_over(flow: Flow, body: bytes = BODY, name: str = "much.bin") -> str:
    """The key of a file whose job an execution holds."""
    key = flow.new_key(name)
    flow.upload(key, body)
    flow.consume()
    return key


def event_of(flow: Flow, key: str) -> dict[str, str]:
    job = flow.job(key)
    return {"owner": job.owner, "jobId": job.job_id, "run": str(job.run)}


def test_the_consumer_is_done_with_heavy_work_as_soon_as_it_has_handed_it_over(flow: Flow) -> None:
    key = handed_over(flow)
    job = flow.job(key)

    assert flow.queue_size() == 0
    assert (job.status, job.stage, job.attempts) == (Status.PROCESSING, "waiting", 1)
    assert executions.holds(job)
    assert job.lease_until == int(flow.clock()) + flow.settings.workflow_seconds + executions.MARGIN


def test_light_work_calls_nothing_new(flow: Flow) -> None:
    flow.run(flow.new_key("light.txt"), b"light")

    assert flow.calls.count("StartExecution") + flow.calls.count("DescribeExecution") == 0


def test_a_job_goes_its_whole_way(flow: Flow, machine: Machine) -> None:
    key = handed_over(flow)
    machine.run()
    job = flow.job(key)

    assert machine.taken == ["validate", "detect", "process", "finish"]
    assert (job.status, job.stage, job.progress, job.verdict) == (Status.COMPLETED, "finished", 100, None)
    assert job.metadata == {"sha256": hashlib.sha256(BODY).hexdigest()}
    assert flow.objects() == {job.key: BODY}
    assert flow.published_ids() == [flow.event_id(job)]


def test_what_was_attached_to_the_file_goes_its_whole_way(flow: Flow, machine: Machine) -> None:
    key = flow.new_key("much.bin")
    flow.upload(key, BODY, Metadata={"order": "7"})
    flow.consume()
    machine.run()

    (event,) = flow.published()
    assert flow.job(key).declared == event["data"]["declared"] == {"order": "7"}


def test_a_verdict_of_the_version_before_says_nothing_of_it() -> None:
    verdict = Ending(Status.COMPLETED, "processed/a", declared={"order": "7"}).verdict()

    assert Ending.from_verdict(verdict).declared == {"order": "7"}
    del verdict["declared"]
    assert Ending.from_verdict(verdict).declared == {}


def test_without_a_state_machine_large_files_are_kept_as_they_are(
    aws: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow(replace(aws, light_limit_bytes=100), monkeypatch)
    job = flow.run(flow.new_key("much.bin"), BODY)

    assert (job.status, job.metadata) == (Status.COMPLETED, {})


def test_what_the_worker_cannot_hold_is_kept_as_it_is(flow: Flow, machine: Machine) -> None:
    flow.settings = replace(flow.settings, worker_limit_bytes=len(BODY) - 1)
    key = handed_over(flow)
    machine.run()

    assert (flow.job(key).status, flow.job(key).metadata) == (Status.COMPLETED, {})


def test_a_message_that_comes_again_starts_nothing_and_is_done(flow: Flow, machine: Machine) -> None:
    key = flow.new_key("much.bin")
    flow.upload(key, BODY)
    records = list(flow.messages())
    flow.consume()
    flow.consume(records)

    assert flow.job(key).attempts == 1
    assert list(machine.started()) == [executions.name(flow.job(key).job_id, 1)]


def test_an_execution_that_was_never_started_is_started_by_the_message_that_comes_again(
    flow: Flow, machine: Machine
) -> None:
    key = flow.new_key("much.bin")
    flow.upload(key, BODY)
    flow.calls.fail_next("StartExecution")
    with pytest.raises(batch.BatchIncomplete):
        flow.consume()
    assert executions.holds(flow.job(key))
    assert machine.started() == {}

    flow.consume()
    machine.run()

    assert (flow.job(key).status, flow.job(key).attempts) == (Status.COMPLETED, 1)


def test_the_sweep_starts_it_where_the_message_is_lost_as_well(flow: Flow, machine: Machine) -> None:
    key = flow.new_key("much.bin")
    flow.upload(key, BODY)
    flow.calls.fail_next("StartExecution")
    with pytest.raises(batch.BatchIncomplete):
        flow.consume()
    flow.messages().clear()

    flow.let_pass_until_swept()
    assert flow.sweep()["queued_again"] == 1
    flow.consume()
    machine.run()

    assert flow.job(key).status is Status.COMPLETED


def test_an_execution_that_has_ended_without_its_job_ends_it(flow: Flow, machine: Machine) -> None:
    key = handed_over(flow)
    machine.stop(executions.name(flow.job(key).job_id, 1))

    flow.let_pass_until_swept()
    flow.sweep()
    flow.consume()

    job = flow.job(key)
    assert (job.status, job.error and job.error["code"]) == (Status.FAILED, "worker_lost")
    assert flow.object_keys() == [job.key]


def test_an_execution_that_has_ended_behind_the_verdict_leaves_a_job_that_ends_as_it_says(
    flow: Flow, machine: Machine
) -> None:
    key = handed_over(flow)
    workflow.process(flow.settings, event_of(flow, key))
    machine.stop(executions.name(flow.job(key).job_id, 1))

    flow.let_pass_until_swept()
    flow.sweep()
    flow.consume()

    assert flow.job(key).status is Status.COMPLETED
    assert flow.object_keys() == [flow.job(key).key]


def test_a_worker_without_codecs_keeps_recordings_as_they_are(
    flow: Flow, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heavy, "find_spec", lambda _name: None)
    sound = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100)
    key = handed_over(flow, sound, "sound.wav")
    machine.run()
    job = flow.job(key)

    assert (job.detected_type, job.metadata) == ("audio/wav", {"sha256": hashlib.sha256(sound).hexdigest()})


def test_the_lease_outlasts_the_execution_and_then_the_job_is_ended(flow: Flow, machine: Machine) -> None:
    key = handed_over(flow)
    machine.stop(executions.name(flow.job(key).job_id, 1))
    flow.clock.advance(flow.settings.workflow_seconds + executions.MARGIN + 1)
    flow.sweep()
    flow.consume()

    assert (flow.job(key).status, flow.job(key).attempts) == (Status.FAILED, 2)


@pytest.mark.parametrize("step", ["validate", "detect", "process"])
def test_a_step_that_dies_every_time_ends_the_job(flow: Flow, machine: Machine, step: str) -> None:
    key = handed_over(flow)
    machine.failing[step] = 100
    machine.run()
    job = flow.job(key)

    assert (job.status, job.error and job.error["code"]) == (Status.FAILED, "worker_lost")
    assert machine.taken[-1] == "fail"


def test_a_verdict_stands_when_its_end_is_taken_up_by_fail(flow: Flow, machine: Machine) -> None:
    key = handed_over(flow)
    machine.failing["finish"] = 100
    machine.run()

    assert flow.job(key).status is Status.COMPLETED


@pytest.mark.parametrize("error", ["States.Timeout", "Sandbox.Timedout"])
def test_a_file_that_has_taken_all_of_its_time_fails_with_that_reason(flow: Flow, error: str) -> None:
    key = handed_over(flow)
    failure = {"failure": {"Error": error, "Cause": ""}}

    assert workflow.fail(flow.settings, event_of(flow, key) | failure) == {"next": "ended"}
    assert flow.job(key).error == workflow.TIMEOUT


@pytest.mark.parametrize(
    ("error", "tries", "code"),
    [
        (DecodeFailed("It died."), 1, "decode_crashed"),
        (DecodeStalled("It hangs."), 4, "decode_timeout"),
        (ValueError("a bug"), 4, "processing_failed"),
    ],
)
def test_only_what_may_pass_is_tried_again(
    flow: Flow, machine: Machine, monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int, code: str
) -> None:
    def spoilt(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "process", spoilt)
    key = handed_over(flow, TABLE, "table.csv")
    machine.run()
    job = flow.job(key)

    assert machine.taken.count("process") == tries
    assert (job.status, job.error and job.error["code"]) == (Status.FAILED, code)
    assert flow.object_keys() == [job.key]


def test_a_worker_without_room_asks_for_another(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(total=heavy.SPARE * 4, free=0)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: disk)
    key = handed_over(flow, TABLE, "table.csv")

    with pytest.raises(RetryLater):
        workflow.process(flow.settings, event_of(flow, key))
    error = flow.job(key).error
    assert error is not None
    assert error["code"] == "worker_disk_full"


def test_what_the_whole_disk_could_not_hold_is_kept_as_it_is(
    flow: Flow, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heavy, "SPARE", 2**60)
    key = handed_over(flow, TABLE, "table.csv")
    machine.run()

    assert (flow.job(key).status, flow.job(key).outputs) == (Status.COMPLETED, [])


def newer_upload(flow: Flow, key: str) -> None:
    flow.upload(key, NEWER)


def deletion(flow: Flow, key: str) -> None:
    flow.ledger.delete(flow.job(key))


@pytest.mark.parametrize("step", ["validate", "detect", "process", "finish", "fail"])
@pytest.mark.parametrize("what", [newer_upload, deletion])
def test_every_step_of_an_overtaken_run_steps_aside(
    flow: Flow, machine: Machine, step: str, what: Callable[[Flow, str], None]
) -> None:
    key = handed_over(flow)
    told = event_of(flow, key)
    what(flow, key)
    before = flow.job(key)

    assert machine.take(step, told) == workflow.ASIDE
    assert flow.job(key) == before


@pytest.mark.parametrize("operation", ["GetObject", "UpdateItem", "CopyObject"])
def test_work_that_is_overtaken_in_the_middle_steps_aside(
    flow: Flow, machine: Machine, operation: str
) -> None:
    key = handed_over(flow)
    told = event_of(flow, key)
    flow.calls.meanwhile("after", operation, lambda: newer_upload(flow, key))

    assert machine.walk(told) == workflow.ASIDE
    flow.consume()
    machine.run()

    job = flow.job(key)
    assert (job.status, job.run) == (Status.COMPLETED, 2)
    assert flow.objects() == {job.key: NEWER}


def test_what_is_written_after_a_deletion_goes_as_well(flow: Flow, machine: Machine) -> None:
    key = handed_over(flow, TABLE, "table.csv")
    told = event_of(flow, key)
    flow.calls.meanwhile("after", "CopyObject", lambda: deletion(flow, key))

    assert machine.walk(told) == workflow.ASIDE
    assert flow.object_keys("processed/") == []


def test_handing_over_is_not_lost_with_its_answer(flow: Flow, machine: Machine) -> None:
    key = flow.new_key("much.bin")
    flow.upload(key, BODY)
    job = flow.job(key)
    _, claimed = flow.ledger.claim(job.owner, job.job_id, job.etag)
    assert claimed is not None
    ledger = flow._open_ledger(flow.settings)
    repeat_once(clients.dynamodb(), "UpdateItem")

    assert executions.holds(executions.hand_over(flow.settings, ledger, claimed))
    assert machine.started() == {}
