"""The bucket: opening an original pinned to its content, copying and removing it, writing outputs."""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import SEEK_END, BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from chalicelib import clients, keys
from chalicelib.errors import NotFound, Superseded, Unavailable
from chalicelib.files import open_plain
from chalicelib.filetypes import HEAD_BYTES
from chalicelib.jobs import Job, Upload
from chalicelib.processors import Output
from chalicelib.settings import MiB, Settings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

WHOLE_COPY = 256 * MiB
"""Larger originals are copied in parts: S3 answers a copy when it is made, and a call is given up before it
would have made one of gigabytes."""
COPY_PART = 128 * MiB
COPIES_AT_ONCE = 8
COPIES_BACK_AT_ONCE = 20
"""Somebody waits for these: of the most that can be put back, two rounds."""

WHOLE_OUTPUT = 64 * MiB
"""Larger outputs are sent in parts, side by side."""
OUTPUT_PART = 16 * MiB
OUTPUT_PARTS_AT_ONCE = 4
SMALL_OUTPUT = MiB
"""Sent from memory."""

METADATA_LIMIT = 2048
"""Bytes of an object's metadata, names and values (Amazon S3 User Guide, "Working with object metadata")."""

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML can hold (Extensible Markup Language 1.0, section 2.2): a call that names many keys is XML."""

OUR_METADATA = "waybill-"
"""What the names of our own metadata begin with: nobody has one signed (see `schemas.PRESIGN`)."""

ETAG_MARK = "waybill-etag"
"""Metadata of a moved original: the etag under which it was uploaded. A copy's own etag may differ."""

SIZE_MARK = "waybill-size"
"""Metadata of an original that was sent in parts: the bytes that were declared. S3 itself checks no whole."""


@dataclass(frozen=True, slots=True)
class Original:
    """An original, opened but not yet read."""

    key: str
    etag: str
    size: int
    content_type: str
    metadata: dict[str, str]
    body: "StreamingBody"
    """All of it, or above the light limit its first `HEAD_BYTES`."""
    last_modified: datetime

    @property
    def declared(self) -> dict[str, str]:
        """The metadata that came with the upload, as S3 gives them back: without ours, or one of no name."""
        return {n: value for n, value in self.metadata.items() if n and not n.startswith(OUR_METADATA)}


def open_original(settings: Settings, job: Job) -> Original:
    """Open the very content that the job is about, wherever it lies.

    That is its open key, or, where the same content has been through here before, one of the final prefixes.

    Raises:
        Superseded: other content lies on the open key by now.
        NotFound: it is nowhere (`original_missing`).
    """
    try:
        return _open(settings, job, job.key, job.etag)
    except clients.s3().exceptions.ClientError as error:
        status = clients.http_status(error)
        if status not in (404, 412):
            raise
    for prefix in settings.ended_prefixes:
        moved = final_key(prefix, job)
        if moved != job.key and _is_moved(settings, moved, job.etag):
            return _open(settings, job, moved)
    if status == 412:
        raise Superseded("A newer upload lies on this key.")
    raise NotFound("The file was removed before it could be processed.", code="original_missing")


def final_key(prefix: str, job: Job) -> str:
    return keys.ended_key(prefix, job.owner, job.job_id, job.filename)


def _open(settings: Settings, job: Job, key: str, etag: str | None = None) -> Original:
    wanted: Any = {"IfMatch": f'"{etag}"'} if etag else {}
    if job.size > settings.light_limit_bytes:
        wanted["Range"] = f"bytes=0-{HEAD_BYTES - 1}"
    answer: Any = clients.s3().get_object(Bucket=settings.bucket, Key=key, **wanted)
    _, _, whole = answer.get("ContentRange", "").rpartition("/")  # bytes 0-65535/1234567
    return Original(
        key=key,
        etag=answer["ETag"].strip('"'),
        size=int(whole) if whole else answer["ContentLength"],
        content_type=answer.get("ContentType", "binary/octet-stream"),
        metadata=answer.get("Metadata", {}),
        body=answer["Body"],
        last_modified=answer["LastModified"],
    )


