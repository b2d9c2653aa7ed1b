"""Signals while a child is being started."""

import signal
from collections.abc import Callable, Iterator

import pytest

from ops.children import signals_held

HUP, TERM = signal.SIGHUP, signal.SIGTERM


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def stopped_by_signals() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Stop

    before = {number: signal.signal(number, stop) for number in (HUP, TERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("comes", [[HUP], [TERM], [TERM, HUP, TERM]])
def test_what_is_being_done_is_done_before_a_signal_is_heard(comes: list[signal.Signals]) -> None:
    done: list[str] = []

    def begin() -> None:
        with signals_held(HUP, TERM):
            for number in comes:
                signal.raise_signal(number)
            done.append("all of it")

    with pytest.raises(Stop):
        begin()
    assert done == ["all of it"]


def test_without_a_signal_all_is_as_before() -> None:
    handler: Callable[..., object] | int | None = signal.getsignal(TERM)

    with signals_held(HUP, TERM):
        assert signal.getsignal(TERM) is not handler

    assert signal.getsignal(TERM) is handler
    with pytest.raises(Stop):
        signal.raise_signal(TERM)


def test_a_failure_inside_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="no such program"), signals_held(TERM):
        raise ValueError("no such program")
