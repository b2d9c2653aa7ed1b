"""What may be held at the same time."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from chalicelib.budget import Budget
from chalicelib.errors import NoTurn

SOON = 10  # seconds that a thread is waited for which is free to go
NEVER = 0.05  # seconds after which one that waits is taken to wait


class Holder:
    """A thread that holds an amount until it is told to let go."""

    def __init__(self, budget: Budget, amount: int) -> None:
        self.has_it = threading.Event()
        self._let_go = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(budget, amount), daemon=True)
        self._thread.start()

    def _run(self, budget: Budget, amount: int) -> None:
        with budget.hold(amount):
            self.has_it.set()
            self._let_go.wait()

    def let_go(self) -> None:
        self._let_go.set()
        self._thread.join(SOON)


@contextmanager
def holding(budget: Budget, *amounts: int) -> Iterator[list[Holder]]:
    """A holder for each amount, one after the other, none of which has to wait."""
    with ExitStack() as stack:
        holders = []
        for amount in amounts:
            holders.append(Holder(budget, amount))
            stack.callback(holders[-1].let_go)
            assert holders[-1].has_it.wait(SOON)
        yield holders


def test_what_fits_is_held_side_by_side() -> None:
    with holding(Budget(10), 4, 6) as holders:
        assert len(holders) == 2


def test_what_does_not_fit_waits_until_enough_was_let_go() -> None:
    budget = Budget(10)
    with holding(budget, 4, 4) as (first, second):
        third = Holder(budget, 7)
        assert not third.has_it.wait(NEVER)
        first.let_go()
        assert not third.has_it.wait(NEVER)
        second.let_go()
        assert third.has_it.wait(SOON)
        third.let_go()


def test_something_small_passes_by_what_waits() -> None:
    budget = Budget(10)
    with holding(budget, 8):
        waiting = Holder(budget, 5)
        assert not waiting.has_it.wait(NEVER)
        with holding(budget, 2):
            pass
    assert waiting.has_it.wait(SOON)
    waiting.let_go()


def test_what_is_larger_than_the_whole_budget_gets_through_alone() -> None:
    budget = Budget(10)
    with holding(budget, 1) as (small,):
        huge = Holder(budget, 99)
        assert not huge.has_it.wait(NEVER)
        small.let_go()
        assert huge.has_it.wait(SOON)
        next_one = Holder(budget, 1)
        assert not next_one.has_it.wait(NEVER)
        huge.let_go()
        assert next_one.has_it.wait(SOON)
        next_one.let_go()


def test_who_does_not_get_it_in_time_is_told_and_holds_nothing() -> None:
    budget = Budget(10)
    with holding(budget, 8):
        with pytest.raises(NoTurn), budget.hold(5, begin_by=time.monotonic() + NEVER):
            pass
        with holding(budget, 2):
            pass
    with budget.hold(10, begin_by=time.monotonic()):
        pass


def test_an_error_lets_go_as_well() -> None:
    budget = Budget(10)
    with pytest.raises(ValueError, match="broken"), budget.hold(10):
        raise ValueError("broken")
    with holding(budget, 10) as holders:
        assert len(holders) == 1
