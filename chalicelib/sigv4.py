"""Presigned S3 URLs by hand: the hot path, where an SDK would cost more than all the rest of the answer.

Follows "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)", Amazon S3 API Reference,
and writes, byte for byte, the URL that botocore writes with `signature_version="s3v4"`. Of three inputs
something better is made than botocore makes of them:

- an empty session token counts as none, where botocore presigns a URL that S3 refuses;
- a declared `application/x-www-form-urlencoded; charset=utf-8` is signed like every other content type;
- a header that cannot be signed is refused, where botocore leaves it out in silence.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

MAX_EXPIRES_IN = 604_800
"""Seven days, in seconds: S3's limit on `X-Amz-Expires`."""

ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"  # nobody knows the body yet
_METHODS = frozenset({"DELETE", "GET", "HEAD", "POST", "PUT"})

_AUTH_PARAMETERS = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    }
)

# Proxies and HTTP clients change or drop these on the way (botocore.auth.SIGNED_HEADERS_BLACKLIST).
_UNSIGNABLE_HEADERS = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-amzn-trace-id",
    }
)
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2, "token"

# RFC 3986, section 2.3, "unreserved"; in a path S3 wants the slash as it is.
_RESERVED = re.compile(r"[^A-Za-z0-9\-._~]+")
_RESERVED_IN_PATH = re.compile(r"[^A-Za-z0-9\-._~/]+")

