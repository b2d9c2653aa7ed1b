"""Settings: each variable by itself, what must fit together, and what an error may show."""

import re
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from chalicelib import settings as settings_module
from chalicelib.errors import SettingsError
from chalicelib.processors import REGISTRY
from chalicelib.settings import GiB, MiB, Settings, TiB

REQUIRED = [
    "BUCKET_NAME",
    "JOBS_TABLE",
    "EVENTS_TABLE",
    "WEBHOOKS_TABLE",
    "DELIVERIES_TABLE",
    "QUEUE_URL",
    "DELIVERIES_QUEUE_URL",
    "DELIVERIES_DEAD_LETTER_QUEUE_URL",
    "TOPIC_ARN",
    "AUTH_MODE",
]

PREFIXES = ["UPLOAD_PREFIX", "INCOMING_PREFIX", "PROCESSED_PREFIX", "REJECTED_PREFIX", "FAILED_PREFIX"]


def problem(env: dict[str, str], **changes: str) -> str:
    """What is said of an environment with these changes."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(env | changes)
    return caught.value.message


def without(env: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in names}


@pytest.mark.parametrize(
    ("name", "value", "attribute", "expected"),
    [
        ("BUCKET_NAME", "my.bucket-1", "bucket", "my.bucket-1"),
        ("UPLOAD_PREFIX", "in-box/", "upload_prefix", "in-box/"),
        ("INCOMING_PREFIX", "drops/", "incoming_prefix", "drops/"),
        ("PROCESSED_PREFIX", "done/", "processed_prefix", "done/"),
        ("REJECTED_PREFIX", "no_good/", "rejected_prefix", "no_good/"),
        ("FAILED_PREFIX", "broken/", "failed_prefix", "broken/"),
        ("JOBS_TABLE", "a.b_c-1", "jobs_table", "a.b_c-1"),
        ("EVENTS_TABLE", "events", "events_table", "events"),
        ("WEBHOOKS_TABLE", "hooks", "webhooks_table", "hooks"),
        (
            "QUEUE_URL",
            "http://127.0.0.1:4566/000000000000/q",
            "queue_url",
            "http://127.0.0.1:4566/000000000000/q",
        ),
        ("TOPIC_ARN", "arn:aws-cn:sns:cn-north-1:1" + "0" * 11 + ":t", "topic_arn", None),
        ("AWS_REGION", "us-gov-west-1", "region", "us-gov-west-1"),
        ("AWS_REGION", "eusc-de-east-1", "region", "eusc-de-east-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566", "endpoint_url", "http://127.0.0.1:4566"),
        ("AWS_ENDPOINT_URL", "http://[::1]:4566/", "endpoint_url", "http://[::1]:4566/"),
        ("PUBLIC_URL", "https://api.example.com/v1", "public_url", "https://api.example.com/v1"),
        ("AUTH_MODE", "none", "auth_mode", "none"),
        ("EXPIRES_IN", "1", "expires_in", 1),
        ("EXPIRES_IN", "604800", "expires_in", 604_800),
        ("MAX_UPLOAD_BYTES", "1", "max_upload_bytes", 1),
        ("MAX_UPLOAD_BYTES", str(5 * TiB), "max_upload_bytes", 5 * TiB),
        ("ALLOWED_TYPES", "text/csv", "allowed_types", ("text/csv",)),
        ("ALLOWED_TYPES", " Image/* , application/pdf", "allowed_types", ("image/*", "application/pdf")),
        ("ALLOWED_FAMILIES", "pdf", "allowed_families", ("pdf",)),
        ("ALLOWED_FAMILIES", " Image, pdf ,data", "allowed_families", ("image", "pdf", "data")),
        ("LIGHT_LIMIT_BYTES", "1024", "light_limit_bytes", 1024),
        ("DECODE_SECONDS", "1", "decode_seconds", 1),
        ("DECODE_SECONDS", "600", "decode_seconds", 600),
        ("DECODE_MEMORY_BYTES", str(512 * MiB), "decode_memory_bytes", 512 * MiB),
        ("CONSUME_CONCURRENCY", "1000", "consume_concurrency", 1_000),
        ("DELIVER_CONCURRENCY", "2", "deliver_concurrency", 2),
        ("LEASE_SECONDS", "5", "lease_seconds", 5),
        ("MAX_ATTEMPTS", "1", "max_attempts", 1),
        ("SWEEP_AFTER_SECONDS", "1", "sweep_after_seconds", 1),
        ("RETENTION_DAYS", "0", "retention_days", 0),
        ("RETENTION_DAYS", "30", "retention_days", 30),
        ("MAX_EVENTS", "1", "max_events", 1),
        ("MAX_ROWS", "1000000000", "max_rows", 1_000_000_000),
        ("TRANSCRIBER", "none", "transcriber", "none"),
        ("TRANSCRIBER", "pocketsphinx", "transcriber", "pocketsphinx"),
        ("TRANSCRIBER", "amazon", "transcriber", "amazon"),
        ("TRANSCRIBE_LANGUAGE", "de-DE", "transcribe_language", "de-DE"),
        ("MAX_TRANSCRIPT_SECONDS", "86400", "max_transcript_seconds", 86_400),
        ("MAX_PIXELS", "1", "max_pixels", 1),
        ("MAX_PAGES", "1000000", "max_pages", 1_000_000),
        ("MAX_DURATION_SECONDS", "60", "max_duration_seconds", 60),
        ("HEAVY_DECODE_SECONDS", "86400", "heavy_decode_seconds", 86_400),
        ("HEAVY_MEMORY_BYTES", str(GiB), "heavy_memory_bytes", GiB),
        ("WEBHOOK_ALLOW_INSECURE", "true", "webhook_allow_insecure", True),
        ("WEBHOOK_ALLOW_INSECURE", "false", "webhook_allow_insecure", False),
        ("DELIVERIES_TABLE", "log", "deliveries_table", "log"),
        ("WEBHOOK_RETRY_SECONDS", "1", "webhook_retry_seconds", (1,)),
        ("WEBHOOK_RETRY_SECONDS", "5, 60 ,36000", "webhook_retry_seconds", (5, 60, 36_000)),
        ("WEBHOOK_RETRY_SECONDS", ",".join(["12500"] * 24), "webhook_retry_seconds", (12_500,) * 24),
    ],
)
def test_a_valid_value_is_taken(
    env: dict[str, str], name: str, value: str, attribute: str, expected: object
) -> None:
    read = Settings.from_env(env | {name: value})

    assert getattr(read, attribute) == (value if expected is None else expected)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, ""])
def test_a_setting_without_a_default_must_be_set(env: dict[str, str], name: str, value: str | None) -> None:
    """An empty one counts as unset, as deployment tools often leave it."""
    changed = without(env, name) if value is None else env | {name: value}

    assert problem(changed).startswith(f"{name} is not set")


def test_the_region_must_be_set(env: dict[str, str]) -> None:
    assert "AWS_DEFAULT_REGION is not set" in problem(without(env, "AWS_REGION", "AWS_DEFAULT_REGION"))


def test_all_others_have_the_defaults_that_are_documented(env: dict[str, str]) -> None:
    read = Settings.from_env({name: env[name] for name in [*REQUIRED, "AWS_REGION"]})

    assert read.open_prefixes == ("uploads/", "incoming/")
    assert read.ended_prefixes == ("processed/", "rejected/", "failed/")
    assert (read.expires_in, read.lease_seconds, read.max_attempts) == (900, 90, 5)
    assert (read.max_upload_bytes, read.light_limit_bytes) == (5 * GiB, 64 * MiB)
    assert (read.allowed_types, read.allowed_families) == ((), ())
    assert (read.consume_concurrency, read.deliver_concurrency) == (50, 20)
    assert (read.decode_seconds, read.decode_memory_bytes) == (10, GiB)
    assert (read.sweep_after_seconds, read.retention_days) == (900, 0)
    assert (read.max_events, read.max_rows) == (10_000, 5_000_000)
    assert (read.max_pixels, read.max_pages, read.max_duration_seconds) == (100_000_000, 10_000, 14_400)
    assert (read.heavy_decode_seconds, read.heavy_memory_bytes) == (14_400, 3 * GiB)
    assert (read.transcriber, read.transcribe_language) == ("pocketsphinx", None)
    assert read.max_transcript_seconds == 3_600
    assert (read.endpoint_url, read.public_url, read.webhook_allow_insecure) == (None, None, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BUCKET_NAME", "Upper-Case"),
        ("BUCKET_NAME", "a"),
        ("BUCKET_NAME", "a" * 64),
        ("BUCKET_NAME", "two..dots"),
        ("BUCKET_NAME", "waybill--euw1-az1--x-s3"),
        ("BUCKET_NAME", "bucket\n"),
        ("JOBS_TABLE", "ab"),
        ("EVENTS_TABLE", "a table"),
        ("WEBHOOKS_TABLE", "a" * 256),
        ("QUEUE_URL", "waybill-jobs"),
        ("QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com"),
        ("QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/1/jobs.fifo"),
        ("TOPIC_ARN", "waybill-events"),
        ("TOPIC_ARN", "arn:aws:sns:eu-central-1:123456789012:topic:subscription"),
        ("TOPIC_ARN", "arn:aws:sns:eu-central-1:12345678901٣:topic"),
        ("AWS_REGION", "Frankfurt"),
        ("AWS_REGION", "eu-central"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:4566"),
        ("AWS_ENDPOINT_URL", "ftp://127.0.0.1"),
        ("AWS_ENDPOINT_URL", "http://localhost:4566/?x=1"),
        ("AWS_ENDPOINT_URL_S3", "localhost"),
        ("PUBLIC_URL", "api.example.com"),
        ("PUBLIC_URL", "https://api.example.com/#top"),
        ("AUTH_MODE", "None"),
        ("AUTH_MODE", "off"),
        ("EXPIRES_IN", "0"),
        ("EXPIRES_IN", "604801"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_UPLOAD_BYTES", str(5 * TiB + 1)),
        ("ALLOWED_TYPES", "csv"),
        ("ALLOWED_TYPES", "*/*"),
        ("ALLOWED_TYPES", "image/*,"),
        ("ALLOWED_TYPES", "text/plain; charset=utf-8"),
        ("ALLOWED_TYPES", "text/csv image/png"),
        ("ALLOWED_FAMILIES", "images"),
        ("ALLOWED_FAMILIES", "image,"),
        ("ALLOWED_FAMILIES", "image pdf"),
        ("LIGHT_LIMIT_BYTES", str(512 * MiB + 1)),
        ("DECODE_SECONDS", "0"),
        ("DECODE_SECONDS", "601"),
        ("DECODE_MEMORY_BYTES", str(512 * MiB - 1)),
        ("CONSUME_CONCURRENCY", "1"),
        ("DELIVER_CONCURRENCY", "1001"),
        ("LEASE_SECONDS", "4"),
        ("MAX_ATTEMPTS", "0"),
        ("MAX_ATTEMPTS", "101"),
        ("SWEEP_AFTER_SECONDS", "0"),
        ("RETENTION_DAYS", "-1"),
        ("MAX_EVENTS", "0"),
        ("MAX_ROWS", "0"),
        ("MAX_PIXELS", "2000000001"),
        ("MAX_PAGES", "all"),
        ("MAX_DURATION_SECONDS", "0"),
        ("HEAVY_DECODE_SECONDS", "0"),
        ("HEAVY_MEMORY_BYTES", str(GiB - 1)),
        ("TRANSCRIBER", "whisper"),
        ("TRANSCRIBER", "Amazon"),
        ("TRANSCRIBE_LANGUAGE", "English"),
        ("TRANSCRIBE_LANGUAGE", "en-us"),
        ("MAX_TRANSCRIPT_SECONDS", "0"),
        ("MAX_TRANSCRIPT_SECONDS", "86401"),
        ("WEBHOOK_ALLOW_INSECURE", "yes"),
        ("WEBHOOK_ALLOW_INSECURE", "True"),
        ("DELIVERIES_QUEUE_URL", "waybill-deliveries"),
        ("DELIVERIES_DEAD_LETTER_QUEUE_URL", "waybill-deliveries-dead"),
        ("WEBHOOK_RETRY_SECONDS", "0"),
        ("WEBHOOK_RETRY_SECONDS", "36001"),
        ("WEBHOOK_RETRY_SECONDS", "5,,6"),
        ("WEBHOOK_RETRY_SECONDS", "5;6"),
        ("WEBHOOK_RETRY_SECONDS", "-5"),
        ("WEBHOOK_RETRY_SECONDS", ",".join(["1"] * 25)),
        ("WEBHOOK_RETRY_SECONDS", ",".join(["36000"] * 9)),
    ],
)
def test_a_wrong_value_is_refused_by_name(env: dict[str, str], name: str, value: str) -> None:
    said = problem(env, **{name: value})

    assert said.startswith(f"{name} is ")
    assert "it takes " in said


def test_without_a_list_every_family_is_taken(env: dict[str, str]) -> None:
    assert all(Settings.from_env(env).allows_family(family) for family in settings_module.FAMILIES)

    some = Settings.from_env(env | {"ALLOWED_FAMILIES": "image,pdf"})

    assert [family for family in settings_module.FAMILIES if some.allows_family(family)] == ["image", "pdf"]


def test_every_processor_is_of_a_family_that_can_be_named() -> None:
    assert REGISTRY.keys() <= set(settings_module.FAMILIES)


@pytest.mark.parametrize("value", ["ten", "1.5", "9_00", "+900", " 900", "٩٠٠", "0x10", "1" * 5000])
def test_a_number_is_plain_digits(env: dict[str, str], value: str) -> None:
    assert problem(env, EXPIRES_IN=value).startswith("EXPIRES_IN is ")


@pytest.mark.parametrize("name", PREFIXES)
@pytest.mark.parametrize("value", ["work", "/work/", "a/b/", "/", "../", "wörk/", "work /", "w" * 65 + "/"])
def test_a_prefix_is_one_segment_and_a_slash(env: dict[str, str], name: str, value: str) -> None:
    assert problem(env, **{name: value}).startswith(f"{name} is ")


@pytest.mark.parametrize("one", PREFIXES)
@pytest.mark.parametrize("other", PREFIXES)
def test_two_equal_prefixes_are_refused_by_name(env: dict[str, str], one: str, other: str) -> None:
    """What ends where it began would begin again, for ever."""
    if one == other:
        assert getattr(Settings.from_env(env | {one: "same/"}), one.lower()) == "same/"
        return

    said = problem(env, **{one: "same/", other: "same/"})

    assert one in said
    assert other in said


def test_the_sdk_s_own_variables_are_taken_in_the_sdk_s_order(env: dict[str, str]) -> None:
    read = Settings.from_env(
        env
        | {
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": "http://general",
            "AWS_ENDPOINT_URL_S3": "http://special",
        }
    )

    assert (read.region, read.endpoint_url) == ("eu-west-1", "http://special")
    assert (
        Settings.from_env(env | {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-2"}).region == "us-east-2"
    )


@pytest.mark.parametrize(
    "value",
    [
        "http://admin:hunter2@localhost:4566",
        "http://admin:hunter2/with@slash@localhost",
        "admin:hunter2@localhost",
        "http://localhost:4566/?password=hunter2",
        "localhost?token=hunter2@x",
    ],
)
def test_an_error_shows_no_password(env: dict[str, str], value: str) -> None:
    for name in ("AWS_ENDPOINT_URL", "PUBLIC_URL", "QUEUE_URL"):
        said = problem(env, **{name: value})

        assert said.startswith(f"{name} is ")
        assert "hunter2" not in said


def test_an_error_does_not_repeat_a_wall_of_text(env: dict[str, str]) -> None:
    assert len(problem(env, BUCKET_NAME="X" * 10_000)) < 200


def test_the_credentials_are_no_setting(env: dict[str, str]) -> None:
    read = Settings.from_env(env | {"AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_SESSION_TOKEN": "hunter2"})

    assert "hunter2" not in repr(read)


def test_the_queue_s_name_is_the_end_of_its_url(env: dict[str, str]) -> None:
    assert Settings.from_env(env).queue_name == "waybill-test-jobs"


def test_settings_do_not_change(settings: Settings) -> None:
    with pytest.raises(FrozenInstanceError):
        settings.bucket = "another"  # type: ignore[misc]


def test_the_environment_is_read_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = settings_module.get()
    monkeypatch.setenv("BUCKET_NAME", "another-bucket")

    assert settings_module.get() is first
    assert first == settings


def test_a_failed_reading_is_not_kept(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings_module.get.cache_clear()
    monkeypatch.delenv("BUCKET_NAME")
    with pytest.raises(SettingsError):
        settings_module.get()
    monkeypatch.setenv("BUCKET_NAME", env["BUCKET_NAME"])

    assert settings_module.get().bucket == env["BUCKET_NAME"]
    settings_module.get.cache_clear()


# --- Who may call -------------------------------------------------------------------------------------------

SECRET = "hunter2-hunter2-hunter2-hunter2-"
JWKS = {
    "AUTH_MODE": "jwt",
    "JWT_JWKS_URL": "https://issuer.example.com/.well-known/jwks.json",
    "JWT_ISSUER": "https://issuer.example.com/",
    "JWT_AUDIENCE": "waybill",
}
MACHINE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
stays_on_this_machine = settings_module._stays_on_this_machine


@pytest.fixture
def strict_env(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Under the rule that other unit tests are exempt from."""
    monkeypatch.setattr(settings_module, "_stays_on_this_machine", stays_on_this_machine)
    return env


