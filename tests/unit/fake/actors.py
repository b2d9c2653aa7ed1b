"""Handlers that run side by side and are led from one AWS call to the next, as a test likes it."""

import threading
from collections.abc import Callable
from typing import Any

from tests.unit.fake.aws import FakeAws, Killed, When
from tests.unit.fake.errors import Refused

PATIENCE = 20.0
"""Seconds, until a handler that comes to no call and to no end fails the test."""


class Actor:
    """One invocation: it stands right before an AWS call, or it has come to its end."""

    def __init__(
        self, name: str, act: Callable[[], object], when_done: Callable[[], object] = lambda: None
    ) -> None:
        self.name = name
        self.done = False
        self.error: BaseException | None = None
        self.dies = False
        self.fails = False
        """Its next call is answered with a 500."""
        self._act = act
        self._when_done = when_done
        self._go = threading.Semaphore(0)
        self._stands = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def step(self) -> None:
        """Let it make the call before which it stands, and go on to the next one."""
        self._go.release()
        assert self._stands.acquire(timeout=PATIENCE), f"{self.name} stands nowhere"

    def kill(self) -> None:
        self.dies = True
        while not self.done:
            self.step()

    def stand(self) -> None:
        self._stands.release()
        self._go.acquire()
        if self.dies:
            raise Killed(self.name)
        if self.fails:
            self.fails = False
            raise Refused(500, "InternalError")

    @property
    def here(self) -> bool:
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._act()
        except BaseException as error:
            self.error = error
        self.done = True
        self._when_done()
        self._stands.release()


class Actors:
    """All invocations that have not ended; what is called from elsewhere goes straight through."""

    def __init__(self, aws: FakeAws) -> None:
        self.at_work: list[Actor] = []
        aws.hook = self._called

    def start(
        self, name: str, act: Callable[[], object], when_done: Callable[[], object] = lambda: None
    ) -> None:
        """It stands before its first call."""
        actor = Actor(name, act, when_done)
        self.at_work.append(actor)
        self.step(actor)

    def step(self, actor: Actor) -> None:
        actor.step()
        self._clear()

    def kill(self, actor: Actor) -> None:
        actor.kill()
        self._clear()

    def finish(self) -> None:
        while self.at_work:
            self.step(self.at_work[0])

    def _clear(self) -> None:
        self.at_work[:] = [actor for actor in self.at_work if not actor.done]

    def _called(self, when: When, _name: Any) -> None:
        if when == "before":
            for actor in self.at_work:
                if actor.here:
                    actor.stand()
