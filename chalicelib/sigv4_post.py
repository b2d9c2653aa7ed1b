"""A POST policy by hand: what an HTML form needs to send one file straight to S3.

Follows "Browser-Based Uploads Using POST (AWS Signature Version 4)", Amazon S3 API Reference, and makes, byte
for byte, what botocore's `generate_presigned_post` makes of the same fields and conditions. It cannot make a
policy that leaves anything open: every field that it returns is a condition by equality, and the size has a
range.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from chalicelib import sigv4
from chalicelib.sigv4 import Credentials, Location

_FILENAME_VARIABLE = "${filename}"


@dataclass(frozen=True, slots=True)
class Form:
    """Where to send a form, and the fields that stand before the file in it."""

    url: str
    fields: dict[str, str] = field(repr=False)


def presign_form(
    location: Location,
    bucket: str,
    key: str,
    *,
    credentials: Credentials,
    expires_in: int,
    size: tuple[int, int],
    fields: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Form:
    """A form with which whoever holds it may put one object on this one key until it expires.

    Args:
        key: the object's key as it is.
        expires_in: seconds from `now`, 1 to 604,800.
        size: the least and the most bytes that the file may have.
        fields: what the form must hold exactly so (`Content-Type`, `x-amz-checksum-sha256`, `x-amz-meta-…`,
            `success_action_status`).
        now: the start of the form's life, timezone-aware; the present moment when None.

    Raises:
        ValueError: an argument that S3 would refuse, or a key that S3 would put another name into.
    """
    if not key or _FILENAME_VARIABLE in key:
        raise ValueError(f"A form is signed for one key: not empty, and without {_FILENAME_VARIABLE}.")
    if not 1 <= expires_in <= sigv4.MAX_EXPIRES_IN:
        raise ValueError(f"expires_in is {expires_in}: S3 takes 1 to {sigv4.MAX_EXPIRES_IN} seconds.")
    least, most = size
    if not 0 <= least <= most:
        raise ValueError(f"size is {size}: it takes the least and the most bytes, in this order.")
    begin = sigv4.utc(now)
    timestamp = begin.strftime("%Y%m%dT%H%M%SZ")
    day = sigv4.signing_day(credentials, location.region, timestamp[:8])
    signing = {
        "x-amz-algorithm": sigv4.ALGORITHM,
        "x-amz-credential": f"{credentials.access_key}/{day.scope}",
        "x-amz-date": timestamp,
    }
    if credentials.session_token:
        signing["x-amz-security-token"] = credentials.session_token
    exact = {**(fields or {}), "bucket": bucket, "key": key, **signing}
    conditions: list[Any] = [["content-length-range", least, most]]
    conditions += [{name: value} for name, value in exact.items()]
    expiration = (begin + timedelta(seconds=expires_in)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = json.dumps({"expiration": expiration, "conditions": conditions})
    policy = base64.b64encode(document.encode()).decode()
    signature = sigv4.hmac_sha256(day.signing_key, policy).hex()
    return Form(
        url=location.origin + (location.base_path.rstrip("/") or "/"),
        fields={
            **(fields or {}),
            "key": key,
            **signing,
            "policy": policy,
            "x-amz-signature": signature,
        },
    )
