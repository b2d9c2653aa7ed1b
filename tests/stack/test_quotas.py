"""Quotas on a deployed stack: the index, its grant, and what a client is told."""

from collections.abc import Iterator

import pytest

from ops.stack import LocalStack
from tests.stack.test_least_privilege import without
from tests.stack.user import User, eventually


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    variables = {"QUOTA_OPEN_JOBS": "2", "QUOTA_OPEN_BYTES": "20", "MAX_ATTEMPTS": "20"}
    with LocalStack(state_dir=tmp_path_factory.mktemp("quota-stack"), variables=variables) as stack:
        yield User(stack)


@pytest.mark.parametrize("door", ["chalice local", "API Gateway"])
def test_who_has_too_much_open_waits_until_some_of_it_has_ended(user: User, door: str) -> None:
    asking = user if door == "chalice local" else User(user.stack, user.stack.gateway_url)
    with without(user.stack, "consume", "s3:PutObject"):
        first = user.upload(b"123456", filename="a.txt")
        eventually(lambda: user.job(first["jobId"]), "the first is open")
        assert asking.call("POST", "/presign", {"size": 14}).status == 200
        large = asking.call("POST", "/presign", {"size": 15})
        second = user.upload(b"1", filename="b.txt")
        eventually(lambda: user.job(second["jobId"]), "the second is open")
        third = asking.call("POST", "/presign")

    assert (large.status, large.json["error"]) == (429, "too_many_open_bytes")
    assert (third.status, third.json["error"]) == (429, "too_many_open_jobs")
    assert int(third.headers["Retry-After"]) > 0
    for signed in (first, second):
        assert user.ended(signed["jobId"])["status"] == "COMPLETED"
    assert asking.call("POST", "/presign").status == 200
