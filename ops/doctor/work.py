"""Whether work gets on: dead letters, files that lie open for too long, webhooks that get nothing.

Every look is bounded, changes nothing, and says what it did not look at.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from chalicelib import executions, scans
from chalicelib.jobs import Job, Order, Status, Upload, order
from chalicelib.sweeper import upload_of
from ops.columns import age
from ops.deployment import Deployment
from ops.doctor import heavy
from ops.doctor.findings import Finding, Level
from ops.doctor.parts import period
from ops.letters import KINDS, Box, Fate

MAX_OBJECTS = 10_000  # of a prefix
MAX_LOOKED_UP = 200
MAX_LETTERS = 200
MAX_WEBHOOKS = 5_000


def dead_letters(deployment: Deployment) -> Iterator[Finding]:
    for kind in KINDS:
        if not kind.is_of(deployment):
            continue
        with Box(deployment, kind) as box:
            waiting, hidden = box.count()
            found = [one for some in box.judged(MAX_LETTERS) for one in some] if waiting else []
        if not waiting and not hidden:
            yield Finding(Level.WELL, "dead letters", f"{kind.name}: none")
            continue
        if not found:
            what = f"{kind.name}: about {hidden} in somebody else's hands"
            yield Finding(Level.NOTE, "dead letters", what, do="look again in two minutes")
            continue
        counts = {fate: sum(verdict.fate is fate for _, verdict in found) for fate in Fate}
        told = {Fate.SEND: "to send", Fate.DROP: "to drop", Fate.STAY: "to look at"}
        what = ", ".join(f"{count} {told[fate]}" for fate, count in counts.items() if count)
        more = f" of the first {MAX_LETTERS}, about {waiting} in all" if waiting > len(found) else ""
        reasons = list(dict.fromkeys(verdict.reason for _, verdict in found))[:3]
        ways = [("send", "--all")] * bool(counts[Fate.SEND] + counts[Fate.DROP])
        ways += [("drop", "ID")] * bool(counts[Fate.STAY])
        yield Finding(
            Level.BAD,
            "dead letters",
            f"{kind.name}: {what}{more}",
            age(time.time() - min(letter.sent_at for letter, _ in found)),
            "; ".join(reasons),
            "; ".join(deployment.call("redrive", *words) for words in [("list",), *ways]),
        )


def open_files(deployment: Deployment) -> Iterator[Finding]:
    """What lies under the open prefixes for longer than it should, and what the ledger says of it."""
    settings = deployment.settings
    stuck: list[tuple[float, Upload]] = []
    seen, cut = 0, []
    for prefix in settings.open_prefixes:
        of_prefix = 0
        for listed in _listed(deployment, prefix):
            of_prefix += 1
            lain = time.time() - listed["LastModified"].timestamp()
            upload = upload_of(settings, listed)
            if upload is not None and lain > settings.sweep_after_seconds:
                stuck.append((lain, upload))
        seen += of_prefix
        cut += [prefix] * (of_prefix >= MAX_OBJECTS)
    stuck.sort(key=lambda one: -one[0])
    groups: dict[str, list[tuple[float, Upload]]] = defaultdict(list)
    ledger = deployment.ledger
    for lain, upload in stuck[:MAX_LOOKED_UP]:
        state = _state(deployment, ledger.find(upload.owner, upload.job_id), upload)
        if state:
            groups[state].append((lain, upload))
    more = [f"no more than {MAX_OBJECTS} were listed under {' and '.join(cut)}"] * bool(cut)
    more += [f"only the {MAX_LOOKED_UP} oldest of {len(stuck)} were looked up"] * (len(stuck) > MAX_LOOKED_UP)
    said = "".join(f"; {one}" for one in more)
    every = period(deployment)
    for state, found in groups.items():
        oldest, example = found[0]
        late = every is None or oldest > settings.sweep_after_seconds + 2 * every
        what = f"{len(found)} lie open: {state}, such as job {example.job_id}{said}"
        why, do = _WHY[state]
        if late and do is not PATIENCE:
            yield Finding(Level.BAD, "files", what, age(oldest), why, do or deployment.call("sweep"))
        else:
            at_hand = do or "nothing: the next sweep is at hand"
            yield Finding(Level.NOTE, "files", what, age(oldest), why, at_hand)
    if not groups:
        yield Finding(Level.WELL, "files", f"{seen} under way, none for long{said}")


PATIENCE = "nothing, unless it is the same job in an hour: then look at the execution of its name"
SCANNER = 'look for the protection plan: docs/malware.md, "When a job stays in the stage `scanning`"'

# State of a file that has lain open for long: how it may have come to that, and what helps, if not a sweep.
_WHY = {
    "not in the ledger": ("its event got lost, or on_upload fails", ""),
    "QUEUED": ("its message got lost, or the consumer does not get to it", ""),
    "not scanned for malware": ("GuardDuty is at it, or has not been told to, or may not tag", SCANNER),
    "PROCESSING, and nobody works on it": ("its worker was lost, or every attempt fails", ""),
    "PROCESSING, and its execution was never started": (
        "Step Functions did not take it",
        "",
    ),
    "PROCESSING, and its execution has ended": ("it ran out of time, or was stopped", ""),
    "PROCESSING in an execution for over an hour": ("it is long, or its worker hangs", PATIENCE),
    "ended, and not cleared away": ("announcing its end, or deleting it, was cut short", ""),
    "deleted, and not cleared away": ("deleting it was cut short", ""),
}


def _state(deployment: Deployment, job: Job | None, upload: Upload) -> str:
    """Empty where all is as it should be."""
    if job is None or order(job, upload) is Order.NEWER:
        return "not in the ledger"
    if job.status is Status.QUEUED:
        return "not scanned for malware" if _awaits_scan(deployment, upload) else "QUEUED"
    if job.status is Status.PROCESSING:
        if job.lease_until <= time.time():
            return "PROCESSING, and nobody works on it"
        return heavy.trouble(deployment, job) if executions.holds(job) else ""
    return "ended, and not cleared away" if job.status.ended else "deleted, and not cleared away"


def _awaits_scan(deployment: Deployment, upload: Upload) -> bool:
    if not deployment.settings.scans_for_malware:
        return False
    s3 = deployment.client("s3")
    try:
        tags = s3.get_object_tagging(Bucket=deployment.settings.bucket, Key=upload.key)["TagSet"]
    except s3.exceptions.NoSuchKey:
        return False
    return all(tag["Key"] != scans.TAG for tag in tags)


def _listed(deployment: Deployment, prefix: str) -> Iterator[dict[str, Any]]:
    pages = deployment.client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(
        Bucket=deployment.settings.bucket, Prefix=prefix, PaginationConfig={"MaxItems": MAX_OBJECTS}
    ):
        yield from page.get("Contents", [])


def webhooks(deployment: Deployment) -> Iterator[Finding]:
    pages = deployment.client("dynamodb").get_paginator("scan")
    seen, disabled = 0, 0
    for page in pages.paginate(
        TableName=deployment.settings.webhooks_table,
        ProjectionExpression="disabled",
        PaginationConfig={"MaxItems": MAX_WEBHOOKS},
    ):
        seen += len(page["Items"])
        disabled += sum("disabled" in item for item in page["Items"])
    count = f"{seen}" if seen < MAX_WEBHOOKS else f"the first {seen}"
    if disabled:
        what = f"{disabled} of {count} are disabled"
        do = "tell their owners: POST /webhooks/{id}/enable"
        yield Finding(Level.NOTE, "webhooks", what, why="their endpoints said that they are gone", do=do)
    else:
        yield Finding(Level.WELL, "webhooks", f"{count}, none of them disabled")
