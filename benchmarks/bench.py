"""What comparisons share while they run: a place for files, somebody to tell, and what is costly to start."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Bench:
    """`say` is told which part of a comparison is done, from 0 to 1."""

    def __init__(
        self, scratch: Path, opened: ExitStack, say: Callable[[float], None] = lambda _: None
    ) -> None:
        self.scratch = scratch
        self.say = say
        self._opened = opened
        self._shared: dict[str, object] = {}

    def progress(self, done: int, of: int) -> None:
        self.say(done / of)

    def shared(self, name: str, start: Callable[[], AbstractContextManager[T]]) -> T:
        """What several comparisons use, started by the first of them and stopped when all are done."""
        if name not in self._shared:
            self._shared[name] = self._opened.enter_context(start())
        found: T = self._shared[name]  # type: ignore[assignment]
        return found


@contextmanager
def opened() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="waybill-bench-") as scratch, ExitStack() as stack:
        yield Bench(Path(scratch), stack)
