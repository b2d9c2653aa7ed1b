"""Logs: one JSON object a line, on standard output, whatever is in it."""

import ast
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from chalicelib import clients, storage
from chalicelib.errors import Rejected
from chalicelib.settings import Settings
from chalicelib.telemetry import cause, log, owner_hash
from tests.unit.flow import upload_at

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Any:
    def read() -> list[Any]:
        captured = capsys.readouterr()
        assert captured.err == ""
        return [json.loads(line) for line in captured.out.splitlines()]

    return read


def test_a_line_holds_the_level_the_event_and_its_fields(lines: Any) -> None:
    log("job.ended", jobId="1", size=5, status="COMPLETED")

    assert lines() == [
        {"level": "info", "event": "job.ended", "jobId": "1", "size": 5, "status": "COMPLETED"}
    ]


def test_what_is_none_is_left_out_and_what_is_merely_empty_is_not(lines: Any) -> None:
    log("e", absent=None, zero=0, empty="", no=False)

    assert lines() == [{"level": "info", "event": "e", "zero": 0, "empty": "", "no": False}]


def test_the_level_can_be_raised(lines: Any) -> None:
    log("e", level=logging.ERROR)
    log("e", level=logging.WARNING)

    assert [line["level"] for line in lines()] == ["error", "warning"]


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "\u2028", "\u202egnp.exe", "\ud800", "\x1b[31mred", "é 東京 🎉", '"}, {"a": "', "\x00"],
)
def test_no_text_breaks_a_line_or_the_terminal(lines: Any, text: str) -> None:
    log("e", text=text)

    assert lines() == [{"level": "info", "event": "e", "text": text}]


def test_all_that_goes_out_is_printable_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    log("e", text="\x1b\u202e\ud800é\u2028")

    line = capsys.readouterr().out.removesuffix("\n")
    assert line.isascii()
    assert line.isprintable()


def test_a_value_that_is_no_json_is_written_as_text(lines: Any) -> None:
    log("e", when=datetime(2026, 5, 4, tzinfo=UTC), error=ValueError("x"))

    assert lines() == [{"level": "info", "event": "e", "when": "2026-05-04 00:00:00+00:00", "error": "x"}]


def test_chalice_s_own_logger_does_not_write_the_line_again(lines: Any) -> None:
    """Chalice gives the logger of the app's name a handler, and Lambda gives one to the root."""
    handlers = [logging.StreamHandler(), logging.StreamHandler()]
    loggers = [logging.getLogger("waybill"), logging.getLogger()]
    for logger, handler in zip(loggers, handlers, strict=True):
        logger.addHandler(handler)
    try:
        log("e", level=logging.ERROR)
    finally:
        for logger, handler in zip(loggers, handlers, strict=True):
            logger.removeHandler(handler)

    assert len(lines()) == 1


def test_lines_of_threads_do_not_mix(lines: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: log("e", n=n, text="x" * 5_000), range(200)))

    assert sorted(line["n"] for line in lines()) == list(range(200))


def test_whatever_fails_is_told_above_the_level_of_what_goes_well() -> None:
    """An operator who looks for errors (docs/runbook.md) finds it, by `level` alone."""
    told = {
        (str(event.value), any(keyword.arg == "level" for keyword in call.keywords))
        for path in [*(ROOT / "chalicelib").rglob("*.py"), *(ROOT / "worker").glob("*.py")]
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", getattr(call.func, "attr", "")) == "log"
        for event in call.args[:1]
        if isinstance(event, ast.Constant) and isinstance(event.value, str)
    }
    failures = {
        event
        for event, _ in told
        if re.search(r"failed$|exception$|bad$|unlogged$|execution_lost$|record$", event)
    }

    assert len(failures) > 10
    assert failures & {event for event, levelled in told if not levelled} == set()


def test_owners_can_be_told_apart_but_not_known() -> None:
    assert owner_hash("alice@example.com") == owner_hash("alice@example.com")
    assert owner_hash("alice@example.com") != owner_hash("bob@example.com")
    assert "alice" not in owner_hash("alice@example.com")
    assert len(owner_hash("_")) == 12


KEY = "uploads/alice/01936b2e-7c1a-7d3e-8f00-0123456789ab/salary of bob.txt"


class TestCause:
    def test_it_says_what_and_where_and_nothing_of_the_file(self, aws: Settings) -> None:
        def failure() -> Exception:
            with pytest.raises((ClientError, EndpointConnectionError)) as caught:
                storage.is_current(aws, upload_at(KEY))
            return caught.value

        def raising(error: Exception) -> Any:
            def call(**_: Any) -> NoReturn:
                raise error

            return call

        with pytest.MonkeyPatch.context() as patch:
            endpoint = EndpointConnectionError(endpoint_url="https://s3/uploads/alice/a/salary")
            patch.setattr(clients.s3(), "head_object", raising(endpoint))
            assert re.fullmatch(r"EndpointConnectionError at storage\.py:\d+", cause(failure()))
            said: Any = {
                "Error": {"Code": "SlowDown", "Message": KEY},
                "ResponseMetadata": {"HTTPStatusCode": 503},
            }
            slow = ClientError(said, "HeadObject")
            patch.setattr(clients.s3(), "head_object", raising(slow))
            assert re.fullmatch(r"ClientError SlowDown of HeadObject at storage\.py:\d+", cause(failure()))

    def test_an_error_of_our_own_has_its_code(self) -> None:
        assert cause(Rejected("salary of bob", code="too_large")) == "Rejected too_large"

    def test_an_error_of_somebody_elses_has_its_kind(self) -> None:
        assert cause(ValueError("salary of bob")) == "ValueError"
