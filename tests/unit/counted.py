"""What work costs in calls: each kind of work is done once on the AWS in memory, and its calls are counted.

    .venv/bin/python -m tests.unit.counted     # writes benchmarks/calls.json

The count is of calls as the SDK makes them, from the event to the last function that it sets off. What AWS
does by itself is not among them: the client's own PUT, and the mapping that takes messages off a queue.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from chalicelib import settings as settings_module
from chalicelib.progress import Progress
from chalicelib.settings import Settings
from tests.unit.conftest import ACCOUNT, make_env, make_resources
from tests.unit.fake import stage as stages
from tests.unit.fake.stage import Stage
from tests.unit.scenarios import HEAVY, ended, hooked, job_of, new_key, put

FILE = Path(__file__).parents[2] / "benchmarks" / "calls.json"

EVENTS = 10

Item = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Work:
    """Something that is asked of the stage; what is arranged before is not counted."""

    do: Callable[[Stage, Any], object]
    arrange: Callable[[Stage], Any] = lambda _: None
    env: tuple[tuple[str, str], ...] = ()


def through(name: str, body: bytes) -> Callable[[Stage, Any], None]:
    """A file's way, from S3's event until everybody has been told."""

    def send(stage: Stage, _: Any) -> None:
        put(stage, new_key(stage, name), body)
        stage.aws.made.clear()  # the PUT is the client's
        stage.bring_objects()
        while stage.bring_messages():
            pass
        stage.run_executions()
        stage.bring_announcements()
        while stage.bring_deliveries():
            pass

    return send


def ask(method: str, path: str, stage: Stage, job_id: str | None) -> None:
    assert stage.http(method, path.format(job_id)).status == 200


def one_job(stage: Stage) -> str:
    return job_of(ended(stage))


WORK: Mapping[str, Work] = {
    "light": Work(through("scan.bin", bytes(range(256)))),
    "text": Work(through("notes.txt", b"one\r\ntwo\r\n")),
    "data": Work(through("orders.json", json.dumps([{"id": str(n)} for n in range(EVENTS)]).encode())),
    "heavy": Work(through("much.bin", bytes(range(256))), env=tuple(HEAVY.items())),
    "webhook": Work(through("scan.bin", bytes(range(256))), arrange=hooked),
    "presign": Work(partial(ask, "POST", "/presign")),
    "job": Work(partial(ask, "GET", "/jobs/{}"), arrange=one_job),
    "jobs": Work(partial(ask, "GET", "/jobs"), arrange=one_job),
}
"""`light` has no outputs, `text` one, `data` one event for each of EVENTS elements; `webhook` is `light` and
one delivery; `heavy` is larger than LIGHT_LIMIT_BYTES, and its worker is the function."""


@dataclass(frozen=True)
class Counted:
    calls: Counter[str]
    invocations: Counter[str]
    """Of functions, by name; the HTTP handler as `api_handler`."""
    write_units: int
    """Of DynamoDB, also of the index (DynamoDB Developer Guide, "Read and write operations")."""

    def as_json(self) -> dict[str, Any]:
        return {
            "total": self.calls.total(),
            "calls": dict(sorted(self.calls.items())),
            "invocations": dict(sorted(self.invocations.items())),
            "writeUnits": self.write_units,
        }


@contextmanager
def stage_for(work: Work) -> Iterator[Stage]:
    with pytest.MonkeyPatch.context() as patch:
        env = make_env(patch) | dict(work.env)
        for name, value in work.env:
            patch.setenv(name, value)
        settings_module.get.cache_clear()
        # Heavy work tells of its progress every so many seconds: here it takes none, on a busy machine too.
        patch.setattr(Progress.__init__, "__defaults__", (lambda: 1.0e9,))
        try:
            with stages.running(Settings.from_env(env), patch, make_resources, ACCOUNT) as stage:
                yield stage
        finally:
            settings_module.get.cache_clear()


def counted(name: str) -> Counted:
    """Do one kind of WORK and count."""
    work = WORK[name]
    with stage_for(work) as stage:
        arranged = work.arrange(stage)
        stage.aws.made.clear()
        invocations: Counter[str] = Counter()
        units: Counter[str] = Counter()
        invoke, gateway = stage.invoke, stage.gateway

        def count_invocation(handler: str, event: Any) -> Any:
            invocations[handler] += 1
            return invoke(handler, event)

        def count_request(event: Any) -> Any:
            invocations["api_handler"] += 1
            return gateway(event)

        def count_write(table: str, before: Item | None, after: Item | None) -> None:
            units[table] += ceil(max(item_size(before), item_size(after)) / 1024)
            if table == stage.settings.jobs_table:
                units["index"] += index_writes(before, after)

        vars(stage)["invoke"], vars(stage)["gateway"] = count_invocation, count_request
        stage.aws.dynamodb.watch = count_write
        work.do(stage, arranged)
        return Counted(Counter(stage.aws.made), invocations, units.total())


def item_size(item: Item | None) -> int:
    """Bytes: names and values (DynamoDB Developer Guide, "Item sizes and formats")."""
    return sum(len(name.encode()) + _value_size(value) for name, value in (item or {}).items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, held),) = value.items()
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _value_size(inner) for name, inner in held.items())
    if kind == "L":
        return 3 + sum(1 + _value_size(inner) for inner in held)
    if kind == "N":
        return len(held.strip("-.0")) // 2 + 2
    return 1 if kind in ("BOOL", "NULL") else len(held.encode() if isinstance(held, str) else held)


def index_writes(before: Item | None, after: Item | None) -> int:
    """Into `open-jobs`, which holds what has `openSince` (DynamoDB Developer Guide, "Write capacity")."""
    was, is_now = ([(item or {}).get(name) for name in ("openSince", "size")] for item in (before, after))
    if was == is_now or not (was[0] or is_now[0]):
        return 0
    return 2 if was[0] and is_now[0] and was[0] != is_now[0] else 1


def all_counted() -> dict[str, Any]:
    return {name: counted(name).as_json() for name in WORK}


if __name__ == "__main__":
    FILE.write_text(json.dumps(all_counted(), indent=2) + "\n", encoding="utf-8")
