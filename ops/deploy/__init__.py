"""`python -m ops deploy`: a stage of Waybill on AWS, made or brought up to date.

First everything is looked at that could make it unsafe or have it fail, then come the resources, then the
functions. What is deployed where is told before anything is touched.
"""

import argparse
import json
import sys
from pathlib import Path

from ops.deploy import rights, steps, target
from ops.deploy.refusal import Failed, Refused
from ops.deployment import CannotLook, errors_in_one_line
from ops.state import CHECKOUT

AGAIN = "Once that is mended, the same command goes on from there."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", default="dev", help="which (default: dev)")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would become of the resources, and change nothing"
    )
    parser.add_argument(
        "--rights", action="store_true", help="print the IAM policy that whoever deploys this stage needs"
    )
    parser.add_argument(
        "--project-dir", type=Path, default=CHECKOUT, help="what to deploy (default: this checkout)"
    )


def run(options: argparse.Namespace) -> int:
    """0 when all is deployed; 1 when a step failed; 2 when nothing was touched, because it was refused."""
    where = f"stage {options.stage} on AWS"
    try:
        with errors_in_one_line(where):
            there = target.find(options.stage, options.project_dir.resolve())
            if options.rights:
                needed = rights.policy(there.partition, there.region, there.account, there.stage)
                _say(json.dumps(needed, indent=2))
                return 0
            rollout = steps.Rollout(steps.plan(there), _say)
            _say(f"{'Looking at' if options.dry_run else 'Deploying'} {there.where}")
            if options.dry_run:
                rollout.preview()
                _say("Nothing was changed. Functions are brought up to date by every deployment.")
                return 0
    except (Refused, Failed, CannotLook) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        with errors_in_one_line(where):
            url = rollout.run()
    except (Failed, CannotLook) as error:
        print(f"error: {error}\n{AGAIN}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Interrupted. {AGAIN}", file=sys.stderr)
        return 130
    told = "Deployed." if rollout.changed else "Deployed; but for the functions' code nothing had to change."
    _say(f"{told} The API: {url}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
