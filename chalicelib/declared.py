"""What a client says of a file before it sends it: checked against the deployment, and made ready to sign."""

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from chalicelib import schemas
from chalicelib.errors import BadRequest
from chalicelib.settings import GiB, Settings

SINGLE_LIMIT = 5 * GiB
"""What S3 takes in one request: of an upload (Amazon S3 User Guide, "Uploading objects"), and of a copy
("Copying, moving, and renaming objects")."""

MAX_METADATA_BYTES = 1_536
"""Of names and values: S3 takes 2 KB (Amazon S3 User Guide, "User-defined object metadata"), of which the
prefix of each name and the mark of a moved original need some."""

_UPPY_OWN = frozenset({"name", "type", "relativePath"})
"""Uppy sends these as metadata of every file; the first two are `filename` and `type` over again."""


class Declared(NamedTuple):
    """All of it is optional; None is not declared."""

    filename: str | None = None
    content_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    """64 hexadecimal digits."""
    metadata: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def by_presign(cls, wish: Mapping[str, Any]) -> "Declared":
        """From a body of `schemas.PRESIGN`."""
        return cls(
            filename=wish.get("filename"),
            content_type=wish.get("contentType"),
            size=_whole(wish.get("size")),
            sha256=wish.get("sha256"),
            metadata=wish.get("metadata", {}),
        )

    @classmethod
    def by_companion(cls, sent: Mapping[str, Any], metadata: Mapping[str, Any]) -> "Declared":
        """From what an uploader sends that speaks to Companion.

        What it has nothing to say on it sends empty, or as null; its own three names are no metadata.

        Raises:
            BadRequest: the metadata breaks the rules of `/presign`.
        """
        kept = {
            name: json.dumps(value) if isinstance(value, bool | int | float) else value
            for name, value in metadata.items()
            if name not in _UPPY_OWN and value not in (None, "")
        }
        schemas.check(schemas.PRESIGN, {"metadata": kept})
        return cls(
            filename=sent.get("filename") or None,
            content_type=sent.get("type") or None,
            size=_whole(sent.get("size")),
            metadata=kept,
        )

    def admit(self, settings: Settings, *, limit: int, type_field: str = "contentType") -> None:
        """
        Args:
            limit: bytes that this way of sending takes; the deployment may take less.
            type_field: what the request calls the type.

        Raises:
            BadRequest: the deployment takes no such file, or S3 no such metadata.
        """
        limit = min(limit, settings.max_upload_bytes)
        if self.size is not None and self.size > limit:
            larger = limit < settings.max_upload_bytes
            way_out = "; larger files go in parts: POST /s3/multipart" if larger else ""
            raise BadRequest(f"size: must be at most {limit} bytes here{way_out}.", field="size")
        if self.content_type is not None and not settings.allows_type(self.content_type):
            raise BadRequest(
                f"{type_field}: must be one of: {', '.join(settings.allowed_types)}.", field=type_field
            )
        if sum(len(name) + len(value) for name, value in self.metadata.items()) > MAX_METADATA_BYTES:
            raise BadRequest(
                f"metadata: must have at most {MAX_METADATA_BYTES} bytes of names and values in all.",
                field="metadata",
            )

    def headers(self) -> dict[str, str]:
        """As the headers of a PUT, or the fields of a form. The size is not among them."""
        headers = {f"x-amz-meta-{name}": value for name, value in self.metadata.items()}
        if self.content_type:
            headers["Content-Type"] = self.content_type
        if self.sha256:
            headers["x-amz-checksum-sha256"] = base64.b64encode(bytes.fromhex(self.sha256)).decode()
        return headers


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)  # 5.0 is a whole number in JSON
