"""What `POST /jobs/{jobId}/retry` does: FAILED ▶ QUEUED, as the job's next run.

    original back under its open key ▶ ledger ▶ message

The prefix is the truth, so the file comes first: with it under `uploads/`, the job is open work, whatever
happens to the request. S3 tells `on_upload` of the copy as of any upload, and both ways lead to one run,
whichever is first:

- the request first: the job is of the copy's etag and has no sequencer, so that the event tells nothing
  new;
- the event first: it has opened the next run, and the request, which only opens the run after the one it
  has seen, finds that done.

Whichever finds the job QUEUED sends its message, and a second one of them does no harm. After a crash
behind the copy the event, or else the sweep, does the rest; one behind the ledger is like a lost message.
Where files are scanned for malware, the message comes with the verdict on the copy: as an upload of now it
gets none of the original's tags, and is scanned itself.
The copy under `failed/` stays until the new run has ended, and is cleared away by `pipeline.close`: until
then it is what an open object that gets lost can be had back from.
"""

from typing import Any

from chalicelib import clients, keys, scans, storage
from chalicelib.declared import SINGLE_LIMIT
from chalicelib.errors import Conflict, StillEnding
from chalicelib.jobs import Job, Status, Upload, is_left_over, timestamp
from chalicelib.ledger import Ledger, open_ledger
from chalicelib.settings import Settings
from chalicelib.telemetry import log


def retry(settings: Settings, owner: str, job_id: str) -> Job:
    """The job, QUEUED, or further already.

    Raises:
        NotFound: this owner has no such job.
        Conflict: it has not failed (`not_failed`), its original cannot be put back, or has not been set aside
            yet (`still_ending`).
    """
    ledger = open_ledger(settings)
    failed = ledger.get(owner, job_id)
    if failed.status is not Status.FAILED:
        raise Conflict(f"The job is {failed.status}: only a FAILED one can be retried.", code="not_failed")
    upload = _put_back(settings, failed)
    job = ledger.reopen(failed, upload) or _opened_meanwhile(settings, ledger, upload)
    if job.status is Status.QUEUED:
        scans.queue(settings, job)
    log("job.retried", run=job.run)
    return job


def _put_back(settings: Settings, job: Job) -> Upload:
    """Have the original of an ended job lie under its open key again, as an upload of now.

    Whatever lies there already is left as it is: it is open work, perhaps a newer upload, and no content is
    discarded. The condition on the copy holds where something arrives between the look and the copy.
    Only what the failed run is about to delete is not built on: that run knows it by its content alone.

    Raises:
        StillEnding: the original still lies there, as the run's end is not complete.
        Conflict: there is no original (`original_missing`), or it is too large to be copied while a caller
            waits (`too_large_to_retry`).
    """
    if job.size > SINGLE_LIMIT:
        raise Conflict("Files over 5 GiB cannot be retried: upload it again.", code="too_large_to_retry")
    key = _open_key(settings, job)
    found: Any = storage.head(settings, key)
    # Where the job came in by another key, what it has left there would be taken for its own for ever.
    left = found if key == job.source_key else storage.head(settings, job.source_key)
    if left is not None and is_left_over(job, _upload(job, job.source_key, left)):
        raise StillEnding("The job has failed just now and is still being cleared up: retry in a moment.")
    there = found or _copied_back(settings, job, key)
    if there is None:
        raise Conflict("The file is gone: upload it again.", code="original_missing")
    return _upload(job, key, there)


def _upload(job: Job, key: str, there: Any) -> Upload:
    return Upload(
        owner=job.owner,
        job_id=job.job_id,
        key=key,
        filename=job.filename,
        etag=there["ETag"].strip('"'),
        size=there.get("ContentLength", job.size),
        uploaded_at=timestamp(there["LastModified"].timestamp()),
    )


def _open_key(settings: Settings, job: Job) -> str:
    """Where the job came in; for one whose key carried no job id, the key that does.

    Back under a key of the first kind it would be a new object, and so another job.
    """
    place = keys.parse(settings, job.source_key)
    if place is not None and place.job_id == job.job_id:
        return job.source_key
    return keys.upload_key(settings, job.owner, job.job_id, job.filename)


def _copied_back(settings: Settings, job: Job, key: str) -> Any:
    """`ETag` and `LastModified` of what lies on the open key now; None where there is nothing to copy."""
    if not job.moved:
        return None
    s3 = clients.s3()
    try:
        if job.size > storage.WHOLE_COPY:
            storage.copy_back_in_parts(settings, job.key, key)
            return storage.head(settings, key)
        return s3.copy_object(
            Bucket=settings.bucket,
            Key=key,
            CopySource={"Bucket": settings.bucket, "Key": job.key},
            IfNoneMatch="*",
            TaggingDirective="REPLACE",
        )["CopyObjectResult"]
    except s3.exceptions.ClientError as error:
        # Something lies there already, there is nothing to copy, or the SDK has completed an upload twice.
        if clients.http_status(error) in (404, 409, 412):
            return storage.head(settings, key)
        raise


def _opened_meanwhile(settings: Settings, ledger: Ledger, upload: Upload) -> Job:
    job = ledger.find(upload.owner, upload.job_id)
    if job is None or job.status is Status.DELETED:
        storage.remove(settings, upload.key, upload.etag)
    return ledger.get(upload.owner, upload.job_id)