@pytest.mark.parametrize(
    "place",
    [
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
        {"AWS_ENDPOINT_URL": "http://localhost:4566/"},
        {"AWS_ENDPOINT_URL": "http://[::1]:4566"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_ENDPOINT_URL_S3": "http://127.0.0.2:9000"},
    ],
)
def test_an_embedded_aws_may_be_open_to_everybody(strict_env: dict[str, str], place: dict[str, str]) -> None:
    assert Settings.from_env(strict_env | place).tokens is None


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"AWS_ENDPOINT_URL": ""},
        {"AWS_ENDPOINT_URL": "https://s3.eu-central-1.amazonaws.com"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1.example.com"},
        {"AWS_ENDPOINT_URL": "http://localhost.example.com:4566"},
        {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:4566"},
        {**MACHINE, "AWS_ENDPOINT_URL_S3": "https://s3.eu-central-1.amazonaws.com"},
        {**MACHINE, "AWS_ENDPOINT_URL_DYNAMODB": "https://dynamodb.eu-central-1.amazonaws.com"},
    ],
)
def test_a_stage_on_aws_may_not(strict_env: dict[str, str], place: dict[str, str]) -> None:
    said = problem(strict_env, **place)

    assert said.startswith("AUTH_MODE is none")
    assert "jwt" in said


