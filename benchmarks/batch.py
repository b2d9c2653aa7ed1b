"""A batch of ten light files: how long it takes where AWS is far away, and how often AWS is called."""

import json
import time
from typing import Any

from benchmarks import cloud
from benchmarks.bench import Bench
from benchmarks.cloud import Cloud
from benchmarks.comparison import WALL, Comparison, Rounds, by_turns
from chalicelib import notifications
from chalicelib.jsontext import to_json
from chalicelib.ledger import open_ledger
from chalicelib.webhooks import fan_out

FILES = 10
FAR_AWAY = 0.015
"""Seconds on every request, before it is sent."""
ROUNDS = 9

OF_OUTPUTS = "PutObject"


def _latency(bench: Bench) -> Rounds:
    with cloud.opened(bench) as there:

        def messages() -> list[dict[str, Any]]:
            return there.enter([there.upload() for _ in range(FILES)])

        def side_by_side() -> float:
            batch = messages()
            with cloud.slowed(FAR_AWAY):
                begun = time.perf_counter()
                there.consume(batch)
                return (time.perf_counter() - begun) * 1000

        def one_after_another() -> float:
            batch = messages()
            with cloud.slowed(FAR_AWAY):
                begun = time.perf_counter()
                for message in batch:
                    there.consume([message])
                return (time.perf_counter() - begun) * 1000

        return by_turns(bench, side_by_side, one_after_another, rounds=ROUNDS)


def _calls(bench: Bench) -> Rounds:
    with cloud.opened(bench) as there:
        records = [there.upload() for _ in range(FILES)]
        with cloud.counted() as calls:
            batch = there.enter(records)
            there.consume(batch)
        announced = [_announced(there, json.loads(message["body"])) for message in batch]
        with cloud.counted() as more_calls:
            for invocation in announced:
                fan_out.notify(there.settings, invocation)
        calls.update(more_calls)
        outputs = calls.pop(OF_OUTPUTS, 0)
    each = sum(calls.values()) / FILES
    said = ", ".join(f"{name} {count / FILES:g}" for name, count in sorted(calls.items()))
    return Rounds([each], [1.0], f"{said}; beside {outputs / FILES:g} PutObject of outputs")


def _announced(there: Cloud, message: dict[str, str]) -> dict[str, Any]:
    """The invocation of `notify` for a job that has ended, as Lambda makes it of SNS's message."""
    job = open_ledger(there.settings).get(message["owner"], message["jobId"])
    return {"Records": [{"Sns": {"Message": to_json(notifications.event(there.settings, job))}}]}


COMPARISONS = (
    Comparison(
        "batch_latency",
        ours="a batch of 10 light files, 15 ms on every AWS call",
        theirs="the same files, one after another",
        unit=WALL,
        compare=_latency,
        goal="≤ 1/6",
    ),
    Comparison(
        "calls_per_file",
        ours="AWS calls for a light file, from intake to notification",
        theirs="the file",
        unit="calls",
        compare=_calls,
        goal="≤ 9",
    ),
)
