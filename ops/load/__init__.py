"""`python -m ops load`: thousands of files through a stack of its own, on a bad day.

Files of all kinds, some of them twice, on the ways that files take; beside them poison on the queue, events
that come again, calls that fail, and workers that are killed. In the end everything must add up.

The stack is impatient, so that what is lost comes back within seconds: leases of 15 seconds, messages that
come back after 20, and a sweep after files that lie open for 10. The embedded AWS's clock for schedules knows
whole minutes, so the run itself calls the sweep every 5 seconds.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from ops.load.run import VARIABLES, Load
from ops.stack import LocalStack
from ops.state import StackError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", type=_count, default=2000, help="how many (default: 2000)")
    parser.add_argument("--seed", type=int, default=1, help="of files, mishaps and faults (default: 1)")
    parser.add_argument(
        "--faults", type=_share, default=0.02, help="the share of AWS calls that fail (default: 0.02)"
    )
    parser.add_argument("--no-kills", action="store_true", help="let every process live")
    parser.add_argument(
        "--under-way", type=_count, default=64, metavar="N", help="files at a time, at most (default: 64)"
    )


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 0.5:
        raise ValueError(text)
    return share


def run(options: argparse.Namespace) -> int:
    """0 when everything added up, 1 when it did not, 2 when there was no stack."""
    try:
        with tempfile.TemporaryDirectory(prefix="waybill-load-") as state:
            print(f"A local stack of its own, seed {options.seed}:", flush=True)
            with LocalStack(
                state_dir=Path(state),
                variables=VARIABLES,
                options=["--faults", str(options.faults), "--seed", str(options.seed)],
                say=lambda line: print(line, flush=True),
            ) as stack:
                return Load(stack, options).run()
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
