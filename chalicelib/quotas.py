"""How much of an owner's may be open when another upload is signed.

Off by default, and then nothing is asked. When on, one read of the index of open jobs says how many there are
and how large they are. What is signed and not sent yet is no job yet, so that it is not among them.
"""

from chalicelib import lazy
from chalicelib.errors import BadRequest, TooManyRequests
from chalicelib.settings import Settings

with lazy.imports():
    from chalicelib import partition

RETRY_AFTER = 30
"""Seconds: most jobs end sooner."""


def admit(settings: Settings, owner: str, size: int | None) -> None:
    """
    Args:
        size: bytes of the upload that is asked for, as far as they were declared.

    Raises:
        TooManyRequests: `too_many_open_jobs` or `too_many_open_bytes`.
        BadRequest: the upload alone is more than may be open.
    """
    most_jobs, most_bytes = settings.quota_open_jobs, settings.quota_open_bytes
    if not (most_jobs or most_bytes):
        return
    asked = size or 0
    if most_bytes and asked > most_bytes:
        raise BadRequest(f"size: must be at most {most_bytes} bytes here.", field="size")
    sizes, more = partition.open_sizes(settings, owner, limit=most_jobs or None)
    # Where only bytes are bounded, so are the jobs that one read does not show: nobody has counted those.
    if more or (most_jobs and len(sizes) >= most_jobs):
        raise TooManyRequests(
            f"{len(sizes)} of your files are not processed yet, and more may not be: wait until some have "
            "ended (GET /jobs shows them), then ask again.",
            code="too_many_open_jobs",
            after=RETRY_AFTER,
        )
    open_bytes = sum(sizes)
    if most_bytes and (open_bytes >= most_bytes or open_bytes + asked > most_bytes):
        raise TooManyRequests(
            f"Your files that are not processed yet have {open_bytes} bytes, and at most {most_bytes} are "
            "allowed, this one included: wait until some have ended (GET /jobs shows them), then ask again.",
            code="too_many_open_bytes",
            after=RETRY_AFTER,
        )
