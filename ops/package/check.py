"""Whether a package works where nothing else is installed, and what its start costs.

It is unpacked, made read-only, and imported by a clean interpreter: see `probe`.
"""

import base64
import hashlib
import hmac
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.package.packager import PackageError

PROBE = Path(__file__).with_name("probe.py")

ZIP_LIMIT = 50_000_000
"""Bytes that can be sent to Lambda directly ("Lambda quotas", deployment package)."""
UNPACKED_LIMIT = 250_000_000
"""Bytes that a function and its layers may take on `/var/task` (same place)."""

MEDIA = ("av", "av.libs", "pocketsphinx", "sounddevice")
"""What heavy work needs, and only the worker's container has."""

SECRET = "-" * 32
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AUTH_MODE": "jwt",
    "JWT_SECRET": SECRET,
    "BUCKET_NAME": "waybill-bucket",
    "JOBS_TABLE": "waybill-jobs",
    "EVENTS_TABLE": "waybill-events",
    "WEBHOOKS_TABLE": "waybill-webhooks",
    "DELIVERIES_TABLE": "waybill-deliveries",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-jobs",
    "DELIVERIES_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-deliveries",
    "DELIVERIES_DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/waybill-dead",
    "TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:waybill-events",
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:waybill-heavy",
}
"""Of a stage on AWS that does not exist."""


@dataclass(frozen=True)
class ColdStart:
    """CPU seconds of a new interpreter, to the end of what it is for."""

    what: str
    with_byte_code: float
    without: float


def contents(package: Path) -> int:
    """The bytes it takes when unpacked.

    Raises:
        PackageError: it is too large, or holds what belongs into the container.
    """
    with zipfile.ZipFile(package) as packed:
        unpacked = sum(entry.file_size for entry in packed.infolist())
        tops = {entry.filename.split("/")[0] for entry in packed.infolist()}
    for size, limit, state in (
        (package.stat().st_size, ZIP_LIMIT, "zipped"),
        (unpacked, UNPACKED_LIMIT, "unpacked"),
    ):
        if size > limit:
            raise PackageError(
                f"the package has {megabytes(size)} {state}, and Lambda takes {megabytes(limit)}; "
                "python -m ops.package --list shows what is large"
            )
    if heavy := sorted(tops.intersection(MEDIA)):
        raise PackageError(
            f"{heavy[0]} is in the package; what only heavy work needs goes into worker/requirements.txt"
        )
    return unpacked


@contextmanager
def unpacked(package: Path) -> Iterator[Path]:
    """Its files in a directory that may not be written to, as `/var/task` may not."""
    with tempfile.TemporaryDirectory(prefix="waybill-task-") as directory:
        task = Path(directory).resolve() / "task"
        with zipfile.ZipFile(package) as packed:
            packed.extractall(task)
        _allow_writing(task, False)
        try:
            yield task
        finally:
            _allow_writing(task, True)


def works(task: Path, handlers: Sequence[str]) -> None:
    """
    Raises:
        PackageError: with the last line of what the interpreter said.
    """
    before = set(task.rglob("*"))
    _probe(task, "everything", *handlers)
    if written := sorted(set(task.rglob("*")) - before):
        raise PackageError(f"{written[0].relative_to(task)} was written when the package was imported")


def cold_starts(task: Path, rounds: int = 5) -> list[ColdStart]:
    """Measured side by side: with and without byte code, in turn."""
    names = {"presign": "to the first signed URL", "consume": "to the first call of AWS"}
    with tempfile.TemporaryDirectory(prefix="waybill-task-") as directory:
        bare = Path(directory) / "task"
        shutil.copytree(task, bare, ignore=shutil.ignore_patterns("__pycache__"))
        _allow_writing(bare, True)
        measured: dict[tuple[str, Path], list[float]] = {}
        for _ in range(rounds):
            for what in names:
                for root in (task, bare):
                    measured.setdefault((what, root), []).append(_probe(root, what, options=["-B"]))
        return [
            ColdStart(said, statistics.median(measured[what, task]), statistics.median(measured[what, bare]))
            for what, said in names.items()
        ]


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _probe(task: Path, *arguments: str, options: Sequence[str] = ()) -> float:
    command = [sys.executable, "-I", "-S", *options, str(PROBE), str(task), *arguments]
    env = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    ran = subprocess.run(
        command, env={**env, **ENVIRONMENT, "PROBE_TOKEN": _token()}, cwd=task, capture_output=True, text=True
    )
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [f"the interpreter ended with {ran.returncode}"]
        raise PackageError(f"the package does not start: {said[-1]}")
    cpu: float = json.loads(ran.stdout.splitlines()[-1])["cpu"]
    return cpu


def _token() -> str:
    """Signed by hand: PyJWT may not be installed here."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"sub": "alice", "exp": int(time.time()) + 600}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{encoded(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"


def _allow_writing(task: Path, allowed: bool) -> None:
    for path in [task, *task.rglob("*")]:
        path.chmod((0o755 if allowed else 0o555) if path.is_dir() else (0o644 if allowed else 0o444))
