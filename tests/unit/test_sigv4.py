"""Signing by hand is right when nobody can tell it from botocore; botocore is therefore the oracle here."""

import base64
import os
import re
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, quote, urlsplit

import botocore.auth
import botocore.credentials
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib.sigv4 import Credentials, Location, bucket_location, presign

ROOT = Path(__file__).parents[2]
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
FORM = "application/x-www-form-urlencoded; charset=utf-8"


@dataclass(frozen=True)
class Case:
    """What both sides are asked to sign."""

    key: str = "k"
    bucket: str = "photos"
    region: str = "eu-central-1"
    endpoint_url: str | None = None
    credentials: Credentials = KEYS
    expires_in: int = 900
    now: datetime = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

    @property
    def location(self) -> Location:
        return bucket_location(self.bucket, self.region, self.endpoint_url)


def by_hand(
    method: str, case: Case, headers: Mapping[str, str] | None = None, query: Mapping[str, str] | None = None
) -> str:
    return presign(
        method,
        case.location,
        case.key,
        credentials=case.credentials,
        expires_in=case.expires_in,
        headers=headers,
        query=query,
        now=case.now,
    )


def by_client(operation: str, case: Case, params: Mapping[str, Any] | None = None) -> str:
    client, credentials = _client(case.region, case.endpoint_url)
    credentials.access_key, credentials.secret_key = case.credentials.access_key, case.credentials.secret_key
    credentials.token = case.credentials.session_token
    with _botocore_clock(case.now):
        url: str = client.generate_presigned_url(
            operation,
            Params={"Bucket": case.bucket, "Key": case.key, **(params or {})},
            ExpiresIn=case.expires_in,
        )
    return url


def by_signer(method: str, case: Case, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The signer below the client: it takes headers and parameters that no S3 operation models."""
    url = case.location.origin + case.location.base_path + quote(case.key, safe="/~")
    request = AWSRequest(method=method, url=url, headers=dict(headers), params=dict(query))
    held = botocore.credentials.Credentials(
        case.credentials.access_key, case.credentials.secret_key, case.credentials.session_token
    )
    with _botocore_clock(case.now):
        botocore.auth.S3SigV4QueryAuth(held, "s3", case.region, case.expires_in).add_auth(request)
    return str(request.url)


@lru_cache(maxsize=64)
def _client(region: str, endpoint_url: str | None) -> tuple[Any, Any]:
    """A real S3 client, and its credentials, which may be changed in place: making a client is slow.

    Only with both settings does botocore sign for the regional host everywhere: without `virtual` it presigns
    for the global one in every region of the partition `aws`, and with it alone still in us-east-1.
    """
    session = botocore.session.Session()
    session.set_credentials("replaced", "replaced")
    config = Config(
        signature_version="s3v4",
        s3={
            "addressing_style": "virtual" if endpoint_url is None else "path",
            "us_east_1_regional_endpoint": "regional",
        },
    )
    client = session.create_client("s3", region_name=region, endpoint_url=endpoint_url, config=config)
    return client, session.get_credentials()


def _botocore_clock(now: datetime) -> Any:
    """botocore.auth imports the function by name, so it is that name which must be frozen."""
    naive = now.astimezone(UTC).replace(tzinfo=None)
    return mock.patch.object(botocore.auth, "get_current_datetime", return_value=naive)


@pytest.fixture(autouse=True, scope="module")
def _only_what_the_test_says() -> Iterator[None]:
    """botocore takes endpoints, profiles and regions from the environment; none of it belongs in here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
tokens = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=20)

SYNTAX = [
    " ",
    "  ",
    "+",
    "~",
    "%",
    "%2F",
    "%zz",
    "/",
    "//",
    ".",
    "..",
    "/./",
    "/../",
    "?",
    "#",
    "&",
    "=",
    ";",
    ":",
]
UNICODE = [
    "é",
    "e\u0301",
    "ß",
    "日本語",
    "👩\u200d👧",
    "\u202e",
    "\u00a0",
    "\u2028",
    "\x00",
    "\n",
    "\x7f",
    "\U0010ffff",
]
keys = (
    st.lists(st.sampled_from(SYNTAX) | st.sampled_from(UNICODE) | texts, max_size=8).map("".join).filter(bool)
)

