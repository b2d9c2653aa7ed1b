"""The ledger: the state graph of a job, and every condition that guards it.

              ┌────────────── retry ──────────────┐
              ▼                                   │
    (event) ▶ QUEUED ─claim▶ PROCESSING ─finish▶ FAILED
              ▲               │ │  ▲ └── finish ▶ COMPLETED
              └── await_scan ─┘ │  │ └── finish ▶ REJECTED
                                └──┘
                      claimed again: the lease ran out, or was given back

A newer upload on the same key opens the job again, from whatever state, as its next run; so does a retry,
which puts the failed original back under its open key. Every state also leads to DELETED, where what is left
is a tombstone, and from there only an upload that is newer than the deletion leads on. Every arrow is one
conditional write, and all conditions are in this file: a write that loses its condition changes nothing.

`openSince` is there while a job is QUEUED or PROCESSING: the write that opens a job sets it, the one that
ends or deletes it takes it away. Only jobs that have it are in the index `open-jobs`, so that counting an
owner's open jobs reads those alone, and no counter has to be kept in step.

A claim carries a lease. Time runs downwards, `L1` and `L2` are lease tokens:

    worker A                worker B                         job
    claim ────────────────────────────────────────────────▶  PROCESSING, lease L1
    (hangs past leaseUntil)
                            claim: leaseUntil < now ───────▶  PROCESSING, lease L2
    finish: lease = L1  ──✗ LeaseLost
                            finish: lease = L2 ────────────▶  COMPLETED

Heavy work goes on in an execution of the state machine, and the lease with it: its token is then the name of
that execution. A newer upload or a deletion takes the lease away, and every later step of the execution
loses its condition.

    consumer                execution E                      job
    claim ────────────────────────────────────────────────▶  PROCESSING, lease L1
    hand_over: lease = L1 ────────────────────────────────▶  PROCESSING, lease E
    (starts E)
                            report: lease = E ─────────────▶  stage, progress
                            decide: lease = E ─────────────▶  verdict
                            finish: lease = E ─────────────▶  COMPLETED
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from chalicelib import clients, items, jobs, keys
from chalicelib.errors import LeaseLost, NotFound
from chalicelib.jobs import Ending, Job, Order, Status, Upload, order, timestamp
from chalicelib.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TOMBSTONE_SECONDS = 15 * 86_400
"""Longer than any message lives: a queue keeps one for 14 days at most (SQS Developer Guide, "Quotas")."""


class Claim(Enum):
    """What became of a worker's claim on a job."""

    TAKEN = "taken"
    ENDED = "ended"
    BUSY = "busy"
    SUPERSEDED = "superseded"
    GONE = "gone"
    DELETED = "deleted"