def test_a_secret_is_enough_to_check_tokens(strict_env: dict[str, str]) -> None:
    rules = Settings.from_env(strict_env | {"AUTH_MODE": "jwt", "JWT_SECRET": SECRET}).tokens

    assert rules
    assert (rules.secret, rules.jwks_url, rules.issuer, rules.audience) == (SECRET, None, None, None)


def test_issuer_and_audience_may_come_with_a_secret(strict_env: dict[str, str]) -> None:
    rules = Settings.from_env(
        strict_env
        | {"AUTH_MODE": "jwt", "JWT_SECRET": SECRET, "JWT_ISSUER": "https://i/", "JWT_AUDIENCE": "me"}
    ).tokens

    assert rules
    assert (rules.issuer, rules.audience) == ("https://i/", "me")


@pytest.mark.parametrize("secret", ["hunter2", "é" * 15, "x" * 31])
def test_a_short_secret_is_refused_and_not_repeated(env: dict[str, str], secret: str) -> None:
    said = problem(env, AUTH_MODE="jwt", JWT_SECRET=secret)

    assert said.startswith("JWT_SECRET is too short: it takes at least 32 bytes")
    assert secret not in said


def test_a_public_key_is_no_secret(env: dict[str, str]) -> None:
    """As one, everybody could sign with it."""
    said = problem(env, AUTH_MODE="jwt", JWT_SECRET="-----BEGIN PUBLIC KEY-----\n" + "hunter2" * 20)

    assert said.startswith("JWT_SECRET is a key in PEM form")
    assert "hunter2" not in said


