"""`python -m ops sweep`: have the sweep look now, instead of at its next time, and say what it found."""

import argparse
import base64
import json
import sys
import time
from typing import Any

from chalicelib.jobs import timestamp
from chalicelib.sweeper import STATES
from ops import deployment as deployments
from ops.deployment import CannotLook, Deployment


def event(deployment: Deployment) -> dict[str, Any]:
    """What the schedule sends (Amazon EventBridge User Guide, "Scheduled events")."""
    return {
        "version": "0",
        "id": "python -m ops sweep",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": deployment.outputs["TopicArn"].split(":")[4],
        "time": timestamp(time.time()),
        "region": deployment.region,
        "resources": [],
        "detail": {},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    deployments.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """0 when it has run, 1 when it failed, 2 when it could not be called."""
    try:
        deployment = deployments.find(options)
        with deployments.errors_in_one_line(deployment.where):
            answer = deployment.client("lambda").invoke(
                FunctionName=deployment.function_name("sweep"),
                LogType="Tail",
                Payload=json.dumps(event(deployment)).encode(),
            )
    except CannotLook as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    said = json.loads(answer["Payload"].read() or b"null")
    if "FunctionError" in answer:
        print(f"error: the sweep failed: {said.get('errorMessage', said)}", file=sys.stderr)
        return 1
    log = base64.b64decode(answer.get("LogResult", "")).decode("utf-8", "replace")
    print(f"The sweep found {found(log) or 'what its log says'}.")
    return 0


def found(log: str) -> str:
    """What the last sweep of a log counted, such as `3 waiting, 1 closed`; empty where none is in it."""
    done = [line for line in log.splitlines() if '"sweep.done"' in line]
    if not done:
        return ""
    try:
        counts = json.loads(done[-1][done[-1].index("{") :])
    except ValueError:
        return ""
    told = [f"{counts[state]} {state}" for state in STATES if state in counts]
    return ", ".join(told) or "nothing"