IN_THE_HOST = ["photos", "waybill-local-000000000000", "a1b", "x" * 63, "xn--photos", "photos-s3alias"]
IN_THE_PATH = ["my.photos", "192.168.0.1", "Photos", "my_photos", "ab", "-photos", "photos-", "x" * 64]
ENDPOINTS = [
    "http://127.0.0.1:4566",
    "http://localhost:4566/",
    "http://127.0.0.1:80",
    "https://minio.example:443",
    "https://minio.example",
    "http://[::1]:4566",
    "HTTP://MinIO.Example:0443/base",
    "http://minio.example/a/b~c/",
]
REGIONS = ["us-east-1", "us-east-2", "eu-central-1", "ap-southeast-2", "us-gov-west-1", "cn-north-1"]

credentials = st.builds(
    Credentials,
    access_key=st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=128),
    secret_key=st.text(string.ascii_letters + string.digits + "+/", min_size=1, max_size=64),
    session_token=st.none() | st.text(string.ascii_letters + string.digits + "+/=", min_size=1, max_size=400),
)
cases = st.builds(
    Case,
    key=keys,
    bucket=st.sampled_from(IN_THE_HOST) | st.sampled_from(IN_THE_PATH),
    region=st.sampled_from(REGIONS),
    endpoint_url=st.none() | st.sampled_from(ENDPOINTS),
    credentials=credentials,
    expires_in=st.integers(1, 604_800),
    now=st.datetimes(datetime(2013, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC)),
)

UPLOAD_HEADERS = {
    "ContentType": "Content-Type",
    "ContentLength": "Content-Length",
    "ContentDisposition": "Content-Disposition",
    "CacheControl": "Cache-Control",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "IfNoneMatch": "If-None-Match",
}
upload_params = st.fixed_dictionaries(
    {"Metadata": st.dictionaries(tokens.map(str.lower), printable, max_size=4)},
    optional={
        "ContentType": printable.filter(lambda value: value != FORM),  # has a test of its own
        "ContentLength": st.integers(0, 5 * 1024**3),
        "ContentDisposition": printable,
        "CacheControl": printable,
        "ChecksumSHA256": st.binary(min_size=32, max_size=32).map(lambda raw: base64.b64encode(raw).decode()),
        "IfNoneMatch": st.just("*"),
    },
)
DOWNLOAD_QUERY = {
    "ResponseContentDisposition": "response-content-disposition",
    "ResponseContentType": "response-content-type",
    "ResponseCacheControl": "response-cache-control",
    "VersionId": "versionId",
}
# A list and not a dictionary, since the order of the parameters is part of the URL.
download_params = st.lists(
    st.tuples(st.sampled_from(list(DOWNLOAD_QUERY)), texts), unique_by=lambda pair: pair[0]
)

any_headers = st.dictionaries(
    tokens.map(str.lower).filter(
        lambda name: name not in {*botocore.auth.SIGNED_HEADERS_BLACKLIST, "host", "x-amz-content-sha256"}
    ),
    printable.filter(lambda value: value != FORM),
    max_size=6,
)
any_query = st.dictionaries(
    texts.filter(lambda name: not name.lower().startswith("x-amz-")), texts, max_size=6
)


