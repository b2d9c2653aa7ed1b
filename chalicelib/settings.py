"""Every setting, from the environment, validated once.

A wrong or missing value is refused at start by the name of its variable. The AWS SDK's own variables
(`AWS_REGION`, `AWS_ENDPOINT_URL`) are read under the SDK's names, so that signing by hand and calling
through boto3 always mean the same place.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

from chalicelib.errors import SettingsError
from chalicelib.sigv4 import Location, bucket_location

T = TypeVar("T")

MiB = 1024 * 1024
GiB = 1024 * MiB
TiB = 1024 * GiB

# Amazon S3 User Guide, "Bucket naming rules"; a directory bucket takes another kind of signature.
# As text: a cold start compiles those alone that it needs.
_BUCKET = r"(?!.*(?:\.\.|--x-s3$|--xa-s3$))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_TABLE = r"[A-Za-z0-9_.-]{3,255}"  # DynamoDB Developer Guide, "Naming rules"
_PREFIX = r"[A-Za-z0-9_-]{1,64}/"
_REGION = r"[a-z]+(-[a-z]+)+-[0-9]+"
_HOST = r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_URL = rf"{_HOST}(?:/[A-Za-z0-9._~-]+)*/?"
_JWKS = rf"{_URL}(?:\?[A-Za-z0-9._~%=&-]+)?"
_QUEUE = rf"{_HOST}(?:/[A-Za-z0-9._~-]+)*/[A-Za-z0-9_-]{{1,80}}"
_QUEUE_KIND = "the URL of an SQS queue"
_TYPE = r"[a-z0-9!#&^_.+-]+/(?:[a-z0-9!#&^_.+-]+|\*)"  # RFC 6838, section 4.2, or a whole top-level type
_TYPES = rf"{_TYPE}(?: *, *{_TYPE})*"
_LANGUAGE = r"[a-z]{2,3}-[A-Z]{2}"  # Amazon Transcribe Developer Guide, "Supported languages"
_LOOPBACK = r"https?://(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?(?:/.*)?"
_PRINTABLE = r"[\x21-\x7e]{1,512}"
_STATE_MACHINE = r"arn:[a-z-]+:states:[a-z0-9-]+:[0-9]{12}:stateMachine:[A-Za-z0-9_-]{1,80}"
_TOPIC = r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}"

_PREFIX_SETTINGS = (
    "upload_prefix",
    "incoming_prefix",
    "processed_prefix",
    "rejected_prefix",
    "failed_prefix",
)
_PREFIX_KIND = "one path segment and a slash, such as uploads/"
_LONGEST_SHOWN = 80

FAMILIES = ("image", "pdf", "data", "text", "audio", "video", "other")
"""Of file types; each has a processor at most."""

RETRY_SECONDS = "5,300,1800,7200,18000" + 7 * ",36000"
"""As the example in Standard Webhooks 1.0.0, "Deliverability and reliability", over the same three days. Its
last waits, of 14 to 24 hours, are broken up: SQS holds a message back for 12 hours at most."""

MAX_RETRIES = 24
MAX_RETRY_WAIT = 36_000
MAX_RETRY_TIME = 300_000
"""Seconds, of all waits together: with one wait more, still below the four days that the queue keeps a
message."""

TRANSCRIBERS = ("none", "pocketsphinx", "amazon")
"""Who recognises speech: nobody, the worker itself, Amazon Transcribe."""

MIN_SECRET_BYTES = 32
"""What HS256 wants of its key (RFC 7518, section 3.2)."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a caller's token is checked by: a shared secret (HS256), or the issuer's keys (RS256, ES256)."""

    secret: str | None = field(repr=False)
    jwks_url: str | None
    issuer: str | None
    audience: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one deployment; what each variable takes and what it is for is in docs/settings.md."""

    bucket: str
    upload_prefix: str
    incoming_prefix: str
    processed_prefix: str
    rejected_prefix: str
    failed_prefix: str
    jobs_table: str
    events_table: str
    webhooks_table: str
    deliveries_table: str
    """The log of what was sent to webhooks."""
    queue_url: str
    deliveries_queue_url: str
    deliveries_dead_letter_queue_url: str
    topic_arn: str
    state_machine_arn: str | None
    """What does heavy work; where there is none, large files are kept as they are."""
    region: str
    endpoint_url: str | None
    public_url: str | None
    auth_mode: str
    tokens: TokenRules | None
    """None where nobody has to say who they are."""
    expires_in: int
    """Seconds for which a signed URL is good."""
    max_upload_bytes: int
    """Of a file, however it comes; in one request S3 takes no more than 5 GiB."""
    allowed_types: tuple[str, ...]
    """Media types, or top-level types such as `image/*`; empty allows all."""
    allowed_families: tuple[str, ...]
    """Of what files are by their bytes; empty allows all."""
    light_limit_bytes: int
    """Above this size the original is heavy work."""
    worker_limit_bytes: int
    """Above this size the original is kept as it is: it would not fit the worker's disk."""
    workflow_seconds: int
    """How long heavy work may take, from its start to its end: the state machine's own timeout."""
    decode_seconds: int
    """Of CPU, for one file."""
    decode_memory_bytes: int
    """Of address space, for the process that decodes."""
    heavy_decode_seconds: int
    """Of CPU, for one file that is too heavy for a function: a film, or what is large."""
    heavy_memory_bytes: int
    consume_concurrency: int
    """Batches of jobs that are worked on at once, by one function process each; read at a deploy."""
    deliver_concurrency: int
    """The same of deliveries to webhooks."""
    lease_seconds: int
    max_attempts: int
    sweep_after_seconds: int
    retention_days: int
    """How long an ended job stays in the ledger; 0 keeps it for good."""
    max_events: int
    """How many events one JSON file may hold."""
    max_rows: int
    """Of a CSV file."""
    max_pixels: int
    """Of an image, or of one frame of it."""
    max_pages: int
    """Of a PDF."""
    max_duration_seconds: int
    """Of sound or of a film."""
    transcriber: str
    """One of `TRANSCRIBERS`."""
    transcribe_language: str | None
    """That Amazon Transcribe is told; None lets it find out."""
    max_transcript_seconds: int
    """Of sound, how much of one file the worker recognises."""
    quota_open_jobs: int
    """How many jobs of one owner may be open when another upload is signed; 0 does not ask."""
    quota_open_bytes: int
    """Their bytes, those of the upload among them; 0 does not ask."""
    malware_scan: str
    """Who scans files for malware before they are touched: `none` or `guardduty`."""
    webhook_allow_insecure: bool
    """Lets webhooks go to plain http and to private addresses: for a stack on one's own machine."""
    webhook_retry_seconds: tuple[int, ...]
    """What lies between one attempt to deliver an event and the next."""

    @classmethod
    def for_worker(cls, env: Mapping[str, str]) -> "Settings":
        """Of a process that answers nobody: it is told of no tokens, and would believe none.

        Raises:
            SettingsError: as `from_env`.
        """
        return cls.from_env(env, serves=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, serves: bool = True) -> "Settings":
        """Read and check all of it.

        Raises:
            SettingsError: naming the variable, what it held, and what it takes.
        """
        read = _Reader(env)
        settings = cls(
            bucket=read.text("BUCKET_NAME", _BUCKET, "an S3 bucket name"),
            upload_prefix=read.text("UPLOAD_PREFIX", _PREFIX, _PREFIX_KIND, "uploads/"),
            incoming_prefix=read.text("INCOMING_PREFIX", _PREFIX, _PREFIX_KIND, "incoming/"),
            processed_prefix=read.text("PROCESSED_PREFIX", _PREFIX, _PREFIX_KIND, "processed/"),
            rejected_prefix=read.text("REJECTED_PREFIX", _PREFIX, _PREFIX_KIND, "rejected/"),
            failed_prefix=read.text("FAILED_PREFIX", _PREFIX, _PREFIX_KIND, "failed/"),
            jobs_table=read.text("JOBS_TABLE", _TABLE, "a DynamoDB table name"),
            events_table=read.text("EVENTS_TABLE", _TABLE, "a DynamoDB table name"),
            webhooks_table=read.text("WEBHOOKS_TABLE", _TABLE, "a DynamoDB table name"),
            deliveries_table=read.text("DELIVERIES_TABLE", _TABLE, "a DynamoDB table name"),
            queue_url=read.text("QUEUE_URL", _QUEUE, _QUEUE_KIND),
            deliveries_queue_url=read.text("DELIVERIES_QUEUE_URL", _QUEUE, _QUEUE_KIND),
            deliveries_dead_letter_queue_url=read.text(
                "DELIVERIES_DEAD_LETTER_QUEUE_URL", _QUEUE, _QUEUE_KIND
            ),
            topic_arn=read.text("TOPIC_ARN", _TOPIC, "the ARN of an SNS topic"),
            state_machine_arn=read.optional(
                "STATE_MACHINE_ARN", _STATE_MACHINE, "the ARN of a Step Functions state machine"
            ),
            region=read.region(),
            endpoint_url=read.endpoint(),
            public_url=read.optional("PUBLIC_URL", _URL, "the http(s) URL that clients call the API by"),
            auth_mode=(auth_mode := read.choice("AUTH_MODE", ("none", "jwt")) if serves else "jwt"),
            tokens=read.tokens() if serves and auth_mode == "jwt" else None,
            expires_in=read.number("EXPIRES_IN", 900, 1, 604_800),
            max_upload_bytes=read.number("MAX_UPLOAD_BYTES", 5 * GiB, 1, 5 * TiB),
            allowed_types=read.types("ALLOWED_TYPES"),
            allowed_families=read.families("ALLOWED_FAMILIES"),
            light_limit_bytes=read.number("LIGHT_LIMIT_BYTES", 64 * MiB, 1, 512 * MiB),
            worker_limit_bytes=read.number("WORKER_LIMIT_BYTES", 20 * GiB, 1, 5 * TiB),
            workflow_seconds=read.number("WORKFLOW_SECONDS", 21_600, 60, 604_800),
            decode_seconds=read.number("DECODE_SECONDS", 10, 1, 600),
            decode_memory_bytes=read.number("DECODE_MEMORY_BYTES", GiB, 512 * MiB, 64 * GiB),
            heavy_decode_seconds=read.number("HEAVY_DECODE_SECONDS", 14_400, 1, 86_400),
            heavy_memory_bytes=read.number("HEAVY_MEMORY_BYTES", 3 * GiB, GiB, 64 * GiB),
            consume_concurrency=read.number("CONSUME_CONCURRENCY", 50, 2, 1_000),
            deliver_concurrency=read.number("DELIVER_CONCURRENCY", 20, 2, 1_000),
            lease_seconds=read.number("LEASE_SECONDS", 90, 5, 86_400),
            max_attempts=read.number("MAX_ATTEMPTS", 5, 1, 100),
            sweep_after_seconds=read.number("SWEEP_AFTER_SECONDS", 900, 1, 86_400),
            retention_days=read.number("RETENTION_DAYS", 0, 0, 3_650),
            max_events=read.number("MAX_EVENTS", 10_000, 1, 1_000_000),
            max_rows=read.number("MAX_ROWS", 5_000_000, 1, 1_000_000_000),
            max_pixels=read.number("MAX_PIXELS", 100_000_000, 1, 2_000_000_000),
            max_pages=read.number("MAX_PAGES", 10_000, 1, 1_000_000),
            max_duration_seconds=read.number("MAX_DURATION_SECONDS", 4 * 3_600, 1, 7 * 86_400),
            transcriber=read.choice("TRANSCRIBER", TRANSCRIBERS, "pocketsphinx"),
            transcribe_language=read.optional("TRANSCRIBE_LANGUAGE", _LANGUAGE, "a language such as en-US"),
            max_transcript_seconds=read.number("MAX_TRANSCRIPT_SECONDS", 3_600, 1, 86_400),
            quota_open_jobs=read.number("QUOTA_OPEN_JOBS", 0, 0, 1_000),
            quota_open_bytes=read.number("QUOTA_OPEN_BYTES", 0, 0, 1024 * TiB),
            malware_scan=read.choice("MALWARE_SCAN", ("none", "guardduty"), "none"),
            webhook_allow_insecure=read.flag("WEBHOOK_ALLOW_INSECURE"),
            webhook_retry_seconds=read.waits("WEBHOOK_RETRY_SECONDS", RETRY_SECONDS),
        )
        settings._refuse_equal_prefixes()
        if auth_mode == "none" and not _stays_on_this_machine(env):
            raise SettingsError(
                "AUTH_MODE is none, which opens every file to everybody: on AWS it takes jwt. none is for a "
                "stack on one's own machine, where AWS_ENDPOINT_URL names 127.0.0.1 or localhost."
            )
        if settings.webhook_allow_insecure and not _stays_on_this_machine(env):
            raise SettingsError(
                "WEBHOOK_ALLOW_INSECURE is true, which lets webhooks call into the private network: on AWS "
                "it takes false."
            )
        return settings

    def _refuse_equal_prefixes(self) -> None:
        """Work that ends where it began would begin again, for ever."""
        for one, other in combinations(_PREFIX_SETTINGS, 2):
            prefix = getattr(self, one)
            if prefix == getattr(self, other):
                raise SettingsError(
                    f"{one.upper()} and {other.upper()} are both {prefix!r}: each takes one of its own."
                )

    @property
    def location(self) -> Location:
        """Where the bucket answers."""
        return bucket_location(self.bucket, self.region, self.endpoint_url)

    @property
    def open_prefixes(self) -> tuple[str, ...]:
        """Where work that is not done lies."""
        return (self.upload_prefix, self.incoming_prefix)

    @property
    def ended_prefixes(self) -> tuple[str, ...]:
        """Where an original lies once its job has ended."""
        return (self.processed_prefix, self.rejected_prefix, self.failed_prefix)

    @property
    def scans_for_malware(self) -> bool:
        return self.malware_scan != "none"

    @property
    def stage(self) -> str:
        """What tells this deployment from others in metrics; infra/template.yaml names the table after it."""
        return self.jobs_table.removeprefix("waybill-").removesuffix("-jobs")

    @property
    def queue_name(self) -> str:
        return self.queue_url.rsplit("/", 1)[-1]

    @property
    def deliveries_queue_name(self) -> str:
        return self.deliveries_queue_url.rsplit("/", 1)[-1]

    def allows_type(self, media_type: str) -> bool:
        """Whether this deployment takes files of a media type, whose parameters do not matter."""
        name = media_type.split(";")[0].strip().lower()
        family = name.split("/")[0] + "/*"
        return not self.allowed_types or name in self.allowed_types or family in self.allowed_types

    def allows_family(self, family: str) -> bool:
        return not self.allowed_families or family in self.allowed_families


