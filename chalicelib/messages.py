"""The message on the jobs queue: which job there is work on, and for which content of it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib import keys, queues
from chalicelib.errors import WaybillError
from chalicelib.jobs import Job
from chalicelib.settings import Settings

VERSION = 1


class BadMessage(WaybillError):
    """Nothing that this queue should hold; it ends in the dead-letter queue."""

    code = "bad_message"


@dataclass(frozen=True, slots=True)
class Message:
    owner: str
    job_id: str
    etag: str

    @classmethod
    def parse(cls, body: str, bucket: str) -> "Message":
        """
        Raises:
            BadMessage: not JSON, of another version, of another bucket, or incomplete.
        """
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError):
            raise BadMessage("The message is not JSON.") from None
        if not isinstance(fields, dict) or fields.get("v") != VERSION:
            raise BadMessage(f"The message is not of version {VERSION}.")
        if fields.get("bucket") != bucket:
            raise BadMessage("The message speaks of another bucket.")
        owner, job_id, etag = (fields.get(name) for name in ("owner", "jobId", "etag"))
        if not (isinstance(owner, str) and owner and isinstance(etag, str) and etag):
            raise BadMessage("The message names no owner or no etag.")
        if not (isinstance(job_id, str) and keys.is_job_id(job_id)):
            raise BadMessage("The message names no job.")
        return cls(owner, job_id, etag)


def body_of(bucket: str, job: Job) -> str:
    return json.dumps(
        {
            "v": VERSION,
            "owner": job.owner,
            "jobId": job.job_id,
            "bucket": bucket,
            "key": job.key,
            "etag": job.etag,
            "size": job.size,
            "sequencer": job.sequencer,
        }
    )


def send(settings: Settings, jobs: Iterable[Job], *, delay: int = 0) -> None:
    """Queue the work on each job; `delay` is in seconds, 900 at most.

    Raises:
        Unavailable: the queue did not take every one of them; sending all again is safe.
    """
    bodies = (body_of(settings.bucket, job) for job in jobs)
    queues.send(settings.queue_url, ({"MessageBody": body, "DelaySeconds": delay} for body in bodies))
