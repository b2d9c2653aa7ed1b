"""A bound on what may be held at the same time."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.errors import NoTurn


class Budget:
    """So many bytes, shared by threads: each waits until what it wants to hold fits.

    Something larger than the whole budget gets through alone.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int, begin_by: float = math.inf) -> Iterator[None]:
        """
        Raises:
            NoTurn: it did not fit until `begin_by`, a moment of `time.monotonic()`.
        """
        patience = None if begin_by == math.inf else begin_by - time.monotonic()
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(amount), patience):
                raise NoTurn("Others held all there is.")
            self._held += amount
        try:
            yield
        finally:
            with self._changed:
                self._held -= amount
                self._changed.notify_all()

    def _fits(self, amount: int) -> bool:
        return self._held == 0 or self._held + amount <= self._total
