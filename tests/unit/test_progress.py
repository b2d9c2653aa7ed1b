"""How often the ledger hears of progress, and what the worker hears back."""

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.errors import LeaseLost
from chalicelib.ledger import Ledger
from chalicelib.progress import PER_CENT, SECONDS, Progress
from chalicelib.settings import Settings
from tests.unit.flow import Flow


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


def claimed(flow: Flow) -> tuple[str, Progress]:
    key = flow.new_key("film.mp4")
    flow.upload(key, b"film")
    job = flow.job(key)
    _, held = flow.ledger.claim(job.owner, job.job_id, job.etag)
    assert held is not None
    return key, Progress(flow._open_ledger(flow.settings), held, clock=flow.clock)


def test_a_stage_is_told_with_its_share_of_the_whole(flow: Flow) -> None:
    key, progress = claimed(flow)
    progress.begin("processing", 15, 90)
    flow.clock.advance(SECONDS)
    progress(0.5)

    assert (flow.job(key).stage, flow.job(key).progress) == ("processing", 52)


def test_the_ledger_hears_of_it_every_two_seconds_or_ten_per_cent(flow: Flow) -> None:
    key, progress = claimed(flow)
    progress.begin("processing", 0, 100)
    before = flow.calls.count("UpdateItem")

    for done in range(100):
        progress(done / 100)
    assert flow.calls.count("UpdateItem") - before == 100 // PER_CENT - 1

    flow.clock.advance(SECONDS)
    progress(0.99)
    assert flow.job(key).progress == 99


def test_no_word_of_a_decoder_leads_out_of_the_stage(flow: Flow) -> None:
    key, progress = claimed(flow)
    progress.begin("processing", 15, 90)
    for told in (-1.0, 2.0):
        flow.clock.advance(SECONDS)
        progress(told)

    assert flow.job(key).progress == 90


def test_a_worker_hears_that_the_job_is_not_its_own_any_more(flow: Flow) -> None:
    key, progress = claimed(flow)
    progress.begin("processing", 0, 100)
    flow.upload(key, b"newer")
    progress(0.01)
    flow.clock.advance(SECONDS)

    with pytest.raises(LeaseLost):
        progress(0.02)
    assert (flow.job(key).stage, flow.job(key).progress) == ("queued", 0)


def test_a_ledger_that_cannot_be_asked_for_a_moment_costs_no_work(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, progress = claimed(flow)
    progress.begin("processing", 0, 100)
    report = Ledger.report

    def unreachable(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb.invalid")

    monkeypatch.setattr(Ledger, "report", unreachable)
    progress(0.5)
    progress.begin("storing", 90, 99)

    monkeypatch.setattr(Ledger, "report", report)
    flow.clock.advance(SECONDS)
    progress(0.5)
    assert (flow.job(key).stage, flow.job(key).progress) == ("storing", 94)
