"""What `DELETE /jobs/{jobId}` does: the record goes, and every object of the job.

    message, delayed ▶ tombstone ▶ objects under the open prefix ▶ objects under the final prefixes

With the tombstone, one conditional write (`ledger.delete`), there is no such job for its owner any more.
It is no plain removal of the record, because a job that has merely vanished comes back: a late S3 event or
the sweep would enter its file anew, and a message of it could not be told from one of a job whose
retention is over, whose files must stay. What each of the others meets:

- **An S3 event, delivered late or again**: its upload is older than the deletion, and changes nothing. A
  file that is uploaded after the deletion, on a URL that is still good, is a new file: the job is there
  again, with it.
- **A message, waiting or delivered again**: its claim finds the tombstone, and clears the final prefixes.
- **A worker in the middle of the job**: its lease is gone from the ledger, so that its end loses its
  condition. It then looks why, and clears what it has written meanwhile. Should it die before that, its
  message comes back.
- **A new upload, in the middle of this**: some of its files may have gone with the others, so that the job
  that it has opened is deleted as well, before the request is answered.
- **The sweep**: an object under an open prefix that is older than the deletion is a deletion cut short;
  the sweep completes it.
- **A retry at the same time**: whichever reaches the ledger second sees the other, and a retry takes back
  what it has put under the open prefix. The event of that copy then finds no file. Where the event was faster
  than either, the retry has won: the job is there again, with its file.

A crash between any two steps leaves nothing for good. The message comes first and arrives when the request
is over: should it have ended behind the tombstone, the consumer finds that and clears the final prefixes.
The open object is the sweep's. The caller may also just ask again: as long as there is a tombstone, all of
it is done once more, and it lasts longer than any message can. To a job that was not deleted after all, a
message more does nothing.

Events that the file brought stay in the `events` table. They are the latest version of an id, which is the
id's history and not the file's, and finding those of one job means reading all events of its owner. What
of an event was too large for the table lay in the job's outputs, and goes with them.
"""

from chalicelib import keys, messages, storage
from chalicelib.jobs import Job, Status
from chalicelib.ledger import Ledger, open_ledger
from chalicelib.settings import Settings
from chalicelib.telemetry import log

CHECK_AFTER = 60
"""Seconds: longer than an HTTP request can last behind API Gateway, which is 29."""


def delete(settings: Settings, owner: str, job_id: str) -> None:
    """
    Raises:
        NotFound: this owner has no such job, and had none lately.
    """
    ledger = open_ledger(settings)
    job = ledger.get(owner, job_id, deleted=True)
    messages.send(settings, [job], delay=CHECK_AFTER)
    _delete(settings, ledger, job)
    while (again := ledger.find(owner, job_id)) and again.status is not Status.DELETED:
        _delete(settings, ledger, again)
    log("job.deleted", status=job.status)


def _delete(settings: Settings, ledger: Ledger, job: Job) -> None:
    ledger.delete(job)
    storage.remove_folder(settings, keys.job_folder(settings.upload_prefix, job.owner, job.job_id))
    if job.status is not Status.DELETED:
        storage.remove_open(settings, job)  # which lies elsewhere when it was dropped there by hand
    storage.remove_ended(settings, job.owner, job.job_id)
