"""Watches every write to the ledger: a job moves along the graph that is drawn in `chalicelib/ledger.py`."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from chalicelib.jobs import Status
from tests.unit.fake.aws import FakeAws

MOVES = {
    (None, Status.QUEUED),
    (Status.QUEUED, Status.PROCESSING),
    (Status.PROCESSING, Status.COMPLETED),
    (Status.PROCESSING, Status.REJECTED),
    (Status.PROCESSING, Status.FAILED),
    (Status.PROCESSING, Status.QUEUED),  # its file has to be scanned first
}
"""Within one run of a job, beside staying what it is."""


@dataclass
class Graph:
    aws: FakeAws
    table: str
    ends: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often each run of each job has ended."""
    holders: dict[str, int] = field(default_factory=dict)
    """Lease to the thread that took it."""
    problems: list[str] = field(default_factory=list)
    """What must not be; a list, as a handler under test may swallow an error that is raised here."""

    def start(self) -> None:
        self.ends.clear()
        self.problems.clear()
        self.aws.dynamodb.watch = self._written

    def check(self) -> None:
        assert not self.problems, self.problems
        assert all(count == 1 for count in self.ends.values()), f"ended more than once: {self.ends}"

    def _written(self, table: str, before: Any, after: Any) -> None:
        if table != self.table:
            return
        old: dict[str, Any] = flat(before) if before else {"status": None, "run": 0}
        if after is None:
            self.problems.append(f"{old} was removed")
            return
        new = flat(after)
        move = (Status(old["status"]) if old["status"] else None, Status(new["status"]))
        if problem := self._problem(move, old, new):
            self.problems.append(f"{move} {problem}: {old} ▶ {new}")
        if move[0] is Status.PROCESSING and move[1].ended:
            self.ends[new["jobId"], new["run"]] += 1

    def _problem(self, move: tuple[Status | None, Status], old: Any, new: Any) -> str | None:
        before, after = move
        if new["run"] == old["run"] + 1 and after in (Status.QUEUED, Status.DELETED):
            return "is a run too many" if before is None and after is Status.DELETED else None
        if new["run"] != old["run"]:
            return "skips a run"
        if before is not after and move not in MOVES:
            return "is not drawn"
        taken = new.get("lease") != old.get("lease")
        here = threading.get_ident()
        mine = self.holders.get(old.get("lease"), here) == here
        if after is Status.PROCESSING and taken:
            if new["lease"] == f"{new['jobId']}-{new['run']}":  # an execution's, whose steps run anywhere
                return None if mine else "is handed over by a worker that has lost its lease"
            self.holders[new["lease"]] = here
        elif before is Status.PROCESSING and not mine:
            touched = old | {"updatedAt": new["updatedAt"]} == new  # by the sweep, which holds none
            return None if touched else "is written by a worker that has lost its lease"
        if before is after is Status.PROCESSING and taken and old["leaseUntil"] >= int(self.aws.clock()):
            return "takes a lease that another worker holds"
        if before is after and after.ended:
            return "changes what has ended"
        return None


def flat(item: Any) -> dict[str, Any]:
    """As `items.from_item`, which would take a quarter of a sweep's time; what is nested stays as it is."""
    found = {name: next(iter(value.values())) for name, value in item.items()}
    return found | {name: int(found[name]) for name in ("run", "leaseUntil") if name in found}
