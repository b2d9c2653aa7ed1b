"""An issuer's keys: how often it is asked, what outlasts its outage, and what is not read at all."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib import jwks
from chalicelib.errors import Unavailable
from chalicelib.jwks import FRESH_SECONDS, MAX_BYTES, REFETCH_SECONDS, RETRY_SECONDS, KeySet

EC = ec.generate_private_key(ec.SECP256R1())


def published(*kids: str) -> bytes:
    key = jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key(), as_dict=True)
    return json.dumps({"keys": [{**key, "kid": kid} for kid in kids]}).encode()


class Issuer:
    """Counts how often it is asked; an answer of None is an outage."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.asked = 0
        self.now = 1_000_000.0
        self.keys = KeySet("https://issuer.example.com/", fetch=self._fetch, clock=lambda: self.now)

    def _fetch(self, _url: str) -> bytes:
        self.asked += 1
        if self.answer is None:
            raise OSError("no route to host")
        return self.answer

    def knows(self, kid: str | None) -> bool:
        return self.keys.find(kid) is not None


def test_keys_are_fetched_on_first_need_and_kept() -> None:
    issuer = Issuer(published("a", "b"))
    assert issuer.asked == 0

    assert issuer.knows("a")
    assert issuer.knows("b")
    assert issuer.asked == 1


def test_unknown_keys_do_not_make_a_storm_of_requests() -> None:
    issuer = Issuer(published("a"))
    for number in range(1000):
        assert not issuer.knows(f"unknown-{number}")
    assert issuer.asked == 1

    issuer.now += REFETCH_SECONDS - 1
    assert not issuer.knows("unknown")
    assert issuer.asked == 1

    issuer.now += 1
    assert not issuer.knows("unknown")
    assert not issuer.knows("unknown")
    assert issuer.asked == 2


def test_a_new_key_of_the_issuer_s_is_found_within_a_minute() -> None:
    issuer = Issuer(published("old"))
    assert issuer.knows("old")
    issuer.answer = published("old", "new")

    assert not issuer.knows("new")
    issuer.now += REFETCH_SECONDS
    assert issuer.knows("new")


def test_a_key_that_was_withdrawn_is_forgotten_within_an_hour() -> None:
    issuer = Issuer(published("stolen", "good"))
    assert issuer.knows("stolen")
    issuer.answer = published("good")

    issuer.now += FRESH_SECONDS
    assert not issuer.knows("stolen")
    assert issuer.knows("good")


def test_known_keys_outlast_an_outage_and_unknown_ones_stay_unknown() -> None:
    issuer = Issuer(published("a"))
    assert issuer.knows("a")
    issuer.answer = None

    issuer.now += 10 * FRESH_SECONDS
    assert issuer.knows("a")
    assert not issuer.knows("b")


def test_an_outage_from_the_beginning_lets_nobody_in_and_is_not_hammered() -> None:
    issuer = Issuer(None)
    for _ in range(100):
        with pytest.raises(Unavailable, match="Try again"):
            issuer.keys.find("a")
    assert issuer.asked == 1

    issuer.answer = published("a")
    issuer.now += RETRY_SECONDS
    assert issuer.knows("a")
    assert issuer.asked == 2


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"[]", b"{}", b'{"keys": []}', b'{"keys": 5}', b'{"keys": [{"kty": "oct"}]}']
)
def test_an_answer_that_holds_no_usable_key_replaces_nothing(answer: bytes) -> None:
    issuer = Issuer(published("a"))
    assert issuer.knows("a")
    issuer.answer = answer

    issuer.now += FRESH_SECONDS
    assert issuer.knows("a")


def test_a_token_may_leave_out_the_name_of_an_only_key() -> None:
    assert Issuer(published("a")).knows(None)
    assert not Issuer(published("a", "b")).knows(None)


def test_many_threads_ask_once() -> None:
    issuer = Issuer(published("a"))
    threads = [threading.Thread(target=issuer.knows, args=("a",)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert issuer.asked == 1


# --- Over HTTP ----------------------------------------------------------------------------------------------


@contextmanager
def serving(status: int, body: bytes, **headers: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/" else 200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_keys_come_over_http() -> None:
    with serving(200, published("a")) as url:
        assert KeySet(url).find("a") is not None


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, published("a"), {}),
        (404, published("a"), {}),
        (302, b"", {"Location": "/elsewhere"}),
        (200, published("a") + b" " * MAX_BYTES, {}),
    ],
)
def test_an_error_a_redirect_and_a_flood_are_no_keys(
    status: int, body: bytes, headers: dict[str, Any]
) -> None:
    with serving(status, body, **headers) as url, pytest.raises(Unavailable):
        KeySet(url).find("a")


def test_an_issuer_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT_SECONDS", 0.05)
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # listens, and accepts nothing
    try:
        with pytest.raises(Unavailable):
            KeySet(f"http://127.0.0.1:{silent.server_port}/").find("a")
    finally:
        silent.server_close()
