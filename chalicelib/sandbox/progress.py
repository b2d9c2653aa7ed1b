"""How far a child says that it has come: believed no more than anything else it says."""

from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.sandbox.failures import lie

MOST_A_SECOND = 4
"""Reports, by the whole time that a file may take: twice what a child sends that is as we made it."""

MOST_AT_LEAST = 100


class Listener:
    """What it hears is between 0 and 1 and grows; so many reports, and no more."""

    def __init__(self, on_progress: Callable[[float], None] | None, wall_seconds: float) -> None:
        self._on_progress = on_progress
        self._most = MOST_AT_LEAST + MOST_A_SECOND * wall_seconds
        self._heard = 0.0
        self._reports = 0

    def hear(self, message: Mapping[str, Any]) -> None:
        """
        Raises:
            DecodeFailed: a lie. Whatever `on_progress` raises goes through.
        """
        fraction = message.get("fraction")
        self._reports += 1
        if not isinstance(fraction, int | float) or isinstance(fraction, bool) or self._reports > self._most:
            raise lie("progress")
        fraction = float(max(0, min(fraction, 1)))  # also of an integer with no end
        if fraction > self._heard:
            self._heard = fraction
            if self._on_progress is not None:
                self._on_progress(fraction)
