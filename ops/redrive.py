"""`python -m ops redrive`: the dead letters of a deployment; listed, shown, sent back, or dropped."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chalicelib.telemetry import owner_hash
from ops import deployment as deployments
from ops.columns import age, printable, table
from ops.deployment import CannotLook, Deployment
from ops.letters import HOLD_SECONDS, KINDS, Box, Fate, Kind, Letter, Verdict, renew

LEAST_ID = 6
"""Characters of a letter's id that are enough to name it."""

LISTED = 100
SENT = 100_000

Judged = tuple[Letter, Verdict]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="action", dest="action")
    listing = actions.add_parser("list", help="what lies there (default)")
    show = actions.add_parser("show", help="one letter in full, with its job")
    send = actions.add_parser("send", help="send letters back to their queue; drop those of ended jobs")
    drop = actions.add_parser("drop", help="throw letters away, whatever they are")
    for action in (listing, show, send, drop):
        deployments.add_arguments(action)
        action.add_argument(
            "--queue", choices=[kind.name for kind in KINDS], help="of these alone (default: all)"
        )
        _limit(action, SENT if action in (send, drop) else LISTED)
    listing.add_argument("--json", action="store_true", help="one letter a line, as JSON")
    what = f"of letters, or the first {LEAST_ID} characters and more; or of jobs"
    show.add_argument("ids", nargs=1, metavar="ID", help=what)
    send.add_argument("ids", nargs="*", metavar="ID", help=what)
    send.add_argument("--all", action="store_true", help="every letter")
    drop.add_argument("ids", nargs="+", metavar="ID", help=what)
    for action in (send, drop):
        action.add_argument("--dry-run", action="store_true", help="only say what would be done")
    # Of the list, where no action is named, and of actions that have no such options.
    parser.set_defaults(
        stage=None, aws_port=4566, queue=None, limit=LISTED, json=False, ids=[], all=False, dry_run=False
    )


def _limit(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--limit",
        type=_count,
        default=default,
        metavar="N",
        help=f"look at no more letters (default: {default})",
    )


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count


def run(options: argparse.Namespace) -> int:
    """0 when it was done; 1 when a letter stayed, or is not there; 2 when nothing could be looked at."""
    try:
        deployment = deployments.find(options)
        with deployments.errors_in_one_line(deployment.where):
            command = _Command(deployment, options)
            match options.action:
                case "send" | "drop":
                    return command.settle()
                case "show":
                    return command.show()
            return command.list()
    except CannotLook as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "Interrupted. What was not settled lies where it was; the same command goes on.", file=sys.stderr
        )
        return 130


class _Command:
    """One call of the command, on the kinds of letters that it is about."""

    def __init__(self, deployment: Deployment, options: argparse.Namespace) -> None:
        self._deployment = deployment
        self._options = options
        self._chosen = _Chosen(options.ids)
        self._counts: Counter[str] = Counter()
        self._kinds = [
            kind for kind in KINDS if kind.is_of(deployment) and options.queue in (None, kind.name)
        ]
        if not self._kinds:
            raise CannotLook(f"{deployment.where} has no queue of {options.queue}")

    def list(self) -> int:
        rows: list[Sequence[str]] = [
            ("QUEUE", "LETTER", "AGE", "RECEIVED", "OWNER", "JOB OR EVENT", "STATUS", "SEND WOULD", "WHY")
        ]
        more: list[str] = []
        for kind in self._kinds:
            with Box(self._deployment, kind) as box:
                found = [one for some in box.judged(self._options.limit) for one in some]
                more += _more(kind, box, len(found))
            if self._options.json:
                for letter, verdict in found:
                    print(json.dumps(_as_json(kind, letter, verdict)))
            rows += [_row(kind, letter, verdict) for letter, verdict in found]
        if not self._options.json:
            print("\n".join(table(rows)) if len(rows) > 1 else "No dead letters.")
        print(*more, sep="\n", end="\n" if more else "", file=sys.stderr)
        return 0

    def show(self) -> int:
        for kind in self._kinds:
            with Box(self._deployment, kind) as box:
                for some in box.judged(self._options.limit):
                    for letter, verdict in filter(self._chosen, some):
                        print("\n".join(_in_full(kind, letter, verdict)))
        return self._missing()

    def settle(self) -> int:
        if not self._options.ids and not self._options.all:
            raise CannotLook("name letters, or say --all; `redrive list` shows them")
        stayed = False
        hints: list[str] = []
        for kind in self._kinds:
            with Box(self._deployment, kind) as box, _progress(kind.name, box) as advance:
                for some in box.judged(self._options.limit):
                    for what, letter, verdict in self._done(box, list(filter(self._chosen, some))):
                        stayed = stayed or what in ("left", "refused")
                        self._counts[what] += 1
                        print(_told(what, kind, letter, verdict, dry=self._options.dry_run), flush=True)
                    advance(len(some))
                hints += _more(kind, box, 0) if self._options.all else []
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self._counts.items()))
        print(("Nothing was changed: " if self._options.dry_run else "") + (counts or "no letters"))
        print(*hints, sep="\n", end="\n" if hints else "", file=sys.stderr)
        return self._missing() or int(stayed)

    def _done(self, box: Box, letters: Sequence[Judged]) -> Iterator[tuple[str, Letter, Verdict]]:
        """Have letters settled; what became of each."""
        dry = self._options.dry_run
        dropped = [one for one in letters if self._options.action == "drop" or one[1].fate is Fate.DROP]
        sent = [one for one in letters if one not in dropped and one[1].fate is Fate.SEND]
        refused: list[Letter] = []
        if not dry:
            settings = self._deployment.settings
            for _, verdict in sent:
                renew(self._deployment.ledger, verdict, settings.max_attempts)
            refused = box.send(sent)
            box.drop([letter for letter, _ in dropped])
        for one in letters:
            what = "dropped" if one in dropped else "sent" if one in sent else "left"
            yield "refused" if one[0] in refused else what, *one

    def _missing(self) -> int:
        for id in self._chosen.missing:
            print(f"error: no dead letter is, or is about, {printable(id)}", file=sys.stderr)
        return int(bool(self._chosen.missing))