class Ledger:
    """The `jobs` table: partition key `owner`, sort key `jobId`.

    A caller can only ever ask under its own owner, so that ownership is in the key and not in an `if`.
    """

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        table: str,
        *,
        lease_seconds: int,
        retention_days: int = 0,
        entry_stage: str = "queued",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._lease_seconds = lease_seconds
        self._retention_days = retention_days
        self._entry_stage = entry_stage
        self._clock = clock

    def record(self, upload: Upload, is_there: Callable[[], bool] = lambda: True) -> tuple[Job, Order]:
        """(event) ▶ QUEUED: enter an upload, once however often its event comes.

        Where it cannot be told which came first, only a file that is still there opens the job again. A
        deleted one: a retry that lost to the deletion has taken its copy back, and the event of that copy may
        still come. One without a sequencer, as the sweep enters them: listings know whole seconds, so that
        the event may be of an upload that was replaced before the listing.

        Returns:
            The job as it is now, and `NEWER` where this call opened it (also for the first time), `SAME`
            where the ledger knew the upload already, `OLDER` where it knows a later one.
        """
        now = self._now()
        job = jobs.queued(upload, run=1, created_at=now, now=now, stage=self._entry_stage)
        known = self._put(job, "attribute_not_exists(jobId)", {})
        while known is not None:
            relation = order(known, upload)
            if relation is not Order.NEWER:
                return known, relation
            unsure = known.status is Status.DELETED or (upload.sequencer and not known.sequencer)
            if unsure and not is_there():
                return known, Order.OLDER
            job = replace(job, run=known.run + 1, created_at=known.created_at)
            known = self._put(job, "run = :run", {":run": known.run})
        return job, Order.NEWER

    def claim(self, owner: str, job_id: str, etag: str) -> tuple[Claim, Job | None]:
        """QUEUED ▶ PROCESSING, or PROCESSING ▶ PROCESSING where the lease has run out.

        Counts an attempt. Returns the job with its lease where it was taken, else the job as it stands.
        """
        now, lease = self._clock(), uuid.uuid4().hex
        job, taken = self._update(
            owner,
            job_id,
            condition="etag = :etag AND (#status = :queued OR (#status = :processing AND leaseUntil < :now))",
            assign={
                "status": Status.PROCESSING,
                "stage": "processing",
                "startedAt": timestamp(now),
                "lease": lease,
                "leaseUntil": int(now) + self._lease_seconds,
            },
            values={
                ":etag": etag,
                ":queued": Status.QUEUED,
                ":processing": Status.PROCESSING,
                ":now": int(now),
            },
            count_attempt=True,
        )
        if job is None:
            return Claim.GONE, None
        # The SDK repeats a call whose answer was lost: a condition that our own first try broke is a success.
        if taken or job.lease == lease:
            return Claim.TAKEN, job
        if job.status is Status.DELETED:
            return Claim.DELETED, job
        if job.etag != etag:
            return Claim.SUPERSEDED, job
        return (Claim.ENDED if job.status.ended else Claim.BUSY), job

    def finish(self, claimed: Job, ending: Ending) -> Job:
        """PROCESSING ▶ COMPLETED | REJECTED | FAILED, for the holder of the lease alone.

        Raises:
            LeaseLost: another worker has taken the job over, or a newer upload has opened it again.
        """
        finished_at = self._now()
        days = self._retention_days
        job, _ = self._update(
            claimed.owner,
            claimed.job_id,
            condition="lease = :lease AND #status = :processing",
            assign={
                "status": ending.status,
                "stage": "finished",
                "progress": 100,
                "key": ending.key,
                "contentType": ending.content_type,
                "detectedType": ending.detected_type,
                "outputs": ending.outputs,
                "declared": ending.declared,
                "metadata": ending.metadata,
                "error": ending.error,
                "finishedAt": finished_at,
                "verdict": None,
                "expiresAt": int(self._clock()) + days * 86_400 if days else None,
                "openSince": None,
            },
            values={":lease": claimed.lease, ":processing": Status.PROCESSING},
        )
        if job is None or job.lease != claimed.lease or job.status is not ending.status:
            raise LeaseLost(f"Job {claimed.job_id} is no longer this worker's.")
        return job

    def release(self, claimed: Job, error: dict[str, str] | None = None, *, tried: bool = True) -> bool:
        """Give the lease back, so that the next claim need not wait for it to run out.

        Where nothing was `tried`, the claim counts as no attempt, and leaves the last one's error.
        False where it was not this worker's any more: the job has ended, or is another's.
        """
        _, released = self._update(
            claimed.owner,
            claimed.job_id,
            condition="lease = :lease AND #status = :processing",
            assign={"leaseUntil": 0} | ({"error": error} if tried else {"attempts": claimed.attempts - 1}),
            values={":lease": claimed.lease, ":processing": Status.PROCESSING},
        )
        return released

    def hand_over(self, claimed: Job, execution: str, seconds: int) -> Job:
        """PROCESSING ▶ PROCESSING: the lease is the execution's from now on, for so many seconds.

        Raises:
            LeaseLost: the job is another worker's, or a newer upload's, by now.
        """
        return self._hold(
            claimed.owner,
            claimed.job_id,
            claimed.lease or "",
            {
                "lease": execution,
                "leaseUntil": int(self._clock()) + seconds,
                "stage": "waiting",
                "error": None,
            },
        )

    def report(self, owner: str, job_id: str, lease: str, stage: str, progress: int | None = None) -> Job:
        """Say how far the holder of a lease has come; the job as it is then.

        Raises:
            LeaseLost: the job is not its holder's any more.
        """
        told = {} if progress is None else {"progress": progress}
        return self._hold(owner, job_id, lease, {"stage": stage, **told})

    def note(self, held: Job, error: dict[str, str]) -> Job:
        """Keep what the latest try failed of, should it have been the last one.

        Raises:
            LeaseLost: the job is not this worker's any more.
        """
        return self._hold(held.owner, held.job_id, held.lease or "", {"error": error})

    def decide(self, held: Job, ending: Ending) -> Job:
        """Keep how the work came out, for the step that ends the job.

        Raises:
            LeaseLost: the job is not this worker's any more.
        """
        return self._hold(held.owner, held.job_id, held.lease or "", {"verdict": ending.verdict()})

    def _hold(self, owner: str, job_id: str, lease: str, assign: dict[str, Any]) -> Job:
        """Write into a job that is being worked on, for the holder of the lease alone."""
        job, held = self._update(
            owner,
            job_id,
            condition="lease = :lease AND #status = :processing",
            assign=assign,
            values={":lease": lease, ":processing": Status.PROCESSING},
        )
        # The SDK repeats a call whose answer was lost: a condition that our own first try broke is a success.
        taken = assign.get("lease")
        if job is None or not (held or (taken and job.lease == taken and job.status is Status.PROCESSING)):
            raise LeaseLost(f"Job {job_id} is no longer this worker's.")
        return job

    def await_scan(self, claimed: Job) -> bool:
        """PROCESSING ▶ QUEUED: there is nothing to do before the file has been scanned.

        The claim counts as no attempt. False where the job was not this worker's any more.
        """
        _, waiting = self._update(
            claimed.owner,
            claimed.job_id,
            condition="lease = :lease AND #status = :processing",
            assign={
                "status": Status.QUEUED,
                "stage": jobs.SCANNING,
                "lease": None,
                "leaseUntil": 0,
                "attempts": claimed.attempts - 1,
            },
            values={":lease": claimed.lease, ":processing": Status.PROCESSING},
        )
        return waiting

    def touch(self, seen: Job) -> bool:
        """Mark an open job as looked after; False where it has changed since it was read."""
        return self._look_after(seen)

    def renew(self, seen: Job) -> bool:
        """Give an open job all its tries again; False where it has changed since it was read."""
        return self._look_after(seen, attempts=0)

    def _look_after(self, seen: Job, **assign: Any) -> bool:
        now = self._now()
        job, written = self._update(
            seen.owner,
            seen.job_id,
            condition="updatedAt = :seen AND run = :run AND #status IN (:queued, :processing)",
            assign={"updatedAt": now, **assign},
            values={
                ":seen": seen.updated_at,
                ":run": seen.run,
                ":queued": Status.QUEUED,
                ":processing": Status.PROCESSING,
            },
        )
        return written or job == replace(seen, updated_at=now, **assign)  # our own first try, as above

    def reopen(self, seen: Job, upload: Upload) -> Job | None:
        """Open an ended job again for an object that lies under its open key; None where it has changed.

        An ended job leaves its state by a new run only, so that a FAILED one which is still of the run that
        was seen is still FAILED: this is the arrow called retry as well.
        """
        job = jobs.queued(
            upload,
            run=seen.run + 1,
            created_at=seen.created_at,
            now=self._now(),
            stage=self._entry_stage,
        )
        known = self._put(
            job,
            "run = :run AND #status IN (:completed, :rejected, :failed)",
            {
                ":run": seen.run,
                ":completed": Status.COMPLETED,
                ":rejected": Status.REJECTED,
                ":failed": Status.FAILED,
            },
        )
        return job if known is None else None

    def delete(self, seen: Job) -> None:
        """Any state ▶ DELETED, as a run of its own: whoever works on the job, or is about to, loses.

        The tombstone keeps what late events and messages are compared with, and nothing that tells of the
        file.
        """
        job: Job | None = seen
        while job is not None and job.status is not Status.DELETED:
            job, _ = self._update(
                job.owner,
                job.job_id,
                condition="run = :run",
                assign={
                    "status": Status.DELETED,
                    "run": job.run + 1,
                    "stage": "deleted",
                    **dict.fromkeys(("key", "sourceKey", "filename"), ""),
                    **dict.fromkeys(
                        (
                            "lease",
                            "contentType",
                            "detectedType",
                            "outputs",
                            "declared",
                            "metadata",
                            "error",
                            "verdict",
                            "openSince",
                        )
                    ),
                    "expiresAt": int(self._clock()) + TOMBSTONE_SECONDS,
                },
                values={":run": job.run},
            )

    def find(self, owner: str, job_id: str) -> Job | None:
        """The job, also where it is no more than a tombstone."""
        found = self._dynamodb.get_item(
            TableName=self._table, Key=jobs.item_key(owner, job_id), ConsistentRead=True
        ).get("Item")
        return jobs.from_item(found) if found else None

    def get(self, owner: str, job_id: str, *, deleted: bool = False) -> Job:
        """The job; its tombstone only where that is asked for.

        Raises:
            NotFound: there is no such job under this owner, whoever else may have one.
        """
        job = self.find(owner, job_id) if keys.is_job_id(job_id) else None
        if job is None or (job.status is Status.DELETED and not deleted):
            raise NotFound("No such job. The ids of your jobs are in GET /jobs.", code="job_not_found")
        return job

    def _put(self, job: Job, condition: str, values: dict[str, Any]) -> Job | None:
        """Write the whole job; the job that stands in the way where the condition does not hold."""
        call: dict[str, Any] = {
            "TableName": self._table,
            "Item": jobs.to_item(job),
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if values:
            call["ExpressionAttributeValues"] = items.to_item(values)
        if "#status" in condition:
            call["ExpressionAttributeNames"] = {"#status": "status"}
        try:
            self._dynamodb.put_item(**call)
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            known: Any = error.response.get("Item")
            if not known:  # deleted in between: what remains is to enter it anew
                return self._put(job, "attribute_not_exists(jobId)", {})
            standing = jobs.from_item(known)
            return None if standing == job else standing  # our own first try, when the SDK has repeated it
        return None

    def _update(
        self,
        owner: str,
        job_id: str,
        *,
        condition: str,
        assign: dict[str, Any],
        values: dict[str, Any],
        count_attempt: bool = False,
    ) -> tuple[Job | None, bool]:
        """One conditional update: the job as it is afterwards, and whether the condition held."""
        assign = {"updatedAt": self._now(), **assign}
        kept = {name: value for name, value in assign.items() if value is not None}
        expression = "SET " + ", ".join(f"#{name} = :set_{name}" for name in kept)
        if gone := [name for name, value in assign.items() if value is None]:
            expression += " REMOVE " + ", ".join(f"#{name}" for name in gone)
        if count_attempt:
            expression += " ADD attempts :one"
            values = {**values, ":one": 1}
        try:
            answer = self._dynamodb.update_item(
                TableName=self._table,
                Key=jobs.item_key(owner, job_id),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in assign}
                | ({"#status": "status"} if "#status" in condition else {}),
                ExpressionAttributeValues=items.to_item(
                    values | {f":set_{name}": value for name, value in kept.items()}
                ),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._dynamodb.exceptions.ConditionalCheckFailedException as error:
            known: Any = error.response.get("Item")
            return (jobs.from_item(known) if known else None), False
        return jobs.from_item(answer["Attributes"]), True

    def _now(self) -> str:
        return timestamp(self._clock())


def open_ledger(settings: Settings) -> Ledger:
    return Ledger(
        clients.dynamodb(),
        settings.jobs_table,
        lease_seconds=settings.lease_seconds,
        retention_days=settings.retention_days,
        entry_stage=jobs.SCANNING if settings.scans_for_malware else "queued",
    )
