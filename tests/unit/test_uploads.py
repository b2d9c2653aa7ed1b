"""What /presign signs: all that was declared, and nothing that the server would not choose itself."""

import base64
import hashlib
import socket
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from chalicelib import clients, keys, sigv4, uploads
from chalicelib.errors import BadRequest, Unavailable
from chalicelib.settings import Settings

BASE_URL = "https://api.example.com/v1"
BODY = b"hello"
SHA256 = hashlib.sha256(BODY).hexdigest()


def presign(settings: Settings, **wish: Any) -> dict[str, Any]:
    return uploads.presign(settings, "_", wish, BASE_URL)


def query(url: str) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}


def assert_signs(settings: Settings, signed: dict[str, Any], headers: dict[str, str]) -> None:
    """The URL is the one for exactly these headers, at the moment that it names."""
    moment = datetime.strptime(query(signed["uploadUrl"])["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    expected = sigv4.presign(
        "PUT",
        sigv4.bucket_location(settings.bucket, settings.region, settings.endpoint_url),
        signed["s3Key"],
        credentials=clients.credentials(),
        expires_in=settings.expires_in,
        headers=headers,
        now=moment,
    )
    assert signed["uploadUrl"] == expected


def test_an_empty_wish_is_a_url_that_takes_any_body(settings: Settings) -> None:
    signed = presign(settings)

    assert set(signed) == {
        *("uploadUrl", "s3Key", "jobId", "method", "headers", "fields", "expiresIn", "statusUrl")
    }
    assert signed["s3Key"] == f"uploads/_/{signed['jobId']}/file"
    assert (signed["method"], signed["headers"], signed["fields"]) == ("PUT", {}, {})
    assert signed["expiresIn"] == 900
    assert signed["statusUrl"] == f"{BASE_URL}/jobs/{signed['jobId']}"
    assert query(signed["uploadUrl"])["X-Amz-SignedHeaders"] == "host"
    assert query(signed["uploadUrl"])["X-Amz-Expires"] == "900"
    assert_signs(settings, signed, {})


def test_the_url_is_for_the_bucket_s_own_host_and_the_key_that_is_told(settings: Settings) -> None:
    signed = presign(settings, filename="Fête à + 100%.txt")

    parts = urlsplit(signed["uploadUrl"])
    assert parts.scheme == "https"
    assert parts.netloc == f"{settings.bucket}.s3.eu-central-1.amazonaws.com"
    assert unquote(parts.path) == "/" + signed["s3Key"]
    assert signed["s3Key"].endswith("/Fête à + 100%.txt")


def test_all_that_is_declared_is_signed(settings: Settings) -> None:
    signed = presign(
        settings,
        filename="hello.txt",
        contentType="text/plain; charset=utf-8",
        size=len(BODY),
        sha256=SHA256.upper(),
        metadata={"order": "7", "shop": "two words"},
    )

    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(BODY).digest()).decode(),
        "x-amz-meta-order": "7",
        "x-amz-meta-shop": "two words",
    }
    assert signed["headers"] == headers
    assert query(signed["uploadUrl"])["X-Amz-SignedHeaders"].split(";") == [
        *("content-length", "content-type", "host"),
        *("x-amz-checksum-sha256", "x-amz-meta-order", "x-amz-meta-shop"),
    ]
    assert_signs(settings, signed, headers | {"Content-Length": "5"})


@pytest.mark.parametrize("size", [5, 5.0])
def test_a_length_is_signed_in_digits_and_sent_by_the_client_itself(settings: Settings, size: float) -> None:
    """5.0 is a whole number in JSON, but no Content-Length."""
    signed = presign(settings, size=size)

    assert signed["headers"] == {}
    assert_signs(settings, signed, {"Content-Length": "5"})


@pytest.mark.parametrize("size", [101, 10**30, 1e30])
def test_a_file_that_would_be_refused_later_is_refused_now(env: dict[str, str], size: float) -> None:
    small = Settings.from_env(env | {"MAX_UPLOAD_BYTES": "100"})

    assert presign(small, size=100)["jobId"]
    with pytest.raises(BadRequest, match="at most 100 bytes") as caught:
        presign(small, size=size)
    assert caught.value.details == {"field": "size"}


