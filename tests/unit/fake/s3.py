"""S3, as far as anything here uses it: one bucket or several, conditions, uploads in parts, events.

Every object that is made is an event, as for a bucket that tells of all (`ObjectCreated`): `events` holds the
records until somebody takes them out.
"""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import quote_plus, unquote

from botocore.response import StreamingBody

from tests.unit.fake.errors import Refused


@dataclass(frozen=True)
class Object:
    body: bytes
    etag: str
    content_type: str
    metadata: dict[str, str]
    last_modified: datetime
    tags: str = ""


@dataclass
class Upload:
    bucket: str
    key: str
    content_type: str
    metadata: dict[str, str]
    parts: dict[int, tuple[bytes, datetime]] = field(default_factory=dict)


class S3:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self.buckets: dict[str, dict[str, Object]] = {}
        self.uploads: dict[str, Upload] = {}
        self.events: list[dict[str, Any]] = []

    def copy(self) -> "S3":
        made = S3(self._clock)
        made._numbers = self._numbers
        made.buckets = {name: dict(objects) for name, objects in self.buckets.items()}
        made.uploads = {name: replace(u, parts=dict(u.parts)) for name, u in self.uploads.items()}
        made.events = list(self.events)
        return made

    # --- objects

    def create_bucket(self, request: Any) -> Any:
        self.buckets[request["Bucket"]] = {}
        return {}

    def put_object(self, request: Any) -> Any:
        self._check_absent(request)
        body = _bytes(request.get("Body", b""))
        made = Object(
            body,
            hashlib.md5(body).hexdigest(),
            request.get("ContentType", "binary/octet-stream"),
            dict(request.get("Metadata", {})),
            self._now(),
            request.get("Tagging", ""),
        )
        self._store(request["Bucket"], request["Key"], made, "Put")
        return {"ETag": f'"{made.etag}"'}

    def head_object(self, request: Any) -> Any:
        found = self._found(request, missing="404")
        return _described(found) | {"ContentLength": len(found.body)}

    def get_object(self, request: Any) -> Any:
        found = self._found(request)
        if request.get("IfMatch", f'"{found.etag}"').strip('"') != found.etag:
            raise Refused(412, "PreconditionFailed")
        body, more = found.body, {}
        if wanted := request.get("Range"):
            first, last = _range(wanted, len(found.body))
            body = found.body[first : last + 1]
            more = {"ContentRange": f"bytes {first}-{first + len(body) - 1}/{len(found.body)}"}
        stream = StreamingBody(BytesIO(body), len(body))
        return _described(found) | more | {"ContentLength": len(body), "Body": stream}

    def copy_object(self, request: Any) -> Any:
        source = self._source(request)
        self._check_absent(request)
        made = replace(source, last_modified=self._now(), etag=hashlib.md5(source.body).hexdigest())
        if request.get("MetadataDirective") == "REPLACE":
            made = replace(
                made,
                metadata=dict(request.get("Metadata", {})),
                content_type=request.get("ContentType", "binary/octet-stream"),
            )
        if request.get("TaggingDirective") == "REPLACE":
            made = replace(made, tags=request.get("Tagging", ""))
        self._store(request["Bucket"], request["Key"], made, "Copy")
        return {"CopyObjectResult": {"ETag": f'"{made.etag}"', "LastModified": made.last_modified}}

    def delete_object(self, request: Any) -> Any:
        objects = self._bucket(request)
        there = objects.get(request["Key"])
        if wanted := request.get("IfMatch"):
            if there is None:
                raise Refused(404, "NoSuchKey")
            if wanted.strip('"') != there.etag:
                raise Refused(412, "PreconditionFailed")
        objects.pop(request["Key"], None)
        return {}

    def delete_objects(self, request: Any) -> Any:
        for entry in request["Delete"]["Objects"]:
            self._bucket(request).pop(entry["Key"], None)
        return {}

    def list_objects_v2(self, request: Any) -> Any:
        prefix, most = request.get("Prefix", ""), request.get("MaxKeys", 1000)
        behind = request.get("ContinuationToken") or request.get("StartAfter") or ""
        objects = self._bucket(request)
        found = sorted(
            (key for key in objects if key.startswith(prefix) and key.encode() > behind.encode()),
            key=str.encode,
        )
        page = found[:most]
        answer: dict[str, Any] = {"KeyCount": len(page), "IsTruncated": len(found) > most}
        if page:
            answer["Contents"] = [
                {
                    "Key": key,
                    "ETag": f'"{objects[key].etag}"',
                    "Size": len(objects[key].body),
                    "LastModified": objects[key].last_modified,
                }
                for key in page
            ]
        if answer["IsTruncated"]:
            answer["NextContinuationToken"] = page[-1]
        return answer

    def get_object_tagging(self, request: Any) -> Any:
        pairs = (pair.partition("=") for pair in self._found(request).tags.split("&") if pair)
        return {"TagSet": [{"Key": unquote(name), "Value": unquote(value)} for name, _, value in pairs]}

    def put_object_tagging(self, request: Any) -> Any:
        tags = "&".join(f"{t['Key']}={t['Value']}" for t in request["Tagging"]["TagSet"])
        self._bucket(request)[request["Key"]] = replace(self._found(request), tags=tags)
        return {}

    # --- uploads in parts

    def create_multipart_upload(self, request: Any) -> Any:
        self._bucket(request)
        upload_id = f"upload-{next(self._numbers)}"
        self.uploads[upload_id] = Upload(
            request["Bucket"],
            request["Key"],
            request.get("ContentType", "binary/octet-stream"),
            dict(request.get("Metadata", {})),
        )
        return {"Bucket": request["Bucket"], "Key": request["Key"], "UploadId": upload_id}

    def upload_part(self, request: Any) -> Any:
        body = _bytes(request["Body"])
        self._upload(request).parts[request["PartNumber"]] = (body, self._now())
        return {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}

    def upload_part_copy(self, request: Any) -> Any:
        body = self._source(request).body
        if wanted := request.get("CopySourceRange"):
            first, last = _range(wanted, len(body))
            body = body[first : last + 1]
        self._upload(request).parts[request["PartNumber"]] = (body, self._now())
        return {"CopyPartResult": {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "LastModified": self._now()}}

    def list_parts(self, request: Any) -> Any:
        parts = self._upload(request).parts
        return {
            "IsTruncated": False,
            "Parts": [
                {
                    "PartNumber": number,
                    "ETag": f'"{hashlib.md5(body).hexdigest()}"',
                    "Size": len(body),
                    "LastModified": when,
                }
                for number, (body, when) in sorted(parts.items())
            ],
        }

    def list_multipart_uploads(self, request: Any) -> Any:
        found = [
            {"Key": upload.key, "UploadId": name}
            for name, upload in self.uploads.items()
            if upload.bucket == request["Bucket"] and upload.key.startswith(request.get("Prefix", ""))
        ]
        return {"Uploads": found} if found else {}

    def complete_multipart_upload(self, request: Any) -> Any:
        upload = self._upload(request)
        self._check_absent(request)
        named = request.get("MultipartUpload", {}).get("Parts", [])
        bodies: list[bytes] = []
        for part in named:
            body, _ = upload.parts.get(part["PartNumber"], (None, None))
            if body is None or hashlib.md5(body).hexdigest() != part["ETag"].strip('"'):
                raise Refused(400, "InvalidPart")
            bodies.append(body)
        digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
        made = Object(
            b"".join(bodies), f"{digest}-{len(bodies)}", upload.content_type, upload.metadata, self._now()
        )
        del self.uploads[request["UploadId"]]
        self._store(upload.bucket, upload.key, made, "CompleteMultipartUpload")
        return {"Bucket": upload.bucket, "Key": upload.key, "ETag": f'"{made.etag}"'}

    def abort_multipart_upload(self, request: Any) -> Any:
        self._upload(request)
        del self.uploads[request["UploadId"]]
        return {}

    # --- inside

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self._clock()), UTC)  # S3 knows whole seconds

    def _bucket(self, request: Any) -> dict[str, Object]:
        try:
            return self.buckets[request["Bucket"]]
        except KeyError:
            raise Refused(404, "NoSuchBucket") from None

    def _found(self, request: Any, missing: str = "NoSuchKey") -> Object:
        found = self._bucket(request).get(request["Key"])
        if found is None:
            raise Refused(404, missing)
        return found

    def _source(self, request: Any) -> Object:
        source = request["CopySource"]
        if isinstance(source, str):
            bucket, _, key = unquote(source).lstrip("/").partition("/")
            source = {"Bucket": bucket, "Key": key}
        found = self._found(source)
        if request.get("CopySourceIfMatch", f'"{found.etag}"').strip('"') != found.etag:
            raise Refused(412, "PreconditionFailed")
        return found

    def _check_absent(self, request: Any) -> None:
        if request.get("IfNoneMatch") == "*" and request["Key"] in self._bucket(request):
            raise Refused(412, "PreconditionFailed")

    def _upload(self, request: Any) -> Upload:
        found = self.uploads.get(request["UploadId"])
        if found is None or (found.bucket, found.key) != (request["Bucket"], request["Key"]):
            raise Refused(404, "NoSuchUpload")
        return found

    def _store(self, bucket: str, key: str, made: Object, how: str) -> None:
        self._bucket({"Bucket": bucket})[key] = made
        moment = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        self.events.append(
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventTime": moment.replace("+00:00", "Z"),
                "eventName": f"ObjectCreated:{how}",
                "s3": {
                    "bucket": {"name": bucket},
                    "object": {
                        "key": quote_plus(key, safe="/"),
                        "size": len(made.body),
                        "eTag": made.etag,
                        "sequencer": f"{next(self._numbers):016X}",
                    },
                },
            }
        )


def _described(found: Object) -> dict[str, Any]:
    return {
        "ETag": f'"{found.etag}"',
        "ContentType": found.content_type,
        "Metadata": dict(found.metadata),
        "LastModified": found.last_modified,
    }


def _range(wanted: str, size: int) -> tuple[int, int]:
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    return int(first), min(int(last) if last else size - 1, size - 1)


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else body.read()
