"""The `chalice` command on a stage, as a child process; what it says is told as it says it."""

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from ops.chalice_child import HTTP_VARIABLES
from ops.children import Child
from ops.deploy.refusal import Failed
from ops.deploy.target import Target
from ops.state import CHECKOUT

LOOK_SECONDS = 0.1


def run(
    command: str,
    target: Target,
    *,
    http_variables: Mapping[str, str] | None = None,
    say: Callable[[str], None],
) -> None:
    """
    Args:
        command: `deploy` or `delete`.
        http_variables: settings that the HTTP handler has beside those in the configuration file.

    Raises:
        Failed: it ended with an error.
    """
    env = {
        **os.environ,
        # By itself boto3 reads only the first, and the app's settings are read while it is deployed.
        "AWS_DEFAULT_REGION": target.region,
        "AWS_REGION": target.region,
        "PYTHONUNBUFFERED": "1",
        HTTP_VARIABLES: json.dumps(dict(http_variables or {})),
    }
    log = target.project / "build" / "log" / f"chalice-{command}-{target.stage}.log"
    with ExitStack() as started:
        arguments = ["--project-dir", str(target.project), command, "--stage", target.stage]
        child = Child("ops.chalice_child", arguments, cwd=CHECKOUT, log=log, env=env)
        started.callback(child.stop)
        told = 0
        while child.exit_code is None:
            time.sleep(LOOK_SECONDS)
            told = _tell(log, told, say)
        _tell(log, told, say)
        if child.exit_code:
            raise Failed(f"chalice {command} failed: {_reason(log)} (all it said: {log})")


def _tell(log: Path, told: int, say: Callable[[str], None]) -> int:
    """Whole lines that are new, up to Chalice's account or complaint at the end; returns how far that is."""
    text = log.read_text(errors="replace")
    end = text.rfind("\n") + 1
    for line in _said(text[:end])[len(_said(text[:told])) :]:
        say(line)
    return end


def _said(text: str) -> list[str]:
    for mark in ("Resources deployed:", "Traceback (most recent call last)", "ERROR - "):
        text = text.partition(mark)[0]
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _reason(log: Path) -> str:
    text = log.read_text(errors="replace")
    _, error, complaint = text.partition("ERROR - ")
    if error:
        return " ".join(complaint.split())
    lines = [line for line in text.splitlines() if line.strip()]
    return " ".join(lines[-1:]) or "it said nothing"