def test_metadata_that_s3_would_not_take_is_refused(settings: Settings) -> None:
    fits = {f"n{n}": "x" * 254 for n in range(6)}

    assert len(presign(settings, metadata=fits)["headers"]) == 6
    with pytest.raises(BadRequest, match=r"metadata: .* 1536 bytes") as caught:
        presign(settings, metadata=fits | {"x": ""})
    assert caught.value.details == {"field": "metadata"}


def test_what_s3_has_to_keep_stays_within_its_2_kb(settings: Settings) -> None:
    """With the prefix of every name, and the mark that the move to the final prefix adds."""
    headers = presign(settings, metadata={f"{n:02}": "x" * 74 for n in range(20)})["headers"]

    kept = headers | {"x-amz-meta-waybill-etag": "0" * 40}
    assert sum(len(name) + len(value) for name, value in kept.items()) <= 2048


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\x00b\r\nc", "\u202egnp.exe", "x" * 4096, "\ud800", "/"]
)
def test_a_name_is_made_safe_before_it_is_signed(settings: Settings, name: str) -> None:
    signed = presign(settings, filename=name)

    assert signed["s3Key"] == f"uploads/_/{signed['jobId']}/{keys.safe_filename(name)}"
    place = keys.parse(settings, signed["s3Key"])
    assert place is not None
    assert place.job_id == signed["jobId"]


def test_the_owner_is_part_of_the_key(settings: Settings) -> None:
    signed = uploads.presign(settings, "alice", {}, BASE_URL)

    assert signed["s3Key"].startswith("uploads/alice/")


def test_every_url_is_for_a_new_job(settings: Settings) -> None:
    assert presign(settings)["jobId"] != presign(settings)["jobId"]


def test_prefix_expiry_and_endpoint_are_the_configured_ones(env: dict[str, str]) -> None:
    changed = Settings.from_env(
        env | {"UPLOAD_PREFIX": "in/", "EXPIRES_IN": "60", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    )

    signed = presign(changed)

    assert signed["uploadUrl"].startswith(f"http://127.0.0.1:4566/{changed.bucket}/in/_/")
    assert signed["expiresIn"] == 60
    assert query(signed["uploadUrl"])["X-Amz-Expires"] == "60"


def test_temporary_credentials_bring_their_token(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the/token+=")

    assert query(presign(settings)["uploadUrl"])["X-Amz-Security-Token"] == "the/token+="


def test_without_credentials_the_answer_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    clients.reset()

    with pytest.raises(Unavailable, match="AWS_ACCESS_KEY_ID") as caught:
        presign(settings)

    assert caught.value.code == "no_credentials"
    clients.reset()


def test_nothing_is_called_and_nothing_is_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)

    assert presign(settings, filename="a.txt", size=5)["uploadUrl"]


def test_a_signed_url_is_not_logged(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    presign(settings, filename="secret-plan.txt")

    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


class TestClients:
    def test_what_is_signed_by_hand_and_what_boto3_calls_are_in_the_same_region(
        self, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By itself boto3 would take the other one of the two."""
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        clients.reset()

        settings = Settings.from_env(env | {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"})

        assert settings.region == "eu-west-1"
        for client in (clients.s3(), clients.dynamodb(), clients.sqs(), clients.sns()):
            assert client.meta.region_name == settings.region
        clients.reset()

    def test_the_default_region_does_when_there_is_no_other(
        self, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del env
        monkeypatch.delenv("AWS_REGION")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
        clients.reset()

        assert clients.sqs().meta.region_name == "us-east-2"
        clients.reset()

    def test_a_client_is_made_once(self, aws: Settings) -> None:
        del aws

        assert clients.s3() is clients.s3()
        first = clients.s3()
        clients.reset()
        assert clients.s3() is not first
