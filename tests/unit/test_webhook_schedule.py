"""When a delivery that failed is tried again."""

from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.queues import MAX_WAIT
from chalicelib.settings import MAX_RETRY_WAIT, RETRY_SECONDS
from chalicelib.webhooks import schedule
from chalicelib.webhooks.schedule import asked_by, next_wait
from chalicelib.webhooks.sender import Outcome

HOUR = 3600
DEFAULT = tuple(map(int, RETRY_SECONDS.split(",")))
WAITS = (5, 300, 1800)


def at_least(low: float, _high: float) -> float:
    return low


def at_most(_low: float, high: float) -> float:
    return high


def test_the_attempts_are_those_of_the_specification_s_example_as_far_as_a_queue_can_wait() -> None:
    """Standard Webhooks 1.0.0, "Deliverability and reliability": the ages at its first seven attempts."""
    ages, age = [0], 0
    while (wait := next_wait(DEFAULT, age, spread=at_least)) is not None:
        age += wait
        ages.append(age)
    assert ages[:7] == [0, 5, 305, 2105, 9305, 27305, 63305]
    assert 3 * 24 * HOUR < ages[-1] < 3.5 * 24 * HOUR
    assert all(later - earlier <= 10 * HOUR for earlier, later in pairwise(ages))


@given(st.lists(st.integers(1, MAX_RETRY_WAIT), min_size=1, max_size=24), st.floats(0, 400_000))
def test_a_wait_ends_when_the_next_attempt_is_due_and_not_much_later(waits: list[int], age: float) -> None:
    low, high = (next_wait(waits, age, spread=spread) for spread in (at_least, at_most))
    due = [sum(waits[: n + 1]) for n in range(len(waits))]
    left = [at for at in due if at > age]
    if not left:
        assert (low, high) == (None, None)
    else:
        assert low is not None
        assert high is not None
        assert left[0] - age <= low <= high
        assert high <= (left[0] - age) * (1 + schedule.JITTER) + 1
        assert 1 <= low <= high <= MAX_WAIT


def test_what_failed_together_does_not_come_back_together() -> None:
    waits = {next_wait(WAITS, 6.0) for _ in range(200)}
    assert len(waits) > 20
    assert None not in waits
    assert min(w for w in waits if w) >= 299
    assert max(w for w in waits if w) <= 299 * 1.15 + 1


def test_a_visit_that_came_early_uses_no_attempt_up() -> None:
    """The queue also brings what a throttled or killed function had: the schedule stays as it was."""
    assert next_wait(WAITS, 100.0, spread=at_least) == 205
    assert next_wait(WAITS, 200.0, spread=at_least) == 105


def test_attempts_that_were_missed_are_not_made_up_for() -> None:
    assert next_wait(WAITS, 400.0, spread=at_least) == 1705


@pytest.mark.parametrize("age", [2105.0, 2106.0, 1e9])
def test_they_are_used_up_after_the_last(age: float) -> None:
    assert next_wait(WAITS, age) is None


@pytest.mark.parametrize(
    ("asked", "wait"), [(0, 5), (3, 5), (60, 60), (7200, 7200), (1e9, MAX_WAIT), (float("inf"), MAX_WAIT)]
)
def test_a_receiver_can_ask_for_more_time_within_bounds(asked: float, wait: int) -> None:
    assert next_wait(WAITS, 0.0, asked, spread=at_least) == wait
    assert (next_wait(WAITS, 0.0, asked, spread=at_most) or 0) <= MAX_WAIT


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
