"""An AWS in memory, behind the clients that `chalicelib.clients` hands out.

moto answers through the whole of the SDK, which takes milliseconds a call. Where a test makes tens of
thousands of calls, this is what they reach instead: the clients are the SDK's own, with their paginators,
exceptions and transfer managers, but what would be sent is answered here. `test_fake.py` asks moto the same
and compares.

An operation that nobody has taught it is an error that says so: write a method of its name, in snake case,
into the service's module.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Literal

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from chalicelib import clients
from tests.unit.fake.dynamodb import DynamoDb
from tests.unit.fake.errors import Refused
from tests.unit.fake.leave import Leave, needed
from tests.unit.fake.messaging import Sns, Sqs
from tests.unit.fake.s3 import S3
from tests.unit.fake.stepfunctions import StepFunctions

When = Literal["before", "after"]
Hook = Callable[[When, str], None]
"""Is told of every call, right before it is made and right after."""


class Killed(BaseException):
    """The process dies. Not an `Exception`, so that no handler under test can live on."""


def _throttled() -> Exception:
    return Refused(400, "ThrottlingException")


def _server_error() -> Exception:
    return Refused(500, "InternalError")


def _timeout() -> Exception:
    return ReadTimeoutError(endpoint_url="https://aws.invalid")


def _reset() -> Exception:
    return ConnectionClosedError(endpoint_url="https://aws.invalid")


SPOILERS: dict[str, tuple[When, Callable[[], BaseException] | None]] = {
    "dies before": ("before", None),
    "dies behind": ("after", None),
    "throttled": ("before", _throttled),
    "server error": ("before", _server_error),
    "timeout": ("before", _timeout),
    "connection reset": ("before", _reset),
    "answer lost": ("after", _timeout),
    "reset behind": ("after", _reset),
}
"""What can become of a call: the process dies at it, or it fails for good as far as the SDK is concerned."""


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeAws:
    def __init__(self, region: str, account: str) -> None:
        self.clock = Clock()
        self.s3 = S3(self.clock)
        self.dynamodb = DynamoDb()
        self.sqs = Sqs(self.clock, account, region)
        self.sns = Sns(account, region)
        self.stepfunctions = StepFunctions()
        self.made: list[str] = []
        """Every call of the code under test, as `s3.GetObject`."""
        self.caller = ""
        """The function in whose name calls are made; empty where it is nobody's."""
        self.leave: dict[str, set[Leave]] = {}
        """Caller to whatever it needed leave for, since the beginning."""
        self.hook: Hook | None = None
        self.twice: int | None = None
        """The number of a call that the SDK sends twice, as it does when the first answer got lost."""
        self.dead = False
        self._spoil: tuple[int, str] | None = None

    # --- what was there, and what there was again

    def saved(self) -> tuple[Any, ...]:
        services = (self.s3, self.dynamodb, self.sqs, self.sns, self.stepfunctions)
        return (self.clock.now, *(service.copy() for service in services))

    def restore(self, saved: tuple[Any, ...]) -> None:
        self.clock.now, *services = saved
        self.s3, self.dynamodb, self.sqs, self.sns, self.stepfunctions = (each.copy() for each in services)
        self.made.clear()
        self.revive()

    # --- what goes wrong

    def spoil(self, number: int, how: str) -> None:
        """Let the call of this number, counted from now, come to grief."""
        if how == "sent twice":
            self.twice = len(self.made) + number
        else:
            self._spoil = (len(self.made) + number, how)

    @property
    def spoilt(self) -> bool:
        """Whether the call that was to be spoilt has come."""
        return self._spoil is None and self.twice is None

    def revive(self) -> None:
        self.dead, self._spoil, self.twice = False, None, None

    # --- calls

    def call(self, service: str, operation: str, request: Any) -> Any:
        if self.dead:
            raise Killed("dead already")
        number = len(self.made)
        name = f"{service}.{operation}"
        self.made.append(name)
        if self.caller:
            self.leave.setdefault(self.caller, set()).update(needed(service, operation, request, self.s3))
        if self.hook:
            self.hook("before", name)
        self._come_to_grief("before", number)
        act = self._operation(service, operation)
        if self.twice == number:
            self.twice = None
            self._first_of_two(act, request)
        try:
            return act(request)
        finally:
            if self.hook:
                self.hook("after", name)
            self._come_to_grief("after", number)

    @staticmethod
    def _first_of_two(act: Callable[[Any], Any], request: Any) -> None:
        body = request.get("Body")
        at = body.tell() if hasattr(body, "tell") else None
        try:
            act(request)
        except Refused:
            return
        finally:
            if at is not None:
                body.seek(at)

    def _come_to_grief(self, when: When, number: int) -> None:
        if self._spoil is None or self._spoil[0] != number:
            return
        moment, error = SPOILERS[self._spoil[1]]
        if moment != when:
            return
        self._spoil = None
        if error is None:
            self.dead = True
            raise Killed(f"{when} call {number}")
        raise error()

    def _operation(self, service: str, operation: str) -> Callable[[Any], Any]:
        method = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation).lower()
        found = getattr(getattr(self, service, None), method, None)
        if found is None:
            raise NotImplementedError(
                f"tests/unit/fake knows no {operation} of {service}: teach it as much as is made use of."
            )
        act: Callable[[Any], Any] = found
        return act


_clients: dict[str, Any] = {}
_making = threading.Lock()


def _bare_client(service: str, region: str) -> Any:
    """One of the SDK's own clients, made once for all tests."""
    with _making:
        if service not in _clients:
            session = boto3.session.Session("testing", "testing", region_name=region)
            _clients[service] = session.client(  # type: ignore[call-overload]
                service, config=Config(s3={"addressing_style": "virtual"})
            )
        return _clients[service]


@contextmanager
def installed(fake: FakeAws, region: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """Have every client of `chalicelib.clients` answered by the fake, whatever service it is for."""

    def client(service: str) -> Any:
        made = _bare_client(service, region)

        def make_api_call(operation: str, request: Any) -> Any:
            try:
                return _answered(fake.call(service, operation, request))
            except Refused as refused:
                raise _error(made, operation, refused) from None

        made._make_api_call = make_api_call
        return made

    monkeypatch.setattr(clients, "_client", client)
    try:
        yield fake
    finally:
        for made in _clients.values():
            vars(made).pop("_make_api_call", None)


def _answered(answer: Any) -> Any:
    return {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}


def _error(client: Any, operation: str, refused: Refused) -> Exception:
    answer = {
        "Error": {"Code": refused.code, "Message": refused.code},
        "ResponseMetadata": {"HTTPStatusCode": refused.status},
        **refused.more,
    }
    error: Exception = client.exceptions.from_code(refused.code)(answer, operation)
    return error


def clocked(clock: Clock) -> Any:
    """The `time` module of a process whose clock is this one; only its stop watch goes by the real time."""
    return SimpleNamespace(
        **{name: getattr(time, name) for name in dir(time) if not name.startswith("_")}
        | {"time": clock, "time_ns": lambda: int(clock() * 1e9), "sleep": clock.advance}
    )
