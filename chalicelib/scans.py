"""Scans for malware: what was found in a file, and what waits until that is known.

GuardDuty Malware Protection for S3 scans each object that arrives under an open prefix and writes what it
found into the object's tags. The tag is what counts, wherever somebody asks; GuardDuty's event only says that
it is time to look. It is of one content: a newer upload comes without tags, and the bucket's policy lets
nobody but GuardDuty's role write tags under the open prefixes (`infra/template.yaml`).

    clean                    ▶ processed
    THREATS_FOUND            ▶ REJECTED  malware_found
    UNSUPPORTED              ▶ REJECTED  not_scannable: a password, or beyond what GuardDuty opens
    all else                 ▶ FAILED    scan_failed: a retry makes an upload of now, which is scanned anew
    no tag yet               ▶ QUEUED in the stage `scanning`, with no message
"""

from typing import TYPE_CHECKING, Any

from chalicelib import clients, lazy
from chalicelib.errors import AwaitingScan, NotFound, Rejected, ScanFailed, Superseded
from chalicelib.settings import Settings

with lazy.imports():
    from chalicelib import messages, storage

if TYPE_CHECKING:
    from chalicelib.jobs import Job
    from chalicelib.storage import Original

TAG = "GuardDutyMalwareScanStatus"
"""Amazon GuardDuty User Guide, "Monitoring S3 object scans with GuardDuty managed tags"."""

CLEAN = "NO_THREATS_FOUND"

TAGGING = 10
"""Seconds in which an object has its tag, once the event of its scan has come."""


def event_pattern(settings: Settings) -> dict[str, Any]:
    """Which events on the default bus tell of a scan of this bucket's.

    Nobody but AWS can publish with such a source (PutEvents, `NotAuthorizedForSourceException`).
    """
    return {
        "source": ["aws.guardduty"],
        "detail-type": ["GuardDuty Malware Protection Object Scan Result"],
        "detail": {"s3ObjectDetails": {"bucketName": [settings.bucket]}},
    }


def verdict(settings: Settings, key: str) -> str | None:
    """What was found in the object that lies on a key now; None where nobody has looked, or nothing lies."""
    s3 = clients.s3()
    try:
        tags = s3.get_object_tagging(Bucket=settings.bucket, Key=key)["TagSet"]
    except s3.exceptions.ClientError as error:
        if clients.http_status(error) == 404:
            return None
        raise
    return next((tag["Value"] for tag in tags if tag["Key"] == TAG), None)


def is_pending(settings: Settings, job: "Job") -> bool:
    """Whether there is no use in working on a job yet. What has gone is not scanned any more."""
    if not settings.scans_for_malware or verdict(settings, job.key) is not None:
        return False
    return storage.head(settings, job.key) is not None


def queue(settings: Settings, job: "Job", *, scanned: bool = False) -> None:
    """Queue the work on a job; one whose verdict is not there yet is queued when it comes.

    Nobody says that the tag of an object that was `scanned` comes before the event: the message comes later
    then, and there may be nothing yet for it to do even so, as tags cannot always be written.
    """
    if not is_pending(settings, job):
        messages.send(settings, [job])
    elif scanned:
        messages.send(settings, [job], delay=TAGGING)


def admit(settings: Settings, original: "Original") -> None:
    """Whether the very content that was opened is clean, where the deployment wants to know.

    Raises:
        AwaitingScan: nobody has looked yet.
        Rejected: `malware_found` or `not_scannable`.
        ScanFailed: it is not known, and will not be.
        Superseded: a newer upload lies on the key.
        NotFound: nothing does, any more (`original_missing`).
    """
    if not settings.scans_for_malware:
        return
    found = verdict(settings, original.key)
    _insist_on_same(settings, original)
    if found == CLEAN:
        return
    if found is None:
        raise AwaitingScan("The file has not been scanned for malware yet.")
    if found == "THREATS_FOUND":
        raise Rejected("Malware was found in the file. It was not processed.", code="malware_found")
    if found == "UNSUPPORTED":
        raise Rejected(
            "The file could not be scanned for malware, for it has a password, or is too large or too deeply "
            "packed: send it without.",
            code="not_scannable",
        )
    raise ScanFailed("The scan for malware failed on our side: retry the job, and the file is scanned again.")


def _insist_on_same(settings: Settings, original: "Original") -> None:
    """A tag is read by its key alone. What lay there before and behind was one object, and so in between:
    another one would have had to come, be scanned, and be replaced by its predecessor in the same second."""
    found = storage.head(settings, original.key)
    if found is None:
        raise NotFound("The file was removed before it could be processed.", code="original_missing")
    if (found["ETag"].strip('"'), found["LastModified"]) != (original.etag, original.last_modified):
        raise Superseded("A newer upload lies on this key.")
