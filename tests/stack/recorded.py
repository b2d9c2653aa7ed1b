"""The calls that functions make in the whole-stack tests, as the embedded AWS has recorded them.

Each process notes what the functions of its stacks have asked IAM for, and the answer. At the end of a run of
all of tests/stack, `tests/stack/proof.py` holds it against the policies.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ops.embedded_aws.calls import NAME
from ops.policies import GRANTS, HTTP_HANDLER, Place, Resources
from ops.stack import HTTP_USER, LocalStack


class Call(NamedTuple):
    function: str
    action: str
    place: str
    """Name of a `Place`; the resource's ARN where it is none of them."""
    allowed: bool


Calls = set[Call]


@contextmanager
def recorded_until_stopped() -> Iterator[Calls]:
    """Have every stack record its calls; what is yielded holds those of all that have stopped."""
    calls: Calls = set()
    begin, stop = LocalStack.__init__, LocalStack.stop

    def begin_recording(stack: LocalStack, *, options: Any = (), **more: Any) -> None:
        file = more["state_dir"].resolve() / NAME
        begin(stack, options=(*options, "--record-calls", str(file)), **more)

    def collect_and_stop(stack: LocalStack) -> None:
        try:
            if stack.outputs:
                calls.update(read(stack.state_dir / NAME, Resources.from_outputs("local", stack.outputs)))
        finally:
            stop(stack)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStack, "__init__", begin_recording)
        patch.setattr(LocalStack, "stop", collect_and_stop)
        yield calls


def read(file: Path, resources: Resources) -> Iterator[Call]:
    for line in file.read_text(encoding="utf-8").splitlines():
        call = json.loads(line)
        function = function_of(call["caller"], resources)
        if function in GRANTS:
            yield Call(function, call["action"], place_of(call["resource"], resources), call["allowed"])


def function_of(caller: str, resources: Resources) -> str:
    """Whose identity that is, as it is called in app.py; empty for anybody else's."""
    kind, *names = caller.split(":")[-1].split("/")
    if kind == "user" and names == [HTTP_USER]:  # who serves HTTP has a key for the very same policy
        return HTTP_HANDLER
    stem = f"{resources.app}-{resources.stage}-"
    return names[0].removeprefix(stem) if kind == "assumed-role" and names[0].startswith(stem) else ""


@cache
def place_of(arn: str, resources: Resources) -> str:
    return next((place.name for place in Place if fnmatchcase(arn, place.arn(resources))), arn)
