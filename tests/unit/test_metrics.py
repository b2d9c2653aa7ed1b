"""What the log tells CloudWatch: each metric in the format that it reads, and each end of a job once."""

import ast
import inspect
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from chalicelib import filetypes, metrics, sweeper, telemetry, uploads
from chalicelib.batch import BatchIncomplete
from chalicelib.errors import Unavailable
from chalicelib.jobs import Status
from chalicelib.metrics import Metric
from chalicelib.processors import REGISTRY
from chalicelib.settings import FAMILIES, Settings
from tests.unit.emf import Datum, data
from tests.unit.flow import Clock, Flow, Killed
from tests.unit.machine import Machine, with_machine

Told = Callable[[], list[Datum]]

ORDER = b'{"id": "order-1", "total": 12.50}'


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """The values that were logged since the last time."""
    return lambda: data(capsys.readouterr().out.splitlines())


def values(told: list[Datum], metric: Metric, **dimensions: str) -> list[float]:
    return [one.value for one in told if one.name == metric.name and one.dimensions == dimensions]


# --- The format ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", metrics.ALL, ids=lambda metric: metric.name)
def test_each_metric_is_told_under_each_of_its_sets_of_dimensions(told: Told, metric: Metric) -> None:
    names = {name for names in metric.dimensions for name in names if name != "Stage"}
    telemetry.log("e", **metrics.measured("dev", {metric: 7}, **dict.fromkeys(names, "x")))

    one_each = told()

    assert [set(one.dimensions) for one in one_each] == [set(names) for names in metric.dimensions]
    assert {(one.name, one.value, one.unit) for one in one_each} == {(metric.name, 7, metric.unit)}


def test_several_metrics_share_a_line(told: Told) -> None:
    telemetry.log("e", **metrics.measured("dev", {metrics.BYTES: 5, metrics.UPLOAD_TO_END: 9}, Family="text"))

    one_each = told()

    assert values(one_each, metrics.BYTES, Stage="dev") == [5]
    assert values(one_each, metrics.UPLOAD_TO_END, Stage="dev", Family="text") == [9]


def test_dimensions_are_words_of_short_lists() -> None:
    """Each combination of them is paid for: no owner, no job, no name of a file."""
    known = {"Stage", "Status", "Family", "Function", "Outcome"}

    assert {name for metric in metrics.ALL for names in metric.dimensions for name in names} == known
    assert len({metric.name for metric in metrics.ALL}) == len(metrics.ALL)


def test_the_stage_is_the_one_that_the_template_names_the_table_after(settings: Settings) -> None:
    assert replace(settings, jobs_table="waybill-eu-dev-jobs").stage == "eu-dev"
    assert replace(settings, jobs_table="my_own_table").stage == "my_own_table"


# --- The ends of jobs ---------------------------------------------------------------------------------------


def test_a_file_is_counted_with_its_status_family_size_and_time(flow: Flow, told: Told) -> None:
    key = flow.new_key("order.json")
    flow.upload(key, ORDER)
    flow.clock.advance(2.5)
    flow.consume()

    one_each = told()

    stage = flow.settings.stage
    assert values(one_each, metrics.FILES_ENDED, Stage=stage, Status="COMPLETED") == [1]
    assert values(one_each, metrics.FILES_ENDED, Stage=stage, Status="COMPLETED", Family="data") == [1]
    assert values(one_each, metrics.FILES_FAILED, Stage=stage) == [0]
    assert values(one_each, metrics.BYTES, Stage=stage) == [len(ORDER)]
    assert values(one_each, metrics.UPLOAD_TO_END, Stage=stage, Family="data") == [2500]


def test_a_rejected_file_is_counted_as_such(flow: Flow, told: Told) -> None:
    flow.run(flow.new_key("nothing.txt"), b"")

    (one,) = [one for one in told() if one.name == "FilesEnded" and "Family" in one.dimensions]

    assert (one.dimensions["Status"], one.dimensions["Family"]) == ("REJECTED", metrics.UNKNOWN)