class TestByteForByteWithBotocore:
    @settings(max_examples=75)
    @given(case=cases, params=upload_params)
    @example(Case("/lead//double/../ +~%é?#", region="us-east-1"), {"Metadata": {}})
    def test_put(self, case: Case, params: dict[str, Any]) -> None:
        headers = {header: str(params[name]) for name, header in UPLOAD_HEADERS.items() if name in params}
        headers |= {f"x-amz-meta-{name}": value for name, value in params["Metadata"].items()}

        assert by_hand("PUT", case, headers) == by_client("put_object", case, params)

    @settings(max_examples=75)
    @given(case=cases, params=download_params)
    def test_get(self, case: Case, params: list[tuple[str, str]]) -> None:
        query = {DOWNLOAD_QUERY[name]: value for name, value in params}

        assert by_hand("GET", case, query=query) == by_client("get_object", case, dict(params))

    @settings(max_examples=50)
    @given(case=cases, part_number=st.integers(1, 10_000), upload_id=texts.filter(bool))
    def test_upload_part(self, case: Case, part_number: int, upload_id: str) -> None:
        query = {"partNumber": str(part_number), "uploadId": upload_id}

        assert by_hand("PUT", case, query=query) == by_client(
            "upload_part", case, {"PartNumber": part_number, "UploadId": upload_id}
        )

    @settings(max_examples=200)
    @given(
        method=st.sampled_from(["DELETE", "GET", "HEAD", "POST", "PUT"]),
        case=cases,
        headers=any_headers,
        query=any_query,
    )
    @example("PUT", Case(), {"x-amz-content-sha256": "e3b0c442", "Zebra": " a  b ", "A": ""}, {})
    @example("GET", Case(), {}, {"b": "2", "a-b": "", "a": "1", "Z": "", "X-Amz-F": "~ +"})
    def test_any_header_and_any_parameter(
        self, method: str, case: Case, headers: dict[str, str], query: dict[str, str]
    ) -> None:
        assert by_hand(method, case, headers, query) == by_signer(method, case, headers, query)

    @pytest.mark.parametrize("bucket", ["photos", "my.photos"])
    def test_a_region_of_every_partition(self, bucket: str) -> None:
        session = botocore.session.Session()
        for partition in session.get_available_partitions():
            case = Case(bucket=bucket, region=session.get_available_regions("s3", partition)[0])

            assert by_hand("GET", case) == by_client("get_object", case)


