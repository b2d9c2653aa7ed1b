"""Time as it passes for who watches: from 0, forwards, whatever the time stamps of a file do."""

from dataclasses import dataclass

BACKWARDS = 1.0
"""Seconds that a stamp may lie before the end of the frame before it; beyond that the clock began anew."""

FORWARDS = 10.0
"""Seconds that a stamp may lie behind it, where clocks may begin anew; elsewhere a frame may last longer."""


@dataclass(slots=True)
class Clock:
    """Of one stream."""

    shift: float
    """From its stamps to our time."""
    end: float | None = None
    """Of its last frame, in our time."""


class Timeline:
    """One for all streams of a file: where the clock of one began anew, the others' will have as well."""

    def __init__(self, start: float, forwards: float) -> None:
        self._latest = -start
        self._forwards = forwards

    def clock(self) -> Clock:
        return Clock(self._latest)

    def place(self, clock: Clock, stamp: float | None, duration: float) -> float:
        """When a frame begins, in seconds; its stamp may be missing, or make no sense."""
        begins = self._begins(clock, stamp)
        clock.end = max(begins + duration, clock.end or 0.0)
        return begins

    def _begins(self, clock: Clock, stamp: float | None) -> float:
        expected = clock.end or 0.0
        if stamp is None:
            return expected
        for shift in (clock.shift, self._latest):
            if expected - BACKWARDS <= stamp + shift <= expected + self._forwards:
                clock.shift = shift
                return stamp + shift
        clock.shift = self._latest = expected - stamp
        return expected
