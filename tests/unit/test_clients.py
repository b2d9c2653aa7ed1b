"""One client a service, however many threads want it first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from chalicelib import clients


@pytest.fixture(autouse=True)
def _fresh_clients(env: dict[str, str]) -> Any:
    del env
    clients.reset()
    yield
    clients.reset()


def test_threads_that_ask_at_once_share_one_client() -> None:
    together = Barrier(8)

    def ask(_: int) -> int:
        together.wait()
        return id(clients.dynamodb())

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_after_a_reset_there_is_another() -> None:
    before = clients.sqs()
    clients.reset()
    assert clients.sqs() is not before


@pytest.mark.parametrize(
    ("code", "status"),
    [("PreconditionFailed", 412), ("ConditionalRequestConflict", 409), ("InternalError", 500)],
)
def test_what_s3_says_behind_a_200_counts_as_if_it_had_been_said_at_once(
    code: str, status: int, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers a copy before it is made, and puts what goes wrong then into the body."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, env.get(name, "test"))
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the SDK's own tries

    class Body:
        def stream(self) -> Any:
            yield f"<Error><Code>{code}</Code><Message>.</Message></Error>".encode()

    def answer(request: Any, **_: Any) -> Any:
        headers: Any = {}
        return AWSResponse(request.url, 200, headers, Body())

    clients.s3().meta.events.register("before-send.s3", answer)
    with pytest.raises(ClientError) as caught:
        clients.s3().copy_object(Bucket="b", Key="k", CopySource="b/j", IfNoneMatch="*")
    assert clients.http_status(caught.value) == status
