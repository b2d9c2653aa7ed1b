"""When a delivery that failed is tried again."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalicelib.queues import MAX_WAIT
from chalicelib.settings import MAX_RETRY_TIME, MAX_RETRY_WAIT, RETRY_SECONDS
from chalicelib.webhooks.schedule import asked_by, next_wait
from chalicelib.webhooks.sender import Outcome

HOUR = 3600
DAY = 24 * HOUR
DEFAULT = tuple(map(int, RETRY_SECONDS.split(",")))
WAITS = (5, 300, 1800)


def at_least(low: float, _high: float) -> float:
    return low


def at_most(_low: float, high: float) -> float:
    return high


def ages(waits: tuple[int, ...], spread: Callable[[float, float], float]) -> list[int]:
    """How old a delivery is at each of its attempts, when all of them fail."""
    found = [0]
    while (wait := next_wait(waits, len(found), found[-1], spread=spread)) is not None:
        found.append(found[-1] + wait)
    return found


def test_the_attempts_are_those_of_the_specification_s_example_as_far_as_a_queue_can_wait() -> None:
    """Standard Webhooks 1.0.0, "Deliverability and reliability": the ages at its first seven attempts."""
    found = ages(DEFAULT, at_least)
    assert found[:7] == [0, 5, 305, 2105, 9305, 27305, 63305]
    assert 3 * DAY < found[-1] < 3.5 * DAY
    assert all(later - earlier <= 10 * HOUR for earlier, later in pairwise(found))
    assert len(ages(DEFAULT, at_most)) == len(found) == len(DEFAULT) + 1


@given(st.lists(st.integers(1, MAX_RETRY_WAIT), min_size=1, max_size=24))
def test_whatever_the_schedule_it_is_kept_and_ends_before_the_queue_drops_the_message(
    waits: list[int],
) -> None:
    assume(sum(waits) <= MAX_RETRY_TIME)
    assert len(ages(tuple(waits), at_least)) == len(waits) + 1
    for spread in (at_least, at_most):
        found = ages(tuple(waits), spread)
        assert found[-1] < 4 * DAY
        for wait, (earlier, later) in zip(waits, pairwise(found), strict=False):
            assert wait <= later - earlier <= math.ceil(wait * 1.15) <= MAX_WAIT


def test_what_failed_together_does_not_come_back_together() -> None:
    waits = {next_wait(WAITS, 2, 6.0) for _ in range(200)}
    assert len(waits) > 20
    assert None not in waits
    assert min(w for w in waits if w) >= 300
    assert max(w for w in waits if w) <= 300 * 1.15 + 1


def test_visits_that_came_to_nothing_use_no_attempt_up() -> None:
    """The queue also brings what a throttled or killed function had: it goes on until the time is over."""
    assert next_wait(WAITS, 40, 100.0, spread=at_least) == 1800
    assert next_wait(WAITS, 41, 1900.0, spread=at_least) == 205
    assert next_wait(WAITS, 42, 2105.0) is None


def test_a_slow_beginning_uses_no_attempt_up_either() -> None:
    assert next_wait(WAITS, 1, 5000.0, spread=at_least) == 5
    assert next_wait(WAITS, 3, 5300.0, spread=at_least) == 1800
    assert next_wait(WAITS, 4, 7200.0) is None


def test_however_often_a_receiver_asks_for_more_time_there_is_an_end() -> None:
    found = [0]
    while (wait := next_wait(DEFAULT, len(found), found[-1], asked=1e9)) is not None:
        found.append(found[-1] + wait)
    assert 3 * DAY < found[-1] < 4 * DAY


@pytest.mark.parametrize(
    ("asked", "wait"), [(0, 5), (3, 5), (60, 60), (7200, 7200), (1e9, MAX_WAIT), (float("inf"), MAX_WAIT)]
)
def test_a_receiver_can_ask_for_more_time_within_bounds(asked: float, wait: int) -> None:
    assert next_wait(WAITS, 1, 0.0, asked, spread=at_least) == wait
    assert (next_wait(WAITS, 1, 0.0, asked, spread=at_most) or 0) <= MAX_WAIT


NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("9" * 10, float("9" * 10)),
        ("9" * 400, float("inf")),
        (format_datetime(NOW.replace(hour=13), usegmt=True), 3600.0),
        ("Monday, 04-May-26 12:10:00 GMT", 600.0),
        ("Mon May  4 12:10:00 2026", 600.0),
        (format_datetime(NOW.replace(hour=11), usegmt=True), 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("٣", 0.0),
        ("Mon, 99 Foo 2026 99:99:99 GMT", 0.0),
        ("Mon, 04 May 99999999999 12:00:00 GMT", 0.0),
        (None, 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(status: int, said: str | None, seconds: float) -> None:
    outcome = Outcome(status=status, retry_after=said)
    assert asked_by(outcome, NOW.timestamp()) == seconds


@pytest.mark.parametrize("status", [200, 301, 400, 404, 500, 502, 504])
def test_other_answers_are_not_asked(status: int) -> None:
    assert asked_by(Outcome(status=status, retry_after="120"), 0.0) == 0.0


@given(st.text())
def test_nothing_that_a_receiver_says_breaks_it(said: str) -> None:
    assert asked_by(Outcome(status=503, retry_after=said), NOW.timestamp()) >= 0
