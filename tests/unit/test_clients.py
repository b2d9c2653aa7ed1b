"""One client a service, however many threads want it first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

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