class _Chosen:
    """Which letters are meant: by id, the beginning of it, or job; all of them where none is named."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.missing = dict.fromkeys(ids)
        self._ids = tuple(self.missing)

    def __call__(self, one: Judged) -> bool:
        letter, verdict = one
        named = [
            id
            for id in self._ids
            if id == verdict.subject or (len(id) >= LEAST_ID and letter.id.startswith(id))
        ]
        for id in named:
            self.missing.pop(id, None)
        return bool(named) or not self._ids


def _row(kind: Kind, letter: Letter, verdict: Verdict) -> Sequence[str]:
    return (
        kind.name,
        letter.id[:8],
        age(time.time() - letter.sent_at),
        str(letter.received),
        owner_hash(verdict.owner) if verdict.owner else "-",
        printable(verdict.subject) or "-",
        verdict.status or "-",
        "leave it" if verdict.fate is Fate.STAY else f"{verdict.fate} it",
        printable(verdict.reason),
    )


def _as_json(kind: Kind, letter: Letter, verdict: Verdict) -> dict[str, Any]:
    return {
        "queue": kind.name,
        "letter": letter.id,
        "ageSeconds": round(time.time() - letter.sent_at),
        "received": letter.received,
        "ownerHash": owner_hash(verdict.owner) if verdict.owner else None,
        "subject": verdict.subject or None,
        "status": verdict.status or None,
        "fate": verdict.fate,
        "reason": verdict.reason,
    }


def _in_full(kind: Kind, letter: Letter, verdict: Verdict) -> list[str]:
    """With the owner and the body: this is for the eyes of one who asked for it."""
    told = [
        ("queue", kind.name),
        ("letter", letter.id),
        ("sent", f"{age(time.time() - letter.sent_at)} ago"),
        ("received", f"{letter.received} times"),
        ("owner", verdict.owner or "-"),
        ("about", verdict.subject or "-"),
        ("status", verdict.status or "-"),
        ("redrive send", f"{verdict.fate}: {verdict.reason}"),
        ("body", letter.body),
    ]
    if verdict.job is not None:
        told += [
            (f"job.{name}", json.dumps(value, default=str)) for name, value in verdict.job.view().items()
        ]
    return table([(name, printable(value)) for name, value in told])


def _told(what: str, kind: Kind, letter: Letter, verdict: Verdict, *, dry: bool) -> str:
    would = {"sent": "would send", "dropped": "would drop", "left": "would leave"}
    subject = f"  {printable(verdict.subject)}" if verdict.subject else ""
    done = would.get(what, what) if dry else what
    return f"{done:<11} {kind.name}  {letter.id[:8]}{subject}  {printable(verdict.reason)}"


def _more(kind: Kind, box: Box, seen: int) -> list[str]:
    """What of a queue was not looked at; the counts of SQS are about right, and a moment old."""
    waiting, hidden = box.count()
    lines = []
    if seen and waiting:
        lines.append(f"{kind.name}: about {waiting} more; --limit shows them")
    if hidden:
        lines.append(
            f"{kind.name}: about {hidden} are being looked at by somebody else, {HOLD_SECONDS} s at most"
        )
    return lines


@contextmanager
def _progress(name: str, box: Box) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, below the lines; what is yielded advances it."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(name, total=box.count()[0] or None)
        yield lambda count: bar.advance(task, count)
