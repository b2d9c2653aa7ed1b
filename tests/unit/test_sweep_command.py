"""`python -m ops sweep`: what it says of the line that a sweep leaves in the log."""

import pytest

from chalicelib import sweeper, telemetry
from chalicelib.settings import Settings
from ops import sweep
from tests.unit.flow import Flow


def test_it_says_what_the_sweep_counted_and_nothing_else_of_its_line(
    aws: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = Flow(aws, monkeypatch)
    for _ in range(3):
        flow.put(flow.new_key("lost.txt"), b"its event never came")
    flow.clock.advance(flow.settings.sweep_after_seconds + 1)

    with telemetry.about(function="waybill-test-sweep", requestId="invocation-1"):
        sweeper.sweep(flow.settings)

    log = f"START RequestId: invocation-1\n{capsys.readouterr().out}END RequestId: invocation-1\n"
    assert sweep.found(log) == "3 entered"


def test_a_sweep_that_saw_nothing_found_nothing(aws: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    sweeper.sweep(aws)

    assert sweep.found(capsys.readouterr().out) == "nothing"


def test_a_log_without_a_sweep_says_nothing() -> None:
    assert sweep.found("START RequestId: invocation-1\n") == ""
    assert sweep.found('cut off: {"event": "sweep.done", ') == ""
