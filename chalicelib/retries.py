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
The copy under `failed/` stays until the new run has ended, and is cleared away by `pipeline.close`: until
then it is what an open object that gets lost can be had back from.
"""

from chalicelib import messages, storage
from chalicelib.errors import Conflict
from chalicelib.jobs import Job, Status, Upload
from chalicelib.ledger import Ledger, open_ledger
from chalicelib.settings import Settings
from chalicelib.telemetry import log, owner_hash


def retry(settings: Settings, owner: str, job_id: str) -> Job:
    """The job, QUEUED, or further already.

    Raises:
        NotFound: this owner has no such job.
        Conflict: it has not failed (`not_failed`), or its original cannot be put back.
    """
    ledger = open_ledger(settings)
    failed = ledger.get(owner, job_id)
    if failed.status is not Status.FAILED:
        raise Conflict(f"The job is {failed.status}: only a FAILED one can be retried.", code="not_failed")
    upload = storage.put_back(settings, failed)
    job = ledger.reopen(failed, upload) or _opened_meanwhile(settings, ledger, upload)
    if job.status is Status.QUEUED:
        messages.send(settings, [job])
    log("job.retried", jobId=job_id, owner=owner_hash(owner), run=job.run)
    return job


def _opened_meanwhile(settings: Settings, ledger: Ledger, upload: Upload) -> Job:
    job = ledger.find(upload.owner, upload.job_id)
    if job is None or job.status is Status.DELETED:
        storage.remove(settings, upload.key, upload.etag)
    return ledger.get(upload.owner, upload.job_id)