def _is_moved(settings: Settings, key: str, etag: str) -> bool:
    found = head(settings, key)
    return found is not None and found["Metadata"].get(ETAG_MARK) == etag


def is_current(settings: Settings, upload: Upload) -> bool:
    """Whether this very content lies on its key at this moment: a listing is of the past."""
    found = head(settings, upload.key)
    return found is not None and found["ETag"].strip('"') == upload.etag


def head(settings: Settings, key: str) -> "HeadObjectOutputTypeDef | None":
    """What lies on a key; None where nothing does."""
    s3 = clients.s3()
    try:
        return s3.head_object(Bucket=settings.bucket, Key=key)
    except s3.exceptions.ClientError as error:
        if clients.http_status(error) == 404:
            return None
        raise


def copy(settings: Settings, job: Job, original: Original, destination: str) -> None:
    """Copy the original to its final key, if it is still the content that was opened.

    Raises:
        Superseded: a newer upload has taken its place.
    """
    if original.key == destination:
        return
    extra: Any = {
        "CopySourceIfMatch": f'"{original.etag}"',
        "MetadataDirective": "REPLACE",
        "Metadata": _marked(original.metadata, job.etag),
        "ContentType": original.content_type,
    }
    source: Any = {"Bucket": settings.bucket, "Key": original.key}
    s3 = clients.s3()
    try:
        if original.size > WHOLE_COPY:
            _copy_in_parts(settings, source, destination, extra)
        else:
            s3.copy_object(Bucket=settings.bucket, Key=destination, CopySource=source, **extra)
    except s3.exceptions.ClientError as error:
        if clients.http_status(error) == 412:
            raise _replaced_on_the_way() from None
        raise


def _copy_in_parts(settings: Settings, source: Any, destination: str, extra: Any) -> None:
    """Each part of the very content that was opened; with its tags, as one CopyObject would."""
    from s3transfer.exceptions import S3CopyFailedError
    from s3transfer.manager import TransferConfig, TransferManager

    config = TransferConfig(
        multipart_threshold=1, multipart_chunksize=COPY_PART, max_request_concurrency=COPIES_AT_ONCE
    )
    tagged = {**extra, "TaggingDirective": "COPY"}
    try:
        with TransferManager(clients.s3(), config) as transfers:
            transfers.copy(source, settings.bucket, destination, extra_args=tagged).result()
    except S3CopyFailedError:  # its word for a part that was answered with 412
        raise _replaced_on_the_way() from None


