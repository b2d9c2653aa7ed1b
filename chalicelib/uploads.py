"""What `/presign` does: sign one URL. It writes nothing and calls nothing."""

import base64
from collections.abc import Mapping
from typing import Any

from chalicelib import clients, keys, sigv4
from chalicelib.errors import BadRequest
from chalicelib.settings import Settings

MAX_METADATA_BYTES = 1_536
"""Of names and values: S3 takes 2 KB (Amazon S3 User Guide, "User-defined object metadata"), of which the
prefix of each name and the mark of a moved original need some."""


def presign(settings: Settings, owner: str, wish: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    """Sign an upload to a key of the server's choosing.

    Whatever the wish declares (`contentType`, `size`, `sha256`, `metadata`) is signed, so that S3 itself
    refuses anything else; `headers` are those that the client has to send along. `Content-Length` is not
    among them: HTTP clients send it by themselves.

    Raises:
        BadRequest: the size is beyond what this deployment takes, the metadata beyond what S3 does.
    """
    size = None if wish.get("size") is None else int(wish["size"])  # 5.0 is a whole number in JSON
    if size is not None and size > settings.max_upload_bytes:
        raise BadRequest(f"size: must be at most {settings.max_upload_bytes} bytes here.", field="size")
    if sum(len(name) + len(value) for name, value in wish.get("metadata", {}).items()) > MAX_METADATA_BYTES:
        raise BadRequest(
            f"metadata: must have at most {MAX_METADATA_BYTES} bytes of names and values in all.",
            field="metadata",
        )
    job_id = keys.new_job_id()
    key = keys.upload_key(settings, owner, job_id, keys.safe_filename(wish.get("filename")))
    headers = _declared(wish)
    url = sigv4.presign(
        "PUT",
        sigv4.bucket_location(settings.bucket, settings.region, settings.endpoint_url),
        key,
        credentials=clients.credentials(),
        expires_in=settings.expires_in,
        headers=headers | ({"Content-Length": str(size)} if size is not None else {}),
    )
    return {
        "uploadUrl": url,
        "s3Key": key,
        "jobId": job_id,
        "method": "PUT",
        "headers": headers,
        "fields": {},
        "expiresIn": settings.expires_in,
        "statusUrl": f"{base_url}/jobs/{job_id}",
    }


def _declared(wish: Mapping[str, Any]) -> dict[str, str]:
    headers = {f"x-amz-meta-{name}": value for name, value in wish.get("metadata", {}).items()}
    if content_type := wish.get("contentType"):
        headers["Content-Type"] = content_type
    if sha256 := wish.get("sha256"):
        headers["x-amz-checksum-sha256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
    return headers
