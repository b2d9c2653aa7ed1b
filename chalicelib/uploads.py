"""An upload in one request, signed: it writes nothing and calls nothing."""

from collections.abc import Mapping
from typing import Any

from chalicelib import clients, keys, lazy, metrics, sigv4, telemetry
from chalicelib.declared import SINGLE_LIMIT, Declared
from chalicelib.errors import BadRequest
from chalicelib.settings import Settings

with lazy.imports():
    from chalicelib import quotas, sigv4_post

_signed = metrics.Tally()


def presign(settings: Settings, owner: str, wish: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    """What `/presign` answers: an upload to a key of the server's choosing.

    Whatever the wish declares (`contentType`, `size`, `sha256`, `metadata`) is signed, so that S3 itself
    refuses anything else. For a PUT, `headers` are those that the client has to send along. `Content-Length`
    is not among them: HTTP clients send it by themselves. For a POST, `fields` stand before the file in a
    `multipart/form-data` form.

    Raises:
        BadRequest: the deployment takes no such file, or S3 no such metadata.
    """
    declared = Declared.by_presign(wish)
    declared.admit(settings, limit=SINGLE_LIMIT)
    job_id, key = new_key(settings, owner, declared)
    method = wish.get("method", "PUT")
    headers: dict[str, str] = {}
    fields: dict[str, str] = {}
    if method == "POST":
        form = _form(settings, key, declared)
        url, fields = form.url, form.fields
    else:
        headers = declared.headers()
        length = {} if declared.size is None else {"Content-Length": str(declared.size)}
        url = sigv4.presign(
            "PUT",
            settings.location,
            key,
            credentials=clients.credentials(),
            expires_in=settings.expires_in,
            headers=headers | length,
        )
    return {
        "uploadUrl": url,
        "s3Key": key,
        "jobId": job_id,
        "method": method,
        "headers": headers,
        "fields": fields,
        "expiresIn": settings.expires_in,
        "statusUrl": f"{base_url}/jobs/{job_id}",
    }


def params(settings: Settings, owner: str, query: Mapping[str, str], base_url: str) -> dict[str, Any]:
    """The same as a form, as Companion's `GET /s3/params` answers (`@uppy/companion`, `controllers/s3.js`).

    Raises:
        BadRequest: the deployment takes no such file, or S3 no such metadata.
    """
    metadata = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in query.items()
        if name.startswith("metadata[")
    }
    declared = Declared.by_companion(query, metadata)
    declared.admit(settings, limit=SINGLE_LIMIT, type_field="type")
    job_id, key = new_key(settings, owner, declared)
    form = _form(settings, key, declared)
    return {
        "method": "POST",
        "url": form.url,
        "fields": form.fields,
        "expires": settings.expires_in,
        "jobId": job_id,
        "statusUrl": f"{base_url}/jobs/{job_id}",
    }


def new_key(settings: Settings, owner: str, declared: Declared) -> tuple[str, str]:
    """A new job id, and the key for its file.

    Raises:
        TooManyRequests: too much of the owner's is open.
        BadRequest: the file alone is more than may be open.
    """
    quotas.admit(settings, owner, declared.size)
    job_id = keys.new_job_id()
    telemetry.note(jobId=job_id)
    if number := _signed.add():
        telemetry.log("uploads.signed", **metrics.measured(settings.stage, {metrics.UPLOADS_SIGNED: number}))
    return job_id, keys.upload_key(settings, owner, job_id, keys.safe_filename(declared.filename))


def _form(settings: Settings, key: str, declared: Declared) -> "sigv4_post.Form":
    if "${filename}" in key:
        raise BadRequest(
            "filename: in a form, S3 puts another name in the place of ${filename}; ask for method PUT.",
            field="filename",
        )
    most = min(settings.max_upload_bytes, SINGLE_LIMIT)
    return sigv4_post.presign_form(
        settings.location,
        settings.bucket,
        key,
        credentials=clients.credentials(),
        expires_in=settings.expires_in,
        # An empty file is no work for anybody.
        size=(1, most) if declared.size is None else (declared.size, declared.size),
        # 201 makes S3 answer with the object's place and ETag, which uploaders in browsers read.
        fields=declared.headers() | {"success_action_status": "201"},
    )