def test_the_settings_do_not_show_the_secret(env: dict[str, str]) -> None:
    assert "hunter2" not in repr(Settings.from_env(env | {"AUTH_MODE": "jwt", "JWT_SECRET": SECRET}))


def test_who_asks_for_tokens_says_how_they_are_checked(env: dict[str, str]) -> None:
    assert problem(env, AUTH_MODE="jwt").startswith("JWT_SECRET and JWT_JWKS_URL are not set")
    assert problem(env, **JWKS, JWT_SECRET=SECRET).startswith("JWT_SECRET and JWT_JWKS_URL are both set")


@pytest.mark.parametrize(
    "url",
    [
        JWKS["JWT_JWKS_URL"],
        "https://issuer.example.com:8443/keys?p=b2c_1",
        "http://localhost:9000/jwks",
        "http://127.0.0.1/jwks",
    ],
)
def test_keys_come_from_a_url(env: dict[str, str], url: str) -> None:
    rules = Settings.from_env(env | JWKS | {"JWT_JWKS_URL": url}).tokens

    assert rules
    assert (rules.secret, rules.jwks_url) == (None, url)
    assert (rules.issuer, rules.audience) == (JWKS["JWT_ISSUER"], "waybill")


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com/jwks",
        "http://127.0.0.1.example.com/jwks",
        "http://localhost@example.com/jwks",
        "https://user:hunter2@issuer.example.com/jwks",
        "file:///etc/keys.json",
        "issuer.example.com/jwks",
        "https://issuer.example.com/jwks#top",
    ],
)
def test_keys_come_over_tls_or_from_this_machine(env: dict[str, str], url: str) -> None:
    said = problem(env, **JWKS | {"JWT_JWKS_URL": url})

    assert said.startswith("JWT_JWKS_URL is ")
    assert "hunter2" not in said


