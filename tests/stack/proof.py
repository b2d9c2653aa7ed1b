"""Held against the policies: the calls of a run of all of tests/stack.

A run of a part proves nothing, and one with a failure need not; neither is looked at. After any other, every
grant of `ops/policies.py` has been used, or `UNSEEN` says why it cannot be, and nothing was refused but what
`PROVOKED` names. What the functions have done in any run is written to build/calls.txt.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ops.policies import GRANTS
from ops.state import CHECKOUT
from tests.stack.recorded import Call, Calls

HERE = Path(__file__).parent
TABLE = CHECKOUT / "build" / "calls.txt"
RECORDED = pytest.StashKey[Calls]()

Use = tuple[str, str, str]
"""A function, an action in full, and the name of a `Place`."""

ANY = "*"
"""In place of a function: all of them."""

UNSEEN: Mapping[Use, str] = {
    **{
        (function, f"sqs:{action}", queue): "the queue's mapping does it in the function's name, unasked here"
        for function, queue in (("consume", "QUEUE"), ("deliver", "DELIVERIES_QUEUE"))
        for action in ("ReceiveMessage", "GetQueueAttributes")
    },
    **{
        (ANY, "s3:AbortMultipartUpload", prefix): "after a copy of more than 256 MiB that has failed half-way"
        for prefix in ("PROCESSED", "REJECTED", "FAILED")
    },
}
"""Grants that are not used in the embedded AWS, and why; one that is used all the same is a fault here."""

PROVOKED: Mapping[Use, str] = {
    ("api_handler", "s3:AbortMultipartUpload", "UPLOADS"): "test_multipart: without its permission",
    ("api_handler", "s3:ListMultipartUploadParts", "UPLOADS"): "test_multipart: without its permission",
    ("api_handler", "s3:GetObject", "REJECTED"): "test_scans: nobody reads what malware was found in",
    ("api_handler", "s3:PutObject", "PROCESSED"): "test_least_privilege: a URL changed to another prefix",
    ("api_handler", "s3:PutObjectTagging", "UPLOADS"): "test_scans: an uploader calls its file clean",
    ("consume", "dynamodb:PutItem", "EVENTS"): "test_deletion_and_retry: without its permission",
    ("consume", "s3:GetObject", "UPLOADS"): "test_redrive: a bucket that is closed",
    ("consume", "s3:PutObject", "PROCESSED"): "test_least_privilege: without its permission",
    ("consume", "states:StartExecution", "STATE_MACHINE"): "test_worker: without its permission",
    ("process", "s3:PutObject", "PROCESSED"): "test_workflow: without its permission",
}
"""What a test has refused on purpose, and which."""

CLOSED: Mapping[tuple[str, str], str] = {
    (
        "consume",
        "s3",
    ): "test_redrive closes the bucket to the consumer, and messages of other tests may come meanwhile",
}
"""Function and service, where anything that the policy allows may have been refused."""


def granted() -> set[Use]:
    return {
        (function, f"{grant.places[0].service}:{action}", place.name)
        for function, grants in GRANTS.items()
        for grant in grants
        for action in grant.actions.split()
        for place in grant.places
    }


def faults(calls: Calls, unseen: Iterable[Use] = UNSEEN, provoked: Iterable[Use] = PROVOKED) -> list[str]:
    """In which the calls of a whole run and the policies differ, a line each."""
    allowed, used = granted(), {call[:3] for call in calls if call.allowed}
    refused = {call[:3] for call in calls if not call.allowed}
    excused = {use for use in allowed if use in unseen or (ANY, *use[1:]) in unseen}
    closed = {use for use in allowed if (use[0], use[1].partition(":")[0]) in CLOSED}
    return [
        *(f"{line(use)}: refused" for use in sorted(refused - set(provoked) - closed)),
        *(f"{line(use)}: done, though no policy allows it" for use in sorted(used - allowed)),
        *(f"{line(use)}: allowed, and no test has it done" for use in sorted(allowed - used - excused)),
        *(f"{line(use)}: done, though UNSEEN says it cannot be" for use in sorted(used & excused)),
        *(f"{line(use)}: in UNSEEN, and no policy allows it" for use in sorted(set(unseen) - known(allowed))),
        *(f"{line(use)}: in PROVOKED, and was not refused" for use in sorted(set(provoked) - refused)),
    ]


def known(allowed: set[Use]) -> set[Use]:
    return allowed | {(ANY, action, place) for _, action, place in allowed}


def line(use: Use) -> str:
    return " ".join(use)


def table(calls: Calls) -> str:
    """Function to its calls, with the places of each."""
    places: dict[str, dict[str, list[str]]] = {}
    for function, action, place, allowed in sorted(calls):
        places.setdefault(function, {}).setdefault(action, []).append(
            place if allowed else f"({place} refused)"
        )
    return "".join(
        f"{function}\n" + "".join(f"  {action:32} {', '.join(where)}\n" for action, where in actions.items())
        for function, actions in places.items()
    )


class Proof:
    """A plugin of pytest: collects the calls of every process, and judges them in the last one that runs."""

    def __init__(self, config: pytest.Config) -> None:
        self._calls: Calls = set()
        self._ran: set[str] = set()
        self._passes = True
        self._whole = not (
            config.option.keyword or config.option.markexpr or any("::" in a for a in config.args)
        )
        self._faults: list[str] = []
        config.stash[RECORDED] = self._calls

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._ran.add(report.nodeid.partition("::")[0])
        self._passes &= not report.failed

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        sent = getattr(node, "workeroutput", {}).get("calls", ())
        self._calls.update(Call(*call) for call in sent)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["calls"] = [list(call) for call in sorted(self._calls)]
            return
        files = {str(path.relative_to(CHECKOUT)) for path in HERE.glob("test_*.py")}
        self._whole = self._whole and self._passes and not session.shouldstop and files <= self._ran
        if self._calls:
            TABLE.parent.mkdir(exist_ok=True)
            TABLE.write_text(table(self._calls), encoding="utf-8")
        if self._whole and (found := faults(self._calls)):
            self._faults = found
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._faults:
            terminalreporter.section("calls and policies differ", red=True)
            terminalreporter.write("\n".join(self._faults) + "\n")
        elif self._whole:
            uses = {call[:3] for call in self._calls if call.allowed}
            shown = TABLE.relative_to(CHECKOUT)
            terminalreporter.write(f"policies: {len(uses)} grants used, none left over; {shown}\n")
