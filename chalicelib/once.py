"""What a process makes once, of each kind that its arguments name: by the first thread
that asks for it, while the others wait.

`functools.lru_cache` alone lets each thread that comes meanwhile make one of its own.
"""

import threading
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Generic, TypeVar

T = TypeVar("T")


class once(Generic[T]):
    """A decorator, in `lru_cache`'s place."""

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = lru_cache(maxsize=None)(make)
        self._making = threading.Lock()

    def __call__(self, *arguments: Hashable) -> T:
        with self._making:
            return self._make(*arguments)

    def cache_clear(self) -> None:
        self._make.cache_clear()
