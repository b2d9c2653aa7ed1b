"""What the load run shows while it lasts, and the sums in the end."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ops.columns import table
from ops.load.journal import ENDED, Account
from ops.stack import LocalStack

SHOWN = 10  # faults of a kind


@contextmanager
def shown(files: int, look: Callable[[], tuple[int, str]]) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, a line now and then elsewhere, of what `look` says when it is called."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
        disable=not console.is_terminal,
    )
    last = time.monotonic()
    with bar:
        task = bar.add_task("ended", total=files, state="")

        def show() -> None:
            nonlocal last
            if time.monotonic() - last < (0.3 if console.is_terminal else 10):
                return
            last = time.monotonic()
            ended, state = look()
            bar.update(task, completed=ended, state=state)
            if not console.is_terminal:
                print(f"  ended {ended} of {files}; {state}", flush=True)

        yield show


def tell(
    stack: LocalStack,
    result: Account,
    not_sent: Sequence[str],
    mishaps: Mapping[str, int],
    elapsed: float,
) -> None:
    """The table, and the first of what is not as it must be."""
    log = (stack.log_dir / "aws.log").read_text(errors="replace")
    failed = sum(line.startswith("fault ") for line in log.splitlines())
    ended = sum(result.statuses.values())
    must_be_zero = {
        "not sent": not_sent,
        "lost": result.lost,
        "twice": result.twice,
        "not as expected": result.wrong,
        "left over": result.left,
    }
    percentiles = (f"p{percent} {result.percentile(percent):.1f} s" for percent in (50, 95, 99))
    rows: list[Sequence[str]] = [
        ("sent", str(result.sent)),
        *((status.lower(), str(result.statuses[status])) for status in ENDED),
        *((name, f"{len(found)}{'   ✗ must be 0' if found else ''}") for name, found in must_be_zero.items()),
        *((name, str(count)) for name, count in sorted(mishaps.items())),
        ("calls that failed", str(failed)),
        ("time", f"{elapsed:.0f} s, {ended / elapsed:.1f} files a second"),
        ("from upload to end", ", ".join(percentiles)),
    ]
    print("\n" + "\n".join(table(rows)))
    for name, found in must_be_zero.items():
        for line in found[:SHOWN]:
            print(f"{name}: {line}")
        if len(found) > SHOWN:
            print(f"{name}: and {len(found) - SHOWN} more")
    print("Everything adds up." if result.is_clean and not not_sent else "It does not add up.")
