"""benchmarks/burst.py, where the answer can be worked out by hand."""

from dataclasses import replace

import pytest

from benchmarks.burst import STAGES, Setting, simulate
from chalicelib.settings import Settings

PLENTY = 1e9

CONSUMER_ALONE = Setting(
    files=1000,
    arrival_seconds=0,
    intake_seconds=0,
    notify_seconds=0,
    batch_size=10,
    batch_seconds=1,
    concurrency=PLENTY,
    pollers=5,
    pollers_per_minute=0,
    max_concurrency=PLENTY,
    write_units=PLENTY,
    s3_writes=PLENTY,
)
"""1,000 files lie there, and 5 batches of 10 a second are worked on. Each stage hands on at the next step."""

HAND_OVER = 2
"""Steps from intake to consume and from there to notify."""


def test_a_steady_consumer_takes_files_over_rate() -> None:
    burst = simulate(CONSUMER_ALONE)

    assert burst.seconds == 1000 / 50 + HAND_OVER
    assert burst.done[-1] == pytest.approx(1000)
    assert burst.waiting["consume"][:3] == [1000, 950, 900]


def test_who_comes_in_the_middle_waits_for_half_of_it() -> None:
    burst = simulate(CONSUMER_ALONE)

    assert burst.latency(1) - burst.latency(0.5) == pytest.approx(10 - 0.5, abs=0.51)


def test_pollers_are_added_by_the_minute_until_there_are_enough() -> None:
    """5, then 10, 15, 20 and 20 batches: 50 + 100 + 150 + 200 + 200 files in the first five seconds."""
    ramped = replace(CONSUMER_ALONE, pollers_per_minute=300, max_concurrency=20)

    waiting = simulate(ramped).waiting["consume"]

    # The mapping begins to add once something has waited for a step.
    assert [1000 - left for left in waiting[1:6]] == [100, 250, 450, 650, 850]


def test_functions_share_the_account_s_concurrency() -> None:
    """0.1 s for a file in each of three stages, and ten at once: 10 / 0.3 files a second in the end."""
    shared = replace(
        CONSUMER_ALONE, intake_seconds=0.1, notify_seconds=0.1, concurrency=10, pollers=PLENTY, files=10_000
    )

    assert simulate(shared).seconds == pytest.approx(10_000 * 0.3 / 10, rel=0.02)


def test_the_ledger_bounds_what_goes_through() -> None:
    """Three writes a file, and 30 a second."""
    assert simulate(replace(CONSUMER_ALONE, write_units=30, pollers=PLENTY)).seconds == pytest.approx(
        1000 * 3 / 30, rel=0.05
    )


def test_what_s3_takes_of_puts_is_gone_for_deletions() -> None:
    """60 writes a second under the prefix of open work, 50 of which are PUTs while 1,000 files come."""
    burst = simulate(replace(CONSUMER_ALONE, arrival_seconds=20, s3_writes=60, pollers=PLENTY))

    assert burst.done[20] == pytest.approx(10 * 20, abs=50)
    assert burst.seconds == pytest.approx(20 + 800 / 60, abs=HAND_OVER + 1)


def test_a_stage_is_simulated_as_it_is_deployed(settings: Settings) -> None:
    assert Setting().max_concurrency == settings.consume_concurrency


def test_files_that_come_slower_than_they_are_worked_on_do_not_wait() -> None:
    burst = simulate(replace(CONSUMER_ALONE, arrival_seconds=100))

    assert max(burst.backlog) <= 10 * len(STAGES)
    assert burst.percentile(0.99) <= HAND_OVER + 1


def test_no_file_is_lost_or_made() -> None:
    burst = simulate(Setting(files=12_345, arrival_seconds=7, concurrency=3))

    for waits, came, done in zip(burst.backlog, burst.arrived, burst.done, strict=True):
        assert waits + done == pytest.approx(came)
