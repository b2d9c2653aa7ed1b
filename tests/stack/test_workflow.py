"""Heavy work as its user sees it: the whole way through the state machine, and whatever may happen on it."""

import hashlib
from collections.abc import Iterator

import pytest

from ops.stack import LocalStack
from tests.stack.user import User

KiB = 1024


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """One to which anything above 1 KiB is heavy."""
    with LocalStack(
        state_dir=tmp_path_factory.mktemp("heavy"), variables={"LIGHT_LIMIT_BYTES": str(KiB)}
    ) as running:
        yield running


@pytest.fixture
def user(stack: LocalStack) -> User:
    return User(stack)


def test_a_heavy_file_is_completed_like_a_light_one(user: User) -> None:
    body = bytes(range(256)) * 2048
    job = user.ended(user.upload(body, filename="much.bin")["jobId"])

    assert (job["status"], job["stage"], job["progress"]) == ("COMPLETED", "finished", 100)
    assert job["metadata"] == {"sha256": hashlib.sha256(body).hexdigest()}
    assert user.object(job["key"]) == body
