"""What a processor reports of its progress, on its way out of the child."""

import time
from collections.abc import Callable, Mapping
from typing import Any

PROGRESS = "progress"
"""The outcome that sets such a message apart from the answer, which comes behind all of them."""

PAUSE = 0.5
"""Seconds between two reports of a child."""


class Reports:
    """At most one every `PAUSE` seconds, and only what is new."""

    def __init__(self, send: Callable[[Mapping[str, Any]], None]) -> None:
        self._send = send
        self._told = 0.0
        self._next = time.monotonic()

    def __call__(self, fraction: float) -> None:
        """As `Source.report`."""
        if min(fraction, 1.0) > self._told and time.monotonic() >= self._next:
            self._told = min(fraction, 1.0)
            self._next = time.monotonic() + PAUSE
            self._send({"outcome": PROGRESS, "fraction": self._told})
