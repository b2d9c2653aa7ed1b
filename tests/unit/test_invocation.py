"""Whose line of the log each is: every handler's carry its invocation, and those of a job that job's."""

import json
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from chalice.app import Request, Response

from chalicelib import invocation, telemetry
from chalicelib.batch import BatchIncomplete
from chalicelib.settings import Settings
from tests.unit.conftest import ACCOUNT, make_resources
from tests.unit.emf import data
from tests.unit.fake.stage import Stage, running
from tests.unit.flow import Flow
from tests.unit.scenarios import SCENARIOS, Scenario

OF_JOBS = ("job.", "webhook.", "event.fanned_out")


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, env: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    more = request.node.callspec.params["scenario"].env
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    if more:
        settings = Settings.from_env({**env, **more})
    with running(settings, monkeypatch, make_resources, ACCOUNT) as stage:
        yield stage


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario.handler}: {scenario.name}")
def test_every_line_says_whose_it_is(
    stage: Stage, scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    act = scenario.prepare(stage)
    with suppress(BatchIncomplete):
        act(stage)
    stage.settle()

    out = capsys.readouterr().out.splitlines()

    for line in map(json.loads, out):
        assert (line["function"], line["requestId"]) == ("waybill-test", "invocation-1")
        if line["event"].startswith(OF_JOBS) and not line.get("eventId", "").startswith("test-"):
            assert len(line["jobId"]) == 36
            assert len(line["owner"]) == 12
        if "_aws" in line:
            assert line["Stage"] == stage.settings.stage
    data(out)


def test_records_that_are_worked_on_side_by_side_keep_their_lines_apart(
    aws: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = Flow(aws, monkeypatch)
    keys = [flow.new_key("a.txt", owner) for owner in ("alice", "bob", "carol", "dave")]
    for key in keys:
        flow.upload(key, b"text")
    capsys.readouterr()

    with telemetry.about(requestId="batch-1"):
        flow.consume()

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ended = {(line["jobId"], line["owner"]) for line in lines if line["event"] == "job.ended"}
    jobs = [flow.job(key) for key in keys]
    assert ended == {(job.job_id, telemetry.owner_hash(job.owner)) for job in jobs}
    assert {line["requestId"] for line in lines} == {"batch-1"}


class TestRequest:
    @pytest.fixture
    def request_of(self, settings: Settings) -> Any:
        """Chalice's, of a path with the name of a file in it."""
        del settings

        def make(**context: Any) -> Request:
            event = {
                "requestContext": {
                    "resourcePath": "/jobs/{job_id}/files/{name}",
                    "httpMethod": "GET",
                    "path": "/api/jobs/1/files/salary",
                    "requestId": "gateway-1",
                    **context,
                },
                "path": "/jobs/1/files/salary",
                "headers": {},
                "multiValueQueryStringParameters": {"token": ["hidden"]},
                "pathParameters": {"job_id": "1", "name": "salary"},
                "body": "hidden",
                "stageVariables": None,
                "isBase64Encoded": False,
            }
            return Request(event, SimpleNamespace(aws_request_id="lambda-1", function_name="waybill-dev"))

        return make

    def test_one_that_is_refused_leaves_a_line_with_its_pattern_status_and_time(
        self, request_of: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        invocation.told(request_of(), lambda _: Response("", status_code=404))

        line = json.loads(capsys.readouterr().out)
        assert line.pop("ms") >= 0
        assert line == {
            "level": "info",
            "event": "request",
            "function": "waybill-dev",
            "requestId": "lambda-1",
            "apiRequestId": "gateway-1",
            "method": "GET",
            "route": "/jobs/{job_id}/files/{name}",
            "status": 404,
        }

    @pytest.mark.parametrize("slow", [True, False])
    def test_one_that_goes_well_leaves_a_line_if_it_takes_long(
        self,
        request_of: Any,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        slow: bool,
    ) -> None:
        monkeypatch.setattr(invocation, "SLOW", 0.0 if slow else 3600.0)

        invocation.told(request_of(), lambda _: Response("", status_code=302))

        assert len(capsys.readouterr().out.splitlines()) == int(slow)


class TestWhatIsKnown:
    def test_it_is_forgotten_where_the_work_ends(self, capsys: pytest.CaptureFixture[str]) -> None:
        with telemetry.about(requestId="1"):
            with telemetry.about(jobId="a"):
                telemetry.note(owner="b")
                telemetry.log("inner")
            telemetry.log("outer")
        telemetry.note(owner="nobody's")
        telemetry.log("outside")

        inner, outer, outside = map(json.loads, capsys.readouterr().out.splitlines())
        assert (inner["requestId"], inner["jobId"], inner["owner"]) == ("1", "a", "b")
        assert outer.keys() == {"level", "event", "requestId"}
        assert outside.keys() == {"level", "event"}

    def test_a_line_s_own_field_comes_before_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        with telemetry.about(jobId="a"):
            telemetry.log("e", jobId="b")

        assert json.loads(capsys.readouterr().out)["jobId"] == "b"

    def test_it_is_forgotten_when_the_work_fails(self) -> None:
        with pytest.raises(ZeroDivisionError), telemetry.about(jobId="a"):
            raise ZeroDivisionError

        assert telemetry.noted() == {}