class TestDocumentedExample:
    def test_presigned_get(self) -> None:
        """The example of "Authenticating Requests: Using Query Parameters", on the global host it uses."""
        url = presign(
            "GET",
            Location(
                origin="https://examplebucket.s3.amazonaws.com",
                host="examplebucket.s3.amazonaws.com",
                base_path="/",
                region="us-east-1",
            ),
            "test.txt",
            credentials=Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            expires_in=86_400,
            now=datetime(2013, 5, 24, tzinfo=UTC),
        )

        assert url == (
            "https://examplebucket.s3.amazonaws.com/test.txt"
            "?X-Amz-Algorithm=AWS4-HMAC-SHA256"
            "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
            "&X-Amz-Date=20130524T000000Z"
            "&X-Amz-Expires=86400"
            "&X-Amz-SignedHeaders=host"
            "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        )


class TestLocation:
    @pytest.mark.parametrize(
        ("bucket", "region", "endpoint_url", "origin", "base_path"),
        [
            ("photos", "us-east-1", None, "https://photos.s3.us-east-1.amazonaws.com", "/"),
            ("photos", "cn-north-1", None, "https://photos.s3.cn-north-1.amazonaws.com.cn", "/"),
            ("my.photos", "us-east-1", None, "https://s3.us-east-1.amazonaws.com", "/my.photos/"),
            ("photos", "us-east-1", "http://127.0.0.1:4566", "http://127.0.0.1:4566", "/photos/"),
            ("photos", "us-east-1", "http://minio/base/", "http://minio", "/base/photos/"),
        ],
    )
    def test_regional_host_or_path_style(
        self, bucket: str, region: str, endpoint_url: str | None, origin: str, base_path: str
    ) -> None:
        location = bucket_location(bucket, region, endpoint_url)

        assert (location.origin, location.base_path, location.region) == (origin, base_path, region)

    @pytest.mark.parametrize(
        ("endpoint_url", "host"),
        [
            ("http://127.0.0.1:4566", "127.0.0.1:4566"),
            ("http://MinIO.example:80", "minio.example"),
            ("https://minio.example:443", "minio.example"),
            ("https://minio.example:80", "minio.example:80"),
            ("http://[::1]:4566", "[::1]:4566"),
        ],
    )
    def test_host_header_as_a_client_sends_it(self, endpoint_url: str, host: str) -> None:
        assert bucket_location("photos", "us-east-1", endpoint_url).host == host

    @pytest.mark.parametrize("bucket", ["", "a/b", "bücher", "a b", "photos\n", "x" * 256])
    def test_malformed_bucket(self, bucket: str) -> None:
        with pytest.raises(ValueError, match="is not a bucket name"):
            bucket_location(bucket, "us-east-1")

    @pytest.mark.parametrize("bucket", ["photos--usw2-az1--x-s3", "photos--usw2-az1--xa-s3"])
    def test_directory_bucket(self, bucket: str) -> None:
        with pytest.raises(ValueError, match="is a directory bucket"):
            bucket_location(bucket, "us-west-2")

    @pytest.mark.parametrize(
        "region", ["", "aws-global", "us-east-1.evil.example", "us-east-1\n", "US-EAST-1"]
    )
    @pytest.mark.parametrize("endpoint_url", [None, "http://127.0.0.1:4566"])
    def test_malformed_region(self, region: str, endpoint_url: str | None) -> None:
        with pytest.raises(ValueError, match="is not an AWS region"):
            bucket_location("photos", region, endpoint_url)

    @pytest.mark.parametrize(
        "endpoint_url",
        [
            "",
            "127.0.0.1:4566",
            "ftp://minio",
            "http://",
            "http://mi nio",
            "http://minio:x",
            "http://minio?x=1",
            "http://minio#x",
            "http://minio\n",
            "http://minio/a//b",
            "http://minio/%41",
        ],
    )
    def test_malformed_endpoint(self, endpoint_url: str) -> None:
        with pytest.raises(ValueError, match="endpoint URL must be"):
            bucket_location("photos", "us-east-1", endpoint_url)

    def test_a_password_in_the_endpoint_is_refused_and_not_repeated(self) -> None:
        with pytest.raises(ValueError, match="without user") as refusal:
            bucket_location("photos", "us-east-1", "https://admin:hunter2@minio")

        assert "hunter2" not in str(refusal.value)


class TestSigningKeyOfTheDay:
    def test_rolls_over_at_midnight_utc_and_back(self) -> None:
        midnight = datetime(2026, 1, 1, tzinfo=UTC)
        moments = [Case(now=midnight + timedelta(seconds=offset)) for offset in (-1, 0, 1, -1)]

        urls = [by_hand("GET", case) for case in moments]

        assert urls == [by_client("get_object", case) for case in moments]
        days = [re.findall(r"%2F(\d{8})%2F", url) for url in urls]
        assert days == [["20251231"], ["20260101"], ["20260101"], ["20251231"]]

    def test_midnight_is_that_of_utc_wherever_now_comes_from(self) -> None:
        case = Case(now=datetime(2026, 1, 1, 8, 59, 59, tzinfo=timezone(timedelta(hours=9))))

        assert "X-Amz-Date=20251231T235959Z" in by_hand("GET", case)
        assert by_hand("GET", case) == by_client("get_object", case)

    @pytest.mark.parametrize(
        "changed",
        [
            Case(credentials=replace(KEYS, access_key="AKIDOTHER")),
            Case(credentials=replace(KEYS, secret_key="other")),
            Case(credentials=replace(KEYS, session_token="token")),
            Case(region="us-east-1"),
        ],
    )
    def test_rotated_credentials_or_another_region_take_effect_at_once(self, changed: Case) -> None:
        for case in (Case(), changed, Case()):
            assert by_hand("GET", case) == by_client("get_object", case)

    def test_without_now_the_url_starts_to_live_now(self) -> None:
        before = datetime.now(UTC).replace(microsecond=0)

        url = presign("GET", Case().location, "k", credentials=KEYS, expires_in=900)

        (stamp,) = parse_qs(urlsplit(url).query)["X-Amz-Date"]
        assert before <= datetime.strptime(stamp, "%Y%m%dT%H%M%S%z") <= datetime.now(UTC)


class TestBetterThanBotocore:
    """Where the URL differs on purpose; each also shows that botocore still does what makes it differ."""

    def test_an_empty_session_token_is_none(self) -> None:
        empty = Case(credentials=replace(KEYS, session_token=""))

        assert by_hand("GET", empty) == by_hand("GET", Case())
        assert "X-Amz-Security-Token=&" in by_client("get_object", empty)

    def test_a_form_is_a_content_type_like_any_other(self) -> None:
        url = by_hand("PUT", Case(), {"Content-Type": FORM})

        assert "X-Amz-SignedHeaders=content-type%3Bhost&" in url
        assert "X-Amz-SignedHeaders=host&" in by_client("put_object", Case(), {"ContentType": FORM})

    @pytest.mark.parametrize("name", botocore.auth.SIGNED_HEADERS_BLACKLIST)
    def test_a_header_that_cannot_be_signed_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="cannot be signed"):
            by_hand("PUT", Case(), {name.title(): "x"})

        assert "X-Amz-SignedHeaders=host&" in by_signer("PUT", Case(), {name: "x"}, {})


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (
                {"method": "PATCH"},
                "Method 'PATCH' cannot be presigned: use one of DELETE, GET, HEAD, POST, PUT.",
            ),
            ({"method": "get"}, "Method 'get' cannot be presigned"),
            ({"key": ""}, "The key is empty"),
            ({"key": "a\ud83d"}, "The key cannot be UTF-8"),
            ({"key": "\ud83d\ude00"}, "The key cannot be UTF-8"),
            ({"expires_in": 0}, "expires_in is 0: S3 takes 1 to 604800 seconds"),
            ({"expires_in": -1}, "expires_in is -1"),
            ({"expires_in": 604_801}, "expires_in is 604801"),
            ({"now": datetime(2026, 1, 1)}, "now has no timezone"),
            ({"headers": {"": "x"}}, "'' is not a header name"),
            ({"headers": {"a b": "x"}}, "'a b' is not a header name"),
            ({"headers": {"a:b": "x"}}, "'a:b' is not a header name"),
            ({"headers": {"a\r\nb": "x"}}, "is not a header name"),
            ({"headers": {"x-amz-meta-é": "x"}}, "'x-amz-meta-é' is not a header name"),
            ({"headers": {"x-\u212a": "x"}}, "is not a header name"),  # the Kelvin sign: lower() makes it a k
            ({"headers": {"HOST": "evil.example"}}, "Host, which comes from the location"),
            ({"headers": {"A": "1", "a": "2"}}, "Header 'a' is given twice"),
            ({"headers": {"A": "1\n2"}}, "The value of header 'A' must be printable ASCII"),
            ({"headers": {"A": "1\r\nB: 2"}}, "must be printable ASCII on one line"),
            ({"headers": {"A": "1\t2"}}, "must be printable ASCII"),
            ({"headers": {"A": "\x00"}}, "must be printable ASCII"),
            ({"headers": {"A": "é"}}, "must be printable ASCII"),
            (
                {"query": {"X-Amz-Expires": "604800"}},
                "Query parameter 'X-Amz-Expires' belongs to the signature",
            ),
            ({"query": {"x-amz-signature": "0"}}, "'x-amz-signature' belongs to the signature"),
            ({"query": {"a": "\udc00"}}, "The query cannot be UTF-8"),
            ({"query": {"\udc00": "a"}}, "The query cannot be UTF-8"),
        ],
    )
    def test_bad_argument(self, arguments: dict[str, Any], sentence: str) -> None:
        good: dict[str, Any] = {"method": "PUT", "key": "k", "credentials": KEYS, "expires_in": 900}

        with pytest.raises(ValueError, match=re.escape(sentence)):
            presign(location=Case().location, **(good | arguments))

    @pytest.mark.parametrize("expires_in", [1, 604_800])
    def test_the_limits_of_expiry_are_allowed(self, expires_in: int) -> None:
        case = Case(expires_in=expires_in)

        assert by_hand("GET", case) == by_client("get_object", case)

    def test_a_bad_value_is_not_repeated(self) -> None:
        name = "x-amz-server-side-encryption-customer-key"

        with pytest.raises(ValueError, match=name) as refusal:
            by_hand("PUT", Case(), {name: "hunter2\n"})

        assert "hunter2" not in str(refusal.value)


class TestSecrets:
    def test_printing_credentials_shows_only_the_access_key(self) -> None:
        shown = repr(Credentials("AKIDEXAMPLE", "the-secret", "the-token"))

        assert "AKIDEXAMPLE" in shown
        assert "the-secret" not in shown
        assert "the-token" not in shown


class TestImport:
    def test_signing_loads_no_sdk(self) -> None:
        script = """
import sys
from chalicelib.sigv4 import Credentials, bucket_location, presign
location = bucket_location("photos", "eu-central-1")
presign("PUT", location, "k", credentials=Credentials("a", "b"), expires_in=60)
print(*{name.partition(".")[0] for name in sys.modules})
"""
        ran = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        )

        loaded = set(ran.stdout.split())
        assert "chalicelib" in loaded
        assert loaded.isdisjoint({"boto3", "botocore", "s3transfer", "urllib3", "chalice"})
