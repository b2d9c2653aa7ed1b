"""`python -m ops doctor`: what is stuck, since when, why, and what to do about it, on one screen."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator

from ops import deployment as deployments
from ops.deployment import CannotLook, Deployment, errors_in_one_line
from ops.doctor import heavy, parts, work
from ops.doctor.findings import Finding, Level, exit_code, lines

Check = Callable[[Deployment], Iterator[Finding]]

CHECKS: dict[str, Check] = {
    "functions": parts.functions,
    "queue": parts.queues,
    "events": parts.events,
    "sweep": parts.schedule,
    "heavy work": heavy.state_machine,
    "dead letters": work.dead_letters,
    "files": work.open_files,
    "webhooks": work.webhooks,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    deployments.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """0 when all is well, 1 when something needs a hand, 2 when it could not look."""
    try:
        deployment = deployments.find(options)
        with errors_in_one_line(deployment.where):
            found = examine(deployment)
    except CannotLook as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    code = exit_code(found)
    if options.json:
        print(json.dumps({"where": deployment.where, "findings": [f.as_json() for f in found]}, indent=2))
        return code
    print(deployment.where)
    print("\n".join(lines(found)))
    print({0: "All is well.", 1: "Something needs a hand.", 2: "Not everything could be looked at."}[code])
    return code


def examine(deployment: Deployment) -> list[Finding]:
    """Every check, whatever became of those before it."""
    found: list[Finding] = []
    for name, check in CHECKS.items():
        try:
            with errors_in_one_line(deployment.where):
                found += check(deployment)
        except CannotLook as error:
            found.append(Finding(Level.UNKNOWN, name, str(error)))
    return found
