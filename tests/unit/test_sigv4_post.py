"""A form signed by hand is right when nobody can tell it from botocore's; and it leaves nothing open."""

import base64
import json
import os
import string
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from unittest import mock

import botocore.auth
import botocore.session
import botocore.signers
import pytest
from botocore.config import Config
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.sigv4 import Credentials, bucket_location
from chalicelib.sigv4_post import Form, presign_form

KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FIELDS = {
    "x-amz-meta-order": "7",
    "Content-Type": "text/csv; charset=utf-8",
    "x-amz-checksum-sha256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    "success_action_status": "201",
}


@pytest.fixture(autouse=True, scope="module")
def _only_what_the_test_says() -> Iterator[None]:
    """botocore takes endpoints, profiles and regions from the environment; none of it belongs in here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@lru_cache(maxsize=64)
def _client(region: str, endpoint_url: str | None) -> tuple[Any, Any]:
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


def by_botocore(
    bucket: str,
    region: str,
    endpoint_url: str | None,
    key: str,
    credentials: Credentials,
    expires_in: int,
    size: tuple[int, int],
    fields: Mapping[str, str],
    now: datetime,
) -> Form:
    client, held = _client(region, endpoint_url)
    held.access_key, held.secret_key = credentials.access_key, credentials.secret_key
    held.token = credentials.session_token
    naive = now.replace(tzinfo=None)
    with (
        mock.patch.object(botocore.auth, "get_current_datetime", return_value=naive),
        mock.patch.object(botocore.signers, "get_current_datetime", return_value=naive),
    ):
        made = client.generate_presigned_post(
            bucket,
            key,
            Fields=dict(fields),
            Conditions=[["content-length-range", *size], *({n: v} for n, v in fields.items())],
            ExpiresIn=expires_in,
        )
    return Form(made["url"], made["fields"])


def by_hand(key: str = "uploads/_/1/a.csv", **changes: Any) -> Form:
    wish: dict[str, Any] = {
        "credentials": KEYS,
        "expires_in": 900,
        "size": (1, 100),
        "fields": FIELDS,
        "now": NOON,
    }
    return presign_form(bucket_location("photos", "eu-central-1"), "photos", key, **{**wish, **changes})


def policy(form: Form) -> Any:
    return json.loads(base64.b64decode(form.fields["policy"]))


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
credentials = st.builds(
    Credentials,
    access_key=st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=128),
    secret_key=st.text(string.ascii_letters + string.digits + "+/", min_size=1, max_size=64),
    session_token=st.none() | st.text(string.ascii_letters + string.digits + "+/=", min_size=1, max_size=400),
)


@given(
    bucket=st.sampled_from(["photos", "waybill-local-000000000000", "my.photos"]),
    region=st.sampled_from(["us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1"]),
    endpoint_url=st.none()
    | st.sampled_from(["http://127.0.0.1:4566", "https://minio.example", "http://[::1]:1/"]),
    key=texts.filter(lambda key: "${filename}" not in key),
    credentials=credentials,
    expires_in=st.integers(1, 604_800),
    size=st.tuples(st.integers(0, 2**43), st.integers(0, 2**43)).map(sorted).map(tuple),
    fields=st.dictionaries(st.sampled_from(list(FIELDS)), texts),
    now=st.datetimes(datetime(2013, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC)),
)
@example("photos", "us-east-1", None, 'a "quoted" \\ $5 é 👩', KEYS, 900, (5, 5), FIELDS, NOON)
@example("my.photos", "cn-north-1", None, "//../a", Credentials("A", "b", "t+/="), 1, (0, 1), {}, NOON)
def test_nobody_can_tell_it_from_botocores(
    bucket: str,
    region: str,
    endpoint_url: str | None,
    key: str,
    credentials: Credentials,
    expires_in: int,
    size: tuple[int, int],
    fields: dict[str, str],
    now: datetime,
) -> None:
    form = presign_form(
        bucket_location(bucket, region, endpoint_url),
        bucket,
        key,
        credentials=credentials,
        expires_in=expires_in,
        size=size,
        fields=fields,
        now=now,
    )

    theirs = by_botocore(bucket, region, endpoint_url, key, credentials, expires_in, size, fields, now)
    assert form == theirs
    assert list(form.fields) == list(theirs.fields)


def test_every_field_is_a_condition_by_equality() -> None:
    form = by_hand(credentials=Credentials("A", "b", "token"))

    length, *exact = policy(form)["conditions"]

    assert length == ["content-length-range", 1, 100]
    conditions = {name: value for condition in exact for name, value in condition.items()}
    unsigned = {"policy", "x-amz-signature"}
    assert conditions == {n: v for n, v in form.fields.items() if n not in unsigned} | {"bucket": "photos"}
    assert conditions["x-amz-security-token"] == "token"
    assert "starts-with" not in json.dumps(policy(form))


def test_it_is_good_for_as_long_as_asked() -> None:
    assert policy(by_hand(expires_in=60))["expiration"] == "2026-03-01T12:01:00Z"


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ""},
        {"key": "uploads/_/1/${filename}"},
        {"key": "uploads/_/${filename}/a"},
        {"expires_in": 0},
        {"expires_in": 604_801},
        {"size": (2, 1)},
        {"size": (-1, 1)},
        {"now": datetime(2026, 3, 1)},
    ],
)
def test_what_s3_would_refuse_is_refused_here(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\."):
        by_hand(**wrong)


def test_a_form_shows_no_secret_where_it_is_logged() -> None:
    form = by_hand()

    assert form.fields["x-amz-signature"] not in repr(form)
    assert form.fields["policy"] not in repr(form)
