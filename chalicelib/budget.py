"""A bound on what may be held at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """So many bytes, shared by threads: each waits until what it wants to hold fits.

    Something larger than the whole budget gets through alone.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + amount <= self._total)
            self._held += amount
        try:
            yield
        finally:
            with self._changed:
                self._held -= amount
                self._changed.notify_all()
