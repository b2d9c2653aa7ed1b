"""The order in which test files begin, so that no process waits for another in the end.

Files of the whole stack wait half of their time, and others do not: woven into each other, they keep every
core busy. The longest of each kind begin first; a long one that begins last would be run alone.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

SECONDS = {
    "tests/stack/test_embedded_aws.py": 53,
    "tests/stack/test_terraform.py": 50,
    "tests/stack/test_worker.py": 45,
    "tests/stack/test_local_stack.py": 39,
    "tests/stack/test_workflow.py": 35,
    "tests/stack/test_webhooks.py": 34,
    "tests/stack/test_deletion_and_retry.py": 33,
    "tests/stack/test_queue.py": 32,
    "tests/stack/test_crowd.py": 30,
    "tests/stack/test_deploy.py": 30,
    "tests/stack/test_upload_command.py": 28,
    "tests/stack/test_main_job.py": 27,
    "tests/stack/test_speech_by_amazon.py": 20,
    "tests/stack/test_multipart.py": 13,
    "tests/stack/test_openapi.py": 11,
    "tests/stack/test_scans.py": 11,
    "tests/stack/test_auth.py": 11,
    "tests/stack/test_families.py": 10,
    "tests/stack/test_doctor.py": 8,
    "tests/stack/test_github_role.py": 8,
    "tests/stack/test_image.py": 8,
    "tests/stack/test_quotas.py": 8,
    "tests/unit/test_sandbox.py": 25,
    "tests/unit/test_processors_image.py": 18,
    "tests/unit/test_transfer.py": 15,
    "tests/unit/test_broken_files.py": 13,
    "tests/unit/test_crashes.py": 12,
    "tests/unit/test_processors_media.py": 12,
    "tests/unit/test_transcription_pocketsphinx.py": 12,
    "tests/unit/test_media_sandboxed.py": 11,
    "tests/unit/test_processors_memory.py": 9,
    "tests/unit/test_pipeline.py": 7,
    "tests/unit/test_schemas.py": 7,
    "tests/unit/test_sigv4.py": 6,
    "tests/unit/test_retries.py": 6,
    "tests/unit/test_deletion.py": 6,
    "tests/unit/test_multipart.py": 5,
    "tests/unit/test_sweeper.py": 5,
}
"""As measured once, with two processes on two cores; a file that is not here takes SHORT."""

SHORT = 2


class Test(Protocol):
    @property
    def nodeid(self) -> str: ...


T = TypeVar("T", bound=Test)


def woven(tests: Iterable[T]) -> list[T]:
    """The same tests; those of a file stay together, and in their order."""
    files = [list(those) for _, those in groupby(tests, file_of)]
    waiting = [one for one in files if file_of(one[0]).startswith("tests/stack/")]
    others = [one for one in files if not file_of(one[0]).startswith("tests/stack/")]
    begun = sorted([*_shares(waiting), *_shares(others)], key=lambda share: share[0])
    return [test for _, those in begun for test in those]


def _shares(files: Sequence[Sequence[T]]) -> list[tuple[float, Sequence[T]]]:
    """Each file, and which share of the time of them all has gone when it begins."""
    by_length = sorted(files, key=lambda one: -seconds(one))
    whole, gone, shares = sum(map(seconds, files)), 0, []
    for one in by_length:
        shares.append((gone / whole, one))
        gone += seconds(one)
    return shares


def file_of(test: Test) -> str:
    return test.nodeid.partition("::")[0]


def seconds(those: Sequence[Test]) -> int:
    return SECONDS.get(file_of(those[0]), SHORT)
