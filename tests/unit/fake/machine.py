"""The state machine of infra/template.yaml, one step at a time: which step is next, and what it is told."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.unit.fake.stepfunctions import Execution

TRIES = 4
EXTRA = ("find_speech", "fetch_transcript")
"""Steps whose want ends no job."""

Invoke = Callable[[str, Mapping[str, Any]], Any]
Listen = Callable[[Mapping[str, Any]], str]
"""What Amazon Transcribe does with a request: the status in the end."""


def input_of(execution: Execution) -> dict[str, Any]:
    """What the next step is told."""
    told: dict[str, Any] = json.loads(execution.input)
    return told | execution.told


def step(execution: Execution, invoke: Invoke, listen: Listen, *, listens: bool) -> Execution:
    """The next step, tried again as often as its Retry says; the execution behind it."""
    at, told = execution.at, execution.told
    answer: Any = None
    for tries_left in reversed(range(TRIES)):
        try:
            answer = invoke(at, input_of(execution))
            break
        except Exception as error:
            if tries_left:
                continue
            if at == "fail":
                return replace(execution, status="FAILED")
            if at in EXTRA:
                return replace(execution, at="finish")
            return replace(execution, at="fail", told=told | {"failure": {"Error": type(error).__name__}})
    word = answer["next"]
    if at == "validate":
        return replace(execution, at="detect")
    if at == "detect" and word == "on":
        return replace(execution, at="process")
    if at == "process":
        return replace(execution, at="find_speech" if listens else "finish")
    if at == "find_speech" and word == "transcribe":
        heard = {"speech": answer, "transcript": {"status": listen(answer["request"])}}
        return replace(execution, at="fetch_transcript", told=told | heard)
    if at in EXTRA or (at, word) == ("detect", "finish"):
        return replace(execution, at="finish")
    return replace(execution, status="FAILED" if (at, word) == ("fail", "ended") else "SUCCEEDED")