HTTP_HANDLER = "app.app"
"""What Lambda calls the one function that answers requests."""


@lru_cache(maxsize=1)
def get() -> Settings:
    """The settings of this process.

    A function that answers nobody need not know by what secret callers are told from each other: Lambda says
    in `_HANDLER` which one it is (Developer Guide, "Defined runtime environment variables").
    """
    return Settings.from_env(os.environ, serves=os.environ.get("_HANDLER", HTTP_HANDLER) == HTTP_HANDLER)


def _stays_on_this_machine(env: Mapping[str, str]) -> bool:
    """Whether the AWS that this process talks to is an embedded one, of its own machine."""
    endpoints = [url for name, url in env.items() if name.startswith("AWS_ENDPOINT_URL") and url]
    return bool(env.get("AWS_ENDPOINT_URL")) and all(re.fullmatch(_LOOPBACK, url) for url in endpoints)


class _Reader:
    """Takes one variable at a time; an empty one counts as unset, as deployment tools often leave it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def text(self, name: str, pattern: str, kind: str, default: str | None = None) -> str:
        return self._read(name, default, lambda raw: _matching(raw, pattern), kind)

    def optional(self, name: str, pattern: str, kind: str) -> str | None:
        return self.text(name, pattern, kind) if self._env.get(name) else None

    def number(self, name: str, default: int, low: int, high: int) -> int:
        return self._read(
            name, str(default), lambda raw: _between(raw, low, high), f"a whole number from {low} to {high}"
        )

    def types(self, name: str) -> tuple[str, ...]:
        if not self._env.get(name):
            return ()
        kind = "media types with commas between them, such as application/pdf,image/*"
        listed = self._read(name, None, lambda raw: _matching(raw.strip().lower(), _TYPES), kind)
        return tuple(one.strip() for one in listed.split(","))

    def families(self, name: str) -> tuple[str, ...]:
        def parse(raw: str) -> tuple[str, ...]:
            return tuple(FAMILIES[FAMILIES.index(one.strip().lower())] for one in raw.split(","))

        if not self._env.get(name):
            return ()
        return self._read(
            name, None, parse, "some of these, with commas between them: " + ", ".join(FAMILIES)
        )

    def waits(self, name: str, default: str) -> tuple[int, ...]:
        def parse(raw: str) -> tuple[int, ...]:
            waits = tuple(_between(one.strip(), 1, MAX_RETRY_WAIT) for one in raw.split(","))
            if len(waits) > MAX_RETRIES or sum(waits) > MAX_RETRY_TIME:
                raise ValueError(raw)
            return waits

        kind = (
            f"up to {MAX_RETRIES} waits in seconds with commas between them, each from 1 to "
            f"{MAX_RETRY_WAIT}, together at most {MAX_RETRY_TIME}"
        )
        return self._read(name, default, parse, kind)

    def choice(self, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
        return self._read(
            name, default, lambda raw: choices[choices.index(raw)], "one of: " + ", ".join(choices)
        )

    def flag(self, name: str) -> bool:
        return self._read(name, "false", lambda raw: {"true": True, "false": False}[raw], "true or false")

    def region(self) -> str:
        name = "AWS_REGION" if self._env.get("AWS_REGION") else "AWS_DEFAULT_REGION"
        return self.text(name, _REGION, "an AWS region such as eu-central-1")

    def endpoint(self) -> str | None:
        """S3's own endpoint before the general one: the SDKs' order (AWS SDKs and Tools Reference Guide)."""
        name = "AWS_ENDPOINT_URL_S3" if self._env.get("AWS_ENDPOINT_URL_S3") else "AWS_ENDPOINT_URL"
        return self.optional(name, _URL, "an http(s) URL without user, query or fragment")

    def tokens(self) -> TokenRules:
        """One of the two kinds of key. A JWKS is often shared by many services: only issuer and audience
        together say that a token was made for this one."""
        secret, jwks_url = self._secret("JWT_SECRET"), self._env.get("JWT_JWKS_URL")
        if bool(secret) == bool(jwks_url):
            state = "both set" if secret else "not set"
            raise SettingsError(f"JWT_SECRET and JWT_JWKS_URL are {state}: AUTH_MODE=jwt takes one of them.")
        claim = self.text if jwks_url else self.optional
        return TokenRules(
            secret=secret,
            jwks_url=self._jwks_url("JWT_JWKS_URL") if jwks_url else None,
            issuer=claim("JWT_ISSUER", _PRINTABLE, "the iss of your tokens"),
            audience=claim("JWT_AUDIENCE", _PRINTABLE, "the aud of your tokens"),
        )

    def _secret(self, name: str) -> str | None:
        """Never shown, not even in part."""
        secret = self._env.get(name)
        if secret and len(secret.encode("utf-8", "surrogateescape")) < MIN_SECRET_BYTES:
            raise SettingsError(
                f"{name} is too short: it takes at least {MIN_SECRET_BYTES} bytes, "
                "such as what `openssl rand -hex 32` prints."
            )
        if secret and "-----BEGIN " in secret:
            raise SettingsError(
                f"{name} is a key in PEM form, for signatures of another kind: it takes a secret."
            )
        return secret or None

    def _jwks_url(self, name: str) -> str:
        def parse(raw: str) -> str:
            if not raw.startswith("https:") and not re.fullmatch(_LOOPBACK, raw):
                raise ValueError(raw)
            return _matching(raw, _JWKS)

        return self._read(name, None, parse, "an https URL without user or fragment")

    def _read(self, name: str, default: str | None, parse: Callable[[str], T], kind: str) -> T:
        raw = self._env.get(name) or default
        if raw is None:
            raise SettingsError(f"{name} is not set: it takes {kind}.")
        try:
            return parse(raw)
        except (ValueError, KeyError):
            raise SettingsError(f"{name} is {_shown(raw)}: it takes {kind}.") from None


def _matching(raw: str, pattern: str) -> str:
    if not re.fullmatch(pattern, raw):
        raise ValueError(raw)
    return raw


def _between(raw: str, low: int, high: int) -> int:
    value = int(raw) if raw.isascii() and raw.isdigit() else -1
    if not low <= value <= high:
        raise ValueError(raw)
    return value


def _shown(raw: str) -> str:
    """As much of a wrong value as helps; the user, password and query of a URL stay out of logs."""
    harmless = re.sub(r"(?s)^(.*?//)?.*@", r"\1…@", re.sub(r"(?s)\?.*", "?…", raw))
    return repr(harmless if len(harmless) <= _LONGEST_SHOWN else harmless[:_LONGEST_SHOWN] + "…")