@pytest.mark.parametrize("name", ["JWT_ISSUER", "JWT_AUDIENCE"])
def test_with_keys_that_others_share_issuer_and_audience_must_be_said(env: dict[str, str], name: str) -> None:
    assert problem(without(env | JWKS, name)).startswith(f"{name} is not set")
    assert problem(env | JWKS, **{name: "two words"}).startswith(f"{name} is ")


def test_webhooks_go_into_the_private_network_on_ones_own_machine_only(
    strict_env: dict[str, str],
) -> None:
    aws = {
        "AUTH_MODE": "jwt",
        "JWT_SECRET": "s" * 32,
        "WEBHOOK_ALLOW_INSECURE": "true",
        "AWS_ENDPOINT_URL": "",
    }
    assert problem(strict_env, **aws).startswith("WEBHOOK_ALLOW_INSECURE is true")
    here = aws | {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    assert Settings.from_env(strict_env | here).webhook_allow_insecure


def test_an_hour_of_talk_has_time_to_be_heard(env: dict[str, str]) -> None:
    """A second and a quarter of it for each one where several people talk at once (docs/transcription.md)."""
    read = Settings.from_env({name: env[name] for name in [*REQUIRED, "AWS_REGION"]})

    assert read.heavy_decode_seconds > 2 * 1.25 * read.max_transcript_seconds


def test_each_of_them_has_one_row_in_the_documentation() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "settings.md").read_text("utf-8")
    rows = Counter(
        name for row in re.findall(r"^\| (`.*?) \|", page, re.M) for name in re.findall(r"`(\w+)`", row)
    )
    source = Path(settings_module.__file__).read_text("utf-8")
    read = set(re.findall(r"""read\.\w+\(\s*"([A-Z_]+)\"""", source))
    assert read <= set(rows)
    assert [name for name, count in rows.items() if count > 1] == []
