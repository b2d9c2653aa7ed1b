"""What `DELETE /jobs/{jobId}` does: the record goes, and every object of the job.

    tombstone ▶ message ▶ objects under the open prefix ▶ objects under the final prefixes

The tombstone comes first, in one conditional write (`ledger.delete`), and from then on there is no such
job for its owner. It is no plain removal of the record, because a job that has merely vanished comes back:
a late S3 event or the sweep would enter its file anew, and a message of it could not be told from one of a
job whose retention is over, whose files must stay. What each of the others meets:

- **An S3 event, delivered late or again**: its upload is older than the deletion, and changes nothing. A
  file that is uploaded after the deletion, on a URL that is still good, is a new file: the job is there
  again, with it.
- **A message, waiting or delivered again**: its claim finds the tombstone, and clears the final prefixes.
- **A worker in the middle of the job**: its lease is gone from the ledger, so that its end loses its
  condition. It then looks why, and clears what it has written meanwhile. Should it die before that, its
  message comes back.
- **The sweep**: an object under an open prefix that is older than the deletion is a deletion cut short;
  the sweep completes it.
- **A retry at the same time**: whichever reaches the ledger second sees the other, and a retry takes back
  what it has put under the open prefix.

A crash between any two steps leaves nothing for good: the message is sent before anything is deleted, and
its consumer clears the final prefixes; the open object is the sweep's. The caller may also just ask again:
as long as there is a tombstone, all of it is done once more. It lasts longer than any message can.

Events that the file brought stay in the `events` table. They are the latest version of an id, which is the
id's history and not the file's, and finding those of one job means reading all events of its owner. What
of an event was too large for the table lay in the job's outputs, and goes with them.
"""

from chalicelib import keys, messages, storage
from chalicelib.jobs import Status
from chalicelib.ledger import open_ledger
from chalicelib.settings import Settings
from chalicelib.telemetry import log, owner_hash


def delete(settings: Settings, owner: str, job_id: str) -> None:
    """
    Raises:
        NotFound: this owner has no such job, and had none lately.
    """
    ledger = open_ledger(settings)
    job = ledger.get(owner, job_id, deleted=True)
    ledger.delete(job)
    messages.send(settings, [job])
    storage.remove_folder(settings, keys.job_folder(settings.upload_prefix, owner, job_id))
    if job.status is not Status.DELETED:
        storage.remove_open(settings, job)  # which lies elsewhere when it was dropped there by hand
    storage.remove_ended(settings, owner, job_id)
    log("job.deleted", jobId=job_id, owner=owner_hash(owner), status=job.status)
