"""What `GET /jobs/{jobId}/files/{name}` does: sign a download that no browser opens in our name.

The bytes are whatever somebody uploaded. So that a page among them can never run, the signature makes S3
answer with `Content-Disposition: attachment` and with a type from a short list of those that do nothing by
themselves, and whoever holds the URL cannot change either.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from chalice.app import Response

from chalicelib import clients, keys, scans, sigv4
from chalicelib.errors import Conflict, NotFound
from chalicelib.jobs import Job
from chalicelib.jsontext import to_json
from chalicelib.ledger import open_ledger
from chalicelib.settings import Settings

ORIGINAL = "original"
EXPIRES_IN = 300
"""Seconds for which a download is signed, where the deployment allows as long."""

OPAQUE = "application/octet-stream"

HARMLESS = frozenset(
    {
        "application/json",
        "application/pdf",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "image/avif",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/tiff",
        "image/webp",
        "text/csv",
        "text/plain",
        "video/mp4",
        "video/webm",
    }
)
"""Types that a browser shows without running anything. HTML, SVG and XML are not among them."""

_HEADERS: dict[str, Any] = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

# RFC 5987, section 3.2.1, "attr-char", beside letters and digits.
_ATTR_CHARS = "!#$&+-.^_`|~"


@dataclass(frozen=True, slots=True)
class Download:
    url: str
    expires_in: int

    def response(self, accept: str) -> Response:
        """A redirect; for a client that takes JSON, the URL to do with as it likes."""
        if _takes_json(accept):
            return Response(
                to_json({"url": self.url, "expiresIn": self.expires_in}),
                headers=_HEADERS | {"Content-Type": "application/json"},
                status_code=200,
            )
        return Response("", headers=_HEADERS | {"Location": self.url}, status_code=302)


def sign(settings: Settings, owner: str, job_id: str, name: str) -> Download:
    """
    Args:
        name: `original`, or the name of an output.

    Raises:
        NotFound: this owner has no such job, or the job no such file.
        Conflict: the job has not ended (`not_ended`), or nobody has found its original clean (`not_clean`).
    """
    try:
        job = open_ledger(settings).get(owner, job_id)
    except NotFound:
        raise _no_such_file() from None
    if not job.status.ended:
        raise Conflict(f"The job is {job.status}: its files can be had once it has ended.", code="not_ended")
    key, filename, content_type = _file(settings, job, name)
    if name == ORIGINAL and settings.scans_for_malware and scans.verdict(settings, key) != scans.CLEAN:
        raise Conflict(
            "The original cannot be had: no scan has found it to be free of malware.", code="not_clean"
        )
    expires_in = min(EXPIRES_IN, settings.expires_in)
    url = sigv4.presign(
        "GET",
        settings.location,
        key,
        credentials=clients.credentials(),
        expires_in=expires_in,
        query={
            "response-cache-control": "no-store",
            "response-content-disposition": attachment(filename),
            "response-content-type": safe_type(content_type),
        },
    )
    return Download(url, expires_in)


def _file(settings: Settings, job: Job, name: str) -> tuple[str, str, str]:
    """Key, name and type of a file of the job."""
    if name == ORIGINAL and job.key.startswith(settings.ended_prefixes):
        return job.key, job.filename, job.detected_type or OPAQUE
    for output in job.outputs:
        if output["name"] == name:
            return output["key"], name, output["contentType"]
    raise _no_such_file()


def _no_such_file() -> NotFound:
    return NotFound(
        "No such file: GET /jobs/{jobId} lists the outputs of your job, and original is what was uploaded.",
        code="file_not_found",
    )


def attachment(filename: str) -> str:
    """The value of `Content-Disposition` (RFC 6266, section 4.3, with the advice of its appendix D).

    Old clients read `filename`, which holds neither quotes, backslashes nor percent signs, as they disagree
    about what those mean; all others `filename*`.
    """
    safe = keys.safe_filename(filename)
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in safe)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(safe, safe=_ATTR_CHARS)}"


def safe_type(content_type: str) -> str:
    """The type that a download is answered with: itself, or one that a browser can only save."""
    media_type, _, parameters = content_type.partition(";")
    harmless = media_type.strip().lower()
    if harmless not in HARMLESS:
        return OPAQUE
    # The outputs' own; what an uploader declared is not trusted to be put into a header.
    return f"{harmless}; charset=utf-8" if parameters.strip().lower() == "charset=utf-8" else harmless


def _takes_json(accept: str) -> bool:
    """Whether an `Accept` header names JSON, without refusing it (RFC 9110, section 12.5.1)."""
    for entry in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
        if media_range == "application/json":
            return not any(_is_zero(p) for p in parameters)
    return False


def _is_zero(parameter: str) -> bool:
    return parameter.startswith("q=0") and not parameter.strip("q=0.")
