"""Jobs as a crash may have left them, and the function that finds one: invoked as its trigger would."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib import executions, jobs, keys
from chalicelib.jobs import Job, Upload
from chalicelib.ledger import Ledger
from chalicelib.storage import ETAG_MARK
from ops.stack import LocalStack

PREFIXES = ("uploads/", "incoming/", "processed/", "rejected/", "failed/")
ENDED_PREFIXES = PREFIXES[2:]

AN_HOUR = 3600


@dataclass(frozen=True)
class Left:
    """A job in the hands of its state machine, which has made no execution of it."""

    stack: LocalStack
    job: Job

    @property
    def task(self) -> dict[str, Any]:
        """What a step of the execution is told."""
        return {"owner": self.job.owner, "jobId": self.job.job_id, "run": self.job.run}

    @property
    def message(self) -> dict[str, Any]:
        """The invocation that brings the job's message to the consumer; no queue has it."""
        job = self.job
        told = {"v": 1, "owner": job.owner, "jobId": job.job_id, "bucket": self.stack.outputs["BucketName"]}
        told |= {"key": job.key, "etag": job.etag, "size": job.size, "sequencer": job.sequencer}
        return {"Records": [{"messageId": "1", "receiptHandle": "1", "body": json.dumps(told)}]}

    def now(self) -> Job:
        found = ledger(self.stack).find(self.job.owner, self.job.job_id)
        assert found
        return found

    def objects(self) -> list[str]:
        s3, bucket = self.stack.client("s3"), self.stack.outputs["BucketName"]
        folders = [f"{prefix}_/{self.job.job_id}/" for prefix in PREFIXES]
        pages = [s3.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", []) for folder in folders]
        return [entry["Key"] for page in pages for entry in page]

    def scatter(self) -> None:
        """Lay something under each final prefix."""
        for prefix in ENDED_PREFIXES:
            put(self.stack, keys.ended_key(prefix, "_", self.job.job_id, "left"), b"left")


def ledger(stack: LocalStack) -> Ledger:
    return Ledger(stack.client("dynamodb"), stack.outputs["JobsTable"], lease_seconds=AN_HOUR)


def put(stack: LocalStack, key: str, body: bytes, **more: Any) -> None:
    stack.client("s3").put_object(Bucket=stack.outputs["BucketName"], Key=key, Body=body, **more)


def leave(stack: LocalStack, prefix: str, body: bytes, *, claimed: bool = True) -> Left:
    """A job whose original, with a tag, lies under this prefix: where it came in, or where a try moved it.

    Not `claimed`, it waits for its message, on a lease that has run out. The object comes last: its event
    then tells of a job that is in work, and does nothing.
    """
    job_id, etag = keys.new_job_id(), hashlib.md5(body).hexdigest()
    key = f"incoming/{job_id}/file" if prefix == "incoming/" else f"uploads/_/{job_id}/file"
    upload = Upload("_", job_id, key, "file", etag, len(body), jobs.timestamp(time.time()))
    book = ledger(stack)
    book.record(upload)
    _, job = book.claim("_", job_id, etag)
    assert job
    if claimed:
        job = book.hand_over(job, executions.name(job_id, job.run), AN_HOUR)
    else:
        book.release(job, tried=False)
    lies_at = keys.ended_key(prefix, "_", job_id, "file") if prefix in ENDED_PREFIXES else key
    put(stack, lies_at, body, Metadata={ETAG_MARK: etag}, Tagging="a=b")
    return Left(stack, job)


def invoke(stack: LocalStack, function: str, event: Mapping[str, Any]) -> Any:
    answer = stack.client("lambda").invoke(
        FunctionName=f"waybill-local-{function}", Payload=json.dumps(event).encode()
    )
    said = answer["Payload"].read()
    assert "FunctionError" not in answer, said
    return json.loads(said or b"null")