def test_the_average_of_failed_files_is_their_share(
    flow: Flow, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    flow.settings = replace(flow.settings, max_attempts=1)
    flow.run(flow.new_key("good.txt"), b"text")
    monkeypatch.setitem(REGISTRY, "text", broken)
    flow.run(flow.new_key("bad.txt"), b"text")

    assert values(told(), metrics.FILES_FAILED, Stage=flow.settings.stage) == [0, 1]


def test_a_family_is_one_that_there_is() -> None:
    assert filetypes.family_of("image/png") == "image"
    assert filetypes.family_of("application/x-made-up") == "other"
    assert metrics.UNKNOWN not in FAMILIES


def test_what_comes_again_of_an_ended_job_is_not_counted_again(flow: Flow, told: Told) -> None:
    key = flow.new_key("order.json")
    flow.upload(key, ORDER)
    again = [dict(record) for record in flow.messages()]
    flow.consume()
    told()

    flow.consume(again)
    flow.intake(flow.event_of(key, flow.job(key).etag, len(ORDER)))
    flow.clock.advance(flow.settings.sweep_after_seconds + 1)
    sweeper.sweep(flow.settings)

    assert [one for one in told() if one.name in ("FilesEnded", "FilesFailed", "Bytes")] == []


def test_another_run_of_the_job_is_another_file(flow: Flow, told: Told) -> None:
    key = flow.new_key("order.json")
    flow.run(key, ORDER)
    flow.run(key, ORDER + b" ")

    assert values(told(), metrics.FILES_ENDED, Stage=flow.settings.stage, Status="COMPLETED") == [1, 1]


def test_a_worker_that_dies_has_its_job_counted_at_most_once(flow: Flow, told: Told) -> None:
    """Before or after any call. Not at all only if it dies as the ledger's write has just ended the job."""
    uncounted = []
    for when in ("before", "after"):
        for number in count():
            key = flow.new_key("order.json")
            flow.upload(key, ORDER)
            told()
            flow.calls.kill(when, number)
            try:
                flow.consume()
            except (Killed, BatchIncomplete):
                flow.calls.revive()
            if flow.calls.triggered is False:
                flow.calls.revive()
                break
            died_at = flow.calls.made[-1]
            flow.clock.advance(flow.settings.lease_seconds + 1)
            flow.new_process()
            flow.consume()
            assert flow.job(key).status is Status.COMPLETED
            ends = values(told(), metrics.FILES_ENDED, Stage=flow.settings.stage, Status="COMPLETED")
            assert ends in ([1], [])
            if not ends:
                uncounted.append((when, died_at))

    assert uncounted == [("after", "UpdateItem")]


def test_heavy_work_is_counted_by_the_step_that_ends_it(
    aws: Settings, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    flow = Flow(with_machine(aws), monkeypatch)
    machine = Machine(flow)
    key = flow.new_key("much.bin")
    flow.upload(key, bytes(range(256)) * 8)
    flow.consume()
    job = flow.job(key)
    event = {"owner": job.owner, "jobId": job.job_id, "run": str(job.run)}
    machine.walk(event)
    machine.take("finish", event)

    ends = [one for one in told() if one.name == "FilesEnded" and "Family" in one.dimensions]

    assert [(one.dimensions["Status"], one.dimensions["Family"]) for one in ends] == [("COMPLETED", "other")]


# --- What is counted before it is told ----------------------------------------------------------------------


def test_uploads_are_told_once_a_second_and_none_is_left_out(
    settings: Settings, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(uploads, "_signed", metrics.Tally(clock))
    for _ in range(6):
        uploads.presign(settings, "_", {}, "https://api.example.com")
        clock.advance(0.4)
    uploads.presign(settings, "_", {}, "https://api.example.com")

    assert values(told(), metrics.UPLOADS_SIGNED, Stage=settings.stage) == [1, 3, 3]


# --- What fails, and what is found --------------------------------------------------------------------------


def test_a_try_that_fails_is_counted_and_what_nobody_has_foreseen_once_more(
    flow: Flow, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(error: Exception) -> Callable[[Any], Any]:
        def process(_: Any) -> Any:
            raise error

        return process

    monkeypatch.setitem(REGISTRY, "text", failing(Unavailable("Later.")))
    flow.upload(flow.new_key("a.txt"), b"text")
    with pytest.raises(BatchIncomplete):
        flow.consume()
    foreseen = told()
    monkeypatch.setitem(REGISTRY, "text", failing(ZeroDivisionError()))
    with telemetry.about(function="waybill-test-consume"), pytest.raises(BatchIncomplete):
        flow.consume()
    unforeseen = told()

    stage = flow.settings.stage
    assert values(foreseen, metrics.FAILED_ATTEMPTS, Stage=stage) == [1]
    assert [one for one in foreseen if one.name == "UnexpectedErrors"] == []
    assert values(unforeseen, metrics.FAILED_ATTEMPTS, Stage=stage) == [1]
    assert values(unforeseen, metrics.UNEXPECTED_ERRORS, Stage=stage, Function="waybill-test-consume") == [1]


@pytest.mark.parametrize(
    ("error", "level"),
    [(Unavailable("Later."), "warning"), (ZeroDivisionError(), "error")],
    ids=["ours", "not"],
)
def test_a_try_that_fails_is_told_at_the_level_that_it_deserves(
    flow: Flow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    level: str,
) -> None:
    def process(_: Any) -> Any:
        raise error

    flow.settings = replace(flow.settings, max_attempts=1)
    monkeypatch.setitem(REGISTRY, "text", process)
    flow.upload(flow.new_key("a.txt"), b"text")
    with suppress(BatchIncomplete):
        flow.consume()
    with suppress(BatchIncomplete):
        flow.consume([{"messageId": "m", "receiptHandle": "r", "body": "no message"}])

    told = {line["event"]: line["level"] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (told["job.attempt_failed"], told["message.bad"]) == (level, "error")


def test_the_sweep_tells_what_it_had_to_push_on_and_that_it_has_run(flow: Flow, told: Told) -> None:
    sweeper.sweep(flow.settings)
    quiet = told()
    for _ in range(3):
        flow.put(flow.new_key("lost.txt"), b"its event never came")
    sweeper.sweep(flow.settings)
    young = told()
    flow.clock.advance(flow.settings.sweep_after_seconds + 1)
    sweeper.sweep(flow.settings)

    stage = flow.settings.stage
    assert values(quiet, metrics.SWEEP_FINDS, Stage=stage) == [0]
    assert values(young, metrics.SWEEP_FINDS, Stage=stage) == [0]
    assert values(told(), metrics.SWEEP_FINDS, Stage=stage) == [3]


def test_every_word_of_the_sweep_s_is_one_that_is_known() -> None:
    """A new one has to be put among the finds, or beside them."""
    said = {
        node.value.value
        for node in ast.walk(ast.parse(inspect.getsource(sweeper)))
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant)
    }

    assert said | {"out_of_time"} == set(sweeper.STATES)