_REGION = r"[a-z]+(?:-[a-z]+)+-[0-9]+"
_BUCKET = r"[A-Za-z0-9._-]{1,255}"
_HOST_LABEL_BUCKET = r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"
_DIRECTORY_BUCKET_SUFFIXES = ("--x-s3", "--xa-s3")
_ENDPOINT = (
    r"(?P<scheme>(?i:https?))://"
    r"(?P<hostname>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9\-._~]+)*)/?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DNS_SUFFIXES = (
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whose signature it is; a role's come with a session token."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


class Location(NamedTuple):
    """Where a bucket answers, and the region its requests are signed for."""

    origin: str
    """Scheme, host and port as the URL shows them: `https://photos.s3.eu-west-1.amazonaws.com`."""
    host: str
    """The `Host` header a client sends there: lower case, without the scheme's default port."""
    base_path: str
    """What comes before the key: `/`, or `/<bucket>/` in path style."""
    region: str


@lru_cache(maxsize=8)
def bucket_location(bucket: str, region: str, endpoint_url: str | None = None) -> Location:
    """The bucket's own host in its region, never the global one; path style where that host cannot be.

    The bucket's name stands in the host ("Virtual hosting of buckets", Amazon S3 User Guide), except where
    it is no single host label (a dot would not match the TLS certificate) and behind an `endpoint_url`,
    which cannot be expected to have a DNS name for each bucket.

    Raises:
        ValueError: bucket, region or endpoint is malformed, or it is a directory bucket, which takes
            another kind of signature.
    """
    if not re.fullmatch(_BUCKET, bucket):
        raise ValueError(f"{bucket!r} is not a bucket name.")
    if bucket.endswith(_DIRECTORY_BUCKET_SUFFIXES):
        raise ValueError(f"{bucket!r} is a directory bucket: its URLs need a session of S3 Express.")
    if not re.fullmatch(_REGION, region):
        raise ValueError(f"{region!r} is not an AWS region such as eu-central-1.")
    if endpoint_url is not None:
        return _endpoint_location(bucket, region, endpoint_url)
    suffix = next((suffix for prefix, suffix in _DNS_SUFFIXES if region.startswith(prefix)), "amazonaws.com")
    host, base_path = f"s3.{region}.{suffix}", f"/{bucket}/"
    if re.fullmatch(_HOST_LABEL_BUCKET, bucket):
        host, base_path = f"{bucket}.{host}", "/"
    return Location(f"https://{host}", host, base_path, region)


def _endpoint_location(bucket: str, region: str, endpoint_url: str) -> Location:
    endpoint = re.fullmatch(_ENDPOINT, endpoint_url)
    if endpoint is None:
        raise ValueError(  # without quoting it: what is wrong with it may be the password it carries
            "The endpoint URL must be http(s)://host[:port][/path], without user, query or fragment."
        )
    scheme, hostname, port = endpoint["scheme"].lower(), endpoint["hostname"], endpoint["port"]
    origin = f"{scheme}://{hostname}" if port is None else f"{scheme}://{hostname}:{port}"
    host = hostname.lower()
    if port is not None and int(port) != _DEFAULT_PORTS[scheme]:
        host = f"{host}:{int(port)}"
    return Location(origin, host, f"{endpoint['path']}/{bucket}/", region)


def presign(
    method: str,
    location: Location,
    key: str,
    *,
    credentials: Credentials,
    expires_in: int,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> str:
    """A URL with which whoever holds it may make this one request until it expires.

    Args:
        method: GET, PUT, HEAD, POST or DELETE.
        key: the object's key as it is, neither encoded nor normalised: S3 keeps `//`, `.` and `..`.
        expires_in: seconds from `now`, 1 to 604,800.
        headers: what the client must send exactly so (`Content-Type`, `Content-Length`,
            `x-amz-checksum-sha256`, `x-amz-meta-…`); the names in any case, the values printable ASCII.
        query: parameters of the operation, not encoded (`response-content-disposition`, `partNumber`);
            they stand in the URL in this order, before those of the signature.
        now: the start of the URL's life, timezone-aware; the present moment when None.

    Raises:
        ValueError: an argument that S3 would refuse, or that no client could send.
    """
    if method not in _METHODS:
        raise ValueError(f"Method {method!r} cannot be presigned: use one of {', '.join(sorted(_METHODS))}.")
    if not key:
        raise ValueError("The key is empty: a URL is signed for one object.")
    if not 1 <= expires_in <= MAX_EXPIRES_IN:
        raise ValueError(f"expires_in is {expires_in}: S3 takes 1 to {MAX_EXPIRES_IN} seconds.")

    timestamp = _basic(now)
    day = signing_day(credentials, location.region, timestamp[:8])
    path = location.base_path + _quote(_RESERVED_IN_PATH, key, "key")
    signed = {"host": location.host} if not headers else _signed_headers(location.host, headers)

    names = ";".join(signed)
    parameters = _operation_parameters(query) if query else []
    parameters += (
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", day.credential),
        ("X-Amz-Date", timestamp),
        ("X-Amz-Expires", str(expires_in)),
        ("X-Amz-SignedHeaders", _quoted_names(names)),
    )
    if day.session_token:
        parameters.append(("X-Amz-Security-Token", day.session_token))

    values = "\n".join([f"{name}:{value}" for name, value in signed.items()])
    payload = signed.get("x-amz-content-sha256", _UNSIGNED_PAYLOAD)
    sorted_query = _query_string(sorted(parameters))
    canonical_request = f"{method}\n{path}\n{sorted_query}\n{values}\n\n{names}\n{payload}"
    digest = hashlib.sha256(canonical_request.encode()).hexdigest()
    string_to_sign = f"{ALGORITHM}\n{timestamp}\n{day.scope}\n{digest}"
    signature = hmac_sha256(day.signing_key, string_to_sign).hex()
    return f"{location.origin}{path}?{_query_string(parameters)}&X-Amz-Signature={signature}"


def object_url(location: Location, key: str) -> str:
    """Where an object lies, without leave to do anything there."""
    return location.origin + location.base_path + _quote(_RESERVED_IN_PATH, key, "key")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SigningDay:
    """All of a signature that stays the same from midnight to midnight UTC."""

    scope: str
    signing_key: bytes
    credential: str
    """Percent-encoded, as is the session token."""
    session_token: str


@lru_cache(maxsize=8)  # today, yesterday around midnight, and credentials that Lambda has just rotated
def signing_day(credentials: Credentials, region: str, date: str) -> SigningDay:
    scope = f"{date}/{region}/s3/aws4_request"
    signing_key = f"AWS4{credentials.secret_key}".encode()
    for part in (date, region, "s3", "aws4_request"):
        signing_key = hmac_sha256(signing_key, part)
    return SigningDay(
        scope=scope,
        signing_key=signing_key,
        credential=_quote(_RESERVED, f"{credentials.access_key}/{scope}", "access key"),
        session_token=_quote(_RESERVED, credentials.session_token or "", "session token"),
    )


def utc(now: datetime | None) -> datetime:
    if now is None:
        return datetime.now(UTC)
    if now.tzinfo is None:
        raise ValueError("now has no timezone: pass datetime.now(UTC).")
    return now.astimezone(UTC)


def _basic(now: datetime | None) -> str:
    """In ISO 8601's basic format, in UTC, to the second."""
    form = "%Y%m%dT%H%M%SZ"
    # The same by way of `datetime` takes three times as long.
    return time.strftime(form, time.gmtime()) if now is None else utc(now).strftime(form)


def _signed_headers(host: str, headers: Mapping[str, str]) -> dict[str, str]:
    """Canonical names and values in canonical order; no message quotes a value, it may be a secret."""
    signed = {"host": host}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a header name.")
        canonical_name = name.lower()
        if canonical_name in _UNSIGNABLE_HEADERS:
            raise ValueError(f"Header {name!r} cannot be signed: it may change on its way to S3.")
        if canonical_name in signed:
            raise ValueError(f"Header {name!r} is given twice, or is Host, which comes from the location.")
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"The value of header {name!r} must be printable ASCII on one line.")
        signed[canonical_name] = " ".join(value.split())
    return dict(sorted(signed.items()))


@lru_cache(maxsize=64)  # most requests sign the same few
def _quoted_names(names: str) -> str:
    return _quote(_RESERVED, names, "header names")


def _operation_parameters(query: Mapping[str, str]) -> list[tuple[str, str]]:
    for name in query:
        if name.lower() in _AUTH_PARAMETERS:
            raise ValueError(f"Query parameter {name!r} belongs to the signature.")
    return [
        (_quote(_RESERVED, name, "query"), _quote(_RESERVED, value, "query")) for name, value in query.items()
    ]


def _query_string(parameters: Iterable[tuple[str, str]]) -> str:
    return "&".join([f"{name}={value}" for name, value in parameters])


def _quote(reserved: re.Pattern[str], text: str, what: str) -> str:
    try:
        return reserved.sub(_percent_encode, text)
    except UnicodeEncodeError:
        raise ValueError(f"The {what} cannot be UTF-8: it holds one half of a surrogate pair.") from None


def _percent_encode(run: re.Match[str]) -> str:
    return "%" + run[0].encode().hex("%").upper()


def hmac_sha256(key: bytes, message: str) -> bytes:
    return hmac.digest(key, message.encode(), "sha256")