def copy_back_in_parts(settings: Settings, source: str, destination: str) -> None:
    """Copy an object to a key where nothing lies; without its tags, as it is an upload of now.

    By hand, as s3transfer knows no such condition. In the same parts in which it was moved: what is of one
    content, and in the same parts, has one etag.

    Raises:
        ClientError: of status 404, there is no such object; of 409 or 412, something lies there.
    """
    s3, bucket = clients.s3(), settings.bucket
    found = s3.head_object(Bucket=bucket, Key=source)
    size = found["ContentLength"]
    upload_id = s3.create_multipart_upload(
        Bucket=bucket, Key=destination, ContentType=found["ContentType"], Metadata=found["Metadata"]
    )["UploadId"]

    def copy_part(number: int) -> Any:
        begin = (number - 1) * COPY_PART
        made = s3.upload_part_copy(
            Bucket=bucket,
            Key=destination,
            UploadId=upload_id,
            PartNumber=number,
            CopySource={"Bucket": bucket, "Key": source},
            CopySourceRange=f"bytes={begin}-{min(begin + COPY_PART, size) - 1}",
            CopySourceIfMatch=found["ETag"],
        )
        return {"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]}

    try:
        with ThreadPoolExecutor(COPIES_BACK_AT_ONCE, thread_name_prefix="copies") as pool:
            parts = list(pool.map(copy_part, range(1, math.ceil(size / COPY_PART) + 1)))
        s3.complete_multipart_upload(
            Bucket=bucket,
            Key=destination,
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
            IfNoneMatch="*",
        )
    except Exception:
        with suppress(s3.exceptions.ClientError):
            s3.abort_multipart_upload(Bucket=bucket, Key=destination, UploadId=upload_id)
        raise


def _replaced_on_the_way() -> Superseded:
    return Superseded("A newer upload came while the file was being moved.")


def _marked(metadata: dict[str, str], etag: str) -> dict[str, str]:
    """The mark, and as much of the uploader's metadata as there is room for beside it."""
    kept = {ETAG_MARK: etag}
    for name, value in metadata.items():
        longer = {name: value} | kept
        if sum(len(f"x-amz-meta-{n}{v}".encode()) for n, v in longer.items()) <= METADATA_LIMIT:
            kept = longer
    return kept


def remove_open(settings: Settings, job: Job) -> None:
    """Delete the object under the open prefix, unless a newer upload lies there by now."""
    remove(settings, job.source_key, job.etag)


def remove_retried(settings: Settings, job: Job) -> None:
    """Delete what an earlier, failed run has left of the same content, now that the original lies elsewhere.

    Copies of one content have one etag, however it was uploaded, as long as they are made in the same parts;
    and a retried run has that of such a copy.
    """
    remove(settings, final_key(settings.failed_prefix, job), job.etag)


def remove(settings: Settings, key: str, etag: str) -> None:
    """Delete an object if it is still of this content."""
    s3 = clients.s3()
    try:
        s3.delete_object(Bucket=settings.bucket, Key=key, IfMatch=f'"{etag}"')
    except s3.exceptions.ClientError as error:
        if clients.http_status(error) not in (404, 412):
            raise


def remove_ended(settings: Settings, owner: str, job_id: str) -> None:
    """Delete everything that a job has under the final prefixes: originals of any run, and outputs."""
    for prefix in settings.ended_prefixes:
        remove_folder(settings, keys.job_folder(prefix, owner, job_id))


def remove_folder(settings: Settings, folder: str) -> None:
    """
    Raises:
        Unavailable: some objects could not be deleted; doing all of it again is safe.
    """
    s3 = clients.s3()
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=settings.bucket, Prefix=folder):
        # At most 1,000, and so many one call deletes.
        found = [entry["Key"] for entry in page.get("Contents", [])]
        for key in filter(_NO_XML.search, found):
            s3.delete_object(Bucket=settings.bucket, Key=key)
        if named := [key for key in found if not _NO_XML.search(key)]:
            answer = s3.delete_objects(
                Bucket=settings.bucket, Delete={"Objects": [{"Key": key} for key in named], "Quiet": True}
            )
            if answer.get("Errors"):
                raise Unavailable("Not all objects could be deleted. Try again.", code="not_all_deleted")


def put_output(settings: Settings, job: Job, output: Output) -> dict[str, Any]:
    """Write one output under its fixed name, and say what a job's `outputs` holds of it."""
    key = keys.output_key(settings, job.owner, job.job_id, output.name)
    with BytesIO(output.body) if isinstance(output.body, bytes) else open_plain(output.body) as body:
        size = body.seek(0, SEEK_END)
        body.seek(0)
        if size > WHOLE_OUTPUT:
            _put_in_parts(settings, key, body, output.content_type)
        else:
            clients.s3().put_object(
                Bucket=settings.bucket,
                Key=key,
                # The SDK asks S3 for leave before it sends a file, but not before it sends bytes.
                Body=body.read() if size <= SMALL_OUTPUT else body,
                ContentLength=size,
                ContentType=output.content_type,
            )
    return {"name": output.name, "contentType": output.content_type, "size": size, "key": key}


def _put_in_parts(settings: Settings, key: str, body: BinaryIO, content_type: str) -> None:
    from s3transfer.manager import TransferConfig, TransferManager

    config = TransferConfig(
        multipart_threshold=1, multipart_chunksize=OUTPUT_PART, max_request_concurrency=OUTPUT_PARTS_AT_ONCE
    )
    with TransferManager(clients.s3(), config) as transfers:
        transfers.upload(body, settings.bucket, key, extra_args={"ContentType": content_type}).result()
