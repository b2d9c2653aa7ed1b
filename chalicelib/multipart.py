"""Large files in parts, by the contract that Uppy's uploader has with Companion.

Companion is `@uppy/companion`; the contract is its `controllers/s3.js`. An upload is named by its id and its
key together. S3 knows which id belongs to which key, and the key says whose it is, so that nothing has to be
written down here: who names a key of somebody else's is told what they are told about none.

A part is signed without a call to AWS, as often as somebody asks for it; the size of the whole is checked
when it is put together.

What Companion does not have: an upload may be begun with `checksum`, and every part of it is then signed
with its SHA-256, so that S3 takes no other bytes. S3 does not mix the two: an upload that was begun with a
checksum wants one of each part, and one that was not takes none.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from hashlib import md5
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

from chalicelib import clients, keys, sigv4, storage, uploads
from chalicelib.declared import Declared
from chalicelib.errors import BadRequest, NotFound, PayloadTooLarge
from chalicelib.ledger import open_ledger
from chalicelib.settings import MiB, Settings, TiB
from chalicelib.storage import SIZE_MARK

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3.type_defs import PartTypeDef

# Amazon S3 User Guide, "Amazon S3 multipart upload limits"
OBJECT_LIMIT = 5 * TiB
MIN_PART_BYTES = 5 * MiB
MAX_PARTS = 10_000

MAX_BATCH = 1_000
"""Parts signed in one answer, which keeps it well within what Lambda may return."""

_UPLOAD_ID = re.compile(r"[A-Za-z0-9._~+/=-]{1,1024}")

_CLIENTS_FAULT = {
    "EntityTooLarge": "too_large",
    "EntityTooSmall": "part_too_small",
    "InvalidPart": "part_mismatch",
    "InvalidPartOrder": "parts_out_of_order",
    "InvalidArgument": "bad_request",
    "InvalidRequest": "bad_request",
}
"""What S3 calls it → what we do (Amazon S3 API Reference, "List of error codes")."""


def create(settings: Settings, owner: str, body: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    """`{"key", "uploadId", "bucket"}` of a new upload, and beside them `jobId` and `statusUrl`.

    Raises:
        BadRequest: the deployment takes no such file, or S3 no such metadata.
    """
    declared = Declared.by_companion(body, body.get("metadata") or {})
    declared.admit(settings, limit=OBJECT_LIMIT, type_field="type")
    job_id, key = uploads.new_key(settings, owner, declared)
    named: Any = {"ContentType": declared.content_type} if declared.content_type else {}
    if checksum := body.get("checksum"):
        named["ChecksumAlgorithm"] = checksum
    metadata = dict(declared.metadata)
    if declared.size is not None:
        metadata[SIZE_MARK] = str(declared.size)
    made = clients.s3().create_multipart_upload(Bucket=settings.bucket, Key=key, Metadata=metadata, **named)
    return {
        "key": key,
        "uploadId": made["UploadId"],
        "bucket": settings.bucket,
        "jobId": job_id,
        "statusUrl": f"{base_url}/jobs/{job_id}",
    }


def sign_part(
    settings: Settings, owner: str, upload_id: str, number: str, key: str, sha256: str | None = None
) -> dict[str, Any]:
    """`{"url", "expires"}`: where to PUT one part, and for how many seconds.

    With its SHA-256, as 64 hexadecimal digits, there are `headers` beside, which have to be sent with it.

    Raises:
        BadRequest: there is no part of this number.
        NotFound: the caller has no such upload.
    """
    upload_id = own(settings, owner, upload_id, key)
    (part,) = _part_numbers("partNumber", [number])
    headers = Declared(sha256=sha256).headers()
    url = _part_url(settings, upload_id, key, part, headers)
    return {"url": url, "expires": settings.expires_in} | ({"headers": headers} if headers else {})


def sign_batch(settings: Settings, owner: str, upload_id: str, numbers: str, key: str) -> dict[str, Any]:
    """`{"presignedUrls": {"1": url, …}}` for part numbers with commas between them.

    Raises:
        BadRequest: there is no part of one of these numbers, or there are too many.
        NotFound: the caller has no such upload.
    """
    upload_id = own(settings, owner, upload_id, key)
    parts = _part_numbers("partNumbers", numbers.split(","))
    if len(parts) > MAX_BATCH:
        raise BadRequest(f"partNumbers: must be at most {MAX_BATCH} at once.", field="partNumbers")
    urls = {str(part): _part_url(settings, upload_id, key, part) for part in parts}
    return {"presignedUrls": urls, "expires": settings.expires_in}


def list_parts(settings: Settings, owner: str, upload_id: str, key: str) -> list[dict[str, Any]]:
    """`[{"PartNumber", "ETag", "Size", "LastModified"}, …]`: what has arrived, which is where to resume.

    Parts that came with a checksum have a `ChecksumSHA256`, in Base64, as S3 has it.

    Raises:
        NotFound: the caller has no such upload, or it has been completed or aborted.
    """
    return [
        {
            "PartNumber": part["PartNumber"],
            "ETag": part["ETag"],
            "Size": part["Size"],
            "LastModified": part["LastModified"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            **_checksum(part),
        }
        for part in _arrived(settings, own(settings, owner, upload_id, key), key)
    ]


def complete(
    settings: Settings,
    owner: str,
    upload_id: str,
    key: str,
    parts: Sequence[Mapping[str, Any]],
    base_url: str,
) -> dict[str, Any]:
    """Put the parts together; S3 then tells of the file, and its job begins.

    The parts have to be all that arrived, numbered from 1 without a gap: with any other choice S3 would make
    an object that lacks a piece of the file, and say nothing.

    S3 may take minutes, and API Gateway waits 29 seconds: who asks again, with the same parts, is answered as
    the first time.

    Returns:
        `{"location", "key", "bucket"}`, and beside them `jobId` and `statusUrl`.

    Raises:
        BadRequest: `parts_out_of_order`, `part_mismatch`, `parts_missing` or `part_too_small`.
        PayloadTooLarge: together they are more than this deployment takes.
        NotFound: the caller has no such upload, or it has been completed with other parts, or aborted.
    """
    upload_id = own(settings, owner, upload_id, key)
    named = [(int(part["PartNumber"]), _bare(part["ETag"])) for part in parts]
    place = keys.parse(settings, key)
    assert place is not None, "own has parsed it"
    try:
        _put_together(settings, upload_id, key, named)
    except NotFound:
        if not _is_put_together(settings, owner, str(place.job_id), key, named):
            raise
    return {
        "location": sigv4.object_url(settings.location, key),
        "key": key,
        "bucket": settings.bucket,
        "jobId": place.job_id,
        "statusUrl": f"{base_url}/jobs/{place.job_id}",
    }


def _put_together(settings: Settings, upload_id: str, key: str, named: Sequence[tuple[int, str]]) -> None:
    arrived = list(_arrived(settings, upload_id, key))
    _check_parts(settings, named, arrived)
    s3 = clients.s3()
    try:
        s3.complete_multipart_upload(
            Bucket=settings.bucket,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": [_named(part) for part in arrived]},
        )
    except s3.exceptions.ClientError as error:
        _blame(error)


def _is_put_together(
    settings: Settings, owner: str, job_id: str, key: str, named: Sequence[tuple[int, str]]
) -> bool:
    """Whether the parts are what the caller's upload, or its job, was made of: by the etag of the whole.

    That is the MD5 of the parts' own, one behind the other, and their number (Amazon S3 User Guide, "Checking
    object integrity", composite checksums). Under a KMS key it is not, and nobody is recognised.
    """
    try:
        digests = b"".join(bytes.fromhex(etag) for _, etag in named)
    except ValueError:
        return False
    etag = f"{md5(digests, usedforsecurity=False).hexdigest()}-{len(named)}"
    found = storage.head(settings, key)
    if found is not None and found["ETag"].strip('"') == etag:
        return True
    job = open_ledger(settings).find(owner, job_id)
    return job is not None and job.etag == etag


def abort(settings: Settings, owner: str, upload_id: str, key: str) -> dict[str, Any]:
    """Give an upload up, and what has arrived of it.

    Raises:
        NotFound: the caller has no such upload, or it has been completed or aborted.
    """
    upload_id = own(settings, owner, upload_id, key)
    s3 = clients.s3()
    try:
        s3.abort_multipart_upload(Bucket=settings.bucket, Key=key, UploadId=upload_id)
    except s3.exceptions.ClientError as error:
        _blame(error)
    return {}


def own(settings: Settings, owner: str, upload_id: str, key: str) -> str:
    """The upload's id as S3 knows it, once the key has shown that it is the caller's.

    API Gateway decodes the parameters of a path, and `chalice local` does not; an id of S3's has no `%`.
    """
    upload_id = unquote(upload_id)
    place = keys.parse(settings, key) if key.startswith(settings.upload_prefix) else None
    if place is None or place.job_id is None or place.owner != owner or not _UPLOAD_ID.fullmatch(upload_id):
        raise _no_such_upload()
    return upload_id


def _no_such_upload() -> NotFound:
    return NotFound(
        "No such upload: it was never begun, or it has been completed or aborted. Begin with "
        "POST /s3/multipart; uploadId and key are those of its answer.",
        code="upload_not_found",
    )


def _part_numbers(field: str, sent: Sequence[str]) -> list[int]:
    numbers = [int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0 for text in sent]
    if not all(1 <= number <= MAX_PARTS for number in numbers):
        raise BadRequest(f"{field}: parts are numbered from 1 to {MAX_PARTS}.", field=field)
    return list(dict.fromkeys(numbers))


def _part_url(
    settings: Settings, upload_id: str, key: str, number: int, headers: Mapping[str, str] | None = None
) -> str:
    return sigv4.presign(
        "PUT",
        settings.location,
        key,
        credentials=clients.credentials(),
        expires_in=settings.expires_in,
        headers=headers,
        query={"partNumber": str(number), "uploadId": upload_id},
    )


def _arrived(settings: Settings, upload_id: str, key: str) -> "list[PartTypeDef]":
    s3 = clients.s3()
    pages = s3.get_paginator("list_parts").paginate(Bucket=settings.bucket, Key=key, UploadId=upload_id)
    try:
        return [part for page in pages for part in page.get("Parts", [])]
    except s3.exceptions.ClientError as error:
        _blame(error)


def _check_parts(
    settings: Settings, named: Sequence[tuple[int, str]], arrived: "Sequence[PartTypeDef]"
) -> None:
    numbers = [number for number, _ in named]
    if numbers != sorted(set(numbers)):
        raise BadRequest(
            "parts: must be in the order of their numbers, each once.",
            code="parts_out_of_order",
            field="parts",
        )
    etags = {part["PartNumber"]: _bare(part["ETag"]) for part in arrived}
    for number, etag in named:
        if etags.get(number) != etag:
            raise BadRequest(
                f"parts: part {number} has not arrived with this ETag; send it again.",
                code="part_mismatch",
                field="parts",
            )
    missing = set(etags).symmetric_difference(range(1, len(numbers) + 1))
    if missing:
        raise BadRequest(
            f"parts: part {min(missing)} is missing; name every part that arrived, from 1 without a gap.",
            code="parts_missing",
            field="parts",
        )
    _check_sizes(settings, [part["Size"] for part in arrived])


def _check_sizes(settings: Settings, sizes: Sequence[int]) -> None:
    short = next((at for at, size in enumerate(sizes[:-1], start=1) if size < MIN_PART_BYTES), None)
    if short is not None:
        raise BadRequest(
            f"parts: part {short} is too small; all but the last have at least {MIN_PART_BYTES} bytes.",
            code="part_too_small",
            field="parts",
        )
    if sum(sizes) > settings.max_upload_bytes:
        raise PayloadTooLarge(
            f"The parts have {sum(sizes)} bytes together; at most {settings.max_upload_bytes} are allowed.",
            code="too_large",
        )


def _named(part: "PartTypeDef") -> Any:
    """A part as CompleteMultipartUpload names it: with its checksum, where the upload has them."""
    return {"PartNumber": part["PartNumber"], "ETag": part["ETag"], **_checksum(part)}


def _checksum(part: "PartTypeDef") -> dict[str, str]:
    return {"ChecksumSHA256": part["ChecksumSHA256"]} if "ChecksumSHA256" in part else {}


def _bare(etag: str) -> str:
    return etag.strip().strip('"')


def _blame(error: "ClientError") -> NoReturn:
    """Tell a client's mistake, as S3 sees it, from a failure of ours."""
    code = error.response["Error"].get("Code", "")
    if code == "NoSuchUpload":
        raise _no_such_upload() from None
    if code in _CLIENTS_FAULT:
        raise BadRequest(
            f"S3 refused: {error.response['Error'].get('Message', code)}", code=_CLIENTS_FAULT[code]
        ) from None
    raise error
