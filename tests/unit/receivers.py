"""Endpoints of webhooks on this machine: real HTTP servers that keep what they get and answer as told."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


OK = status(200)


def after_a_pause(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(5)
    OK(handler)


def byte_by_byte(handler: BaseHTTPRequestHandler) -> None:
    """A proper answer in the end; each byte of it comes well within what a socket's own timeout allows."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def without_end(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65_536)


def in_another_protocol(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")


def after_early_hints(handler: BaseHTTPRequestHandler) -> None:
    """As some CDNs answer (RFC 8297)."""
    for interim in (
        b"100 Continue",
        b"102 Processing",
        b"103 Early Hints\r\nLink: </style.css>; rel=preload",
    ):
        handler.wfile.write(b"HTTP/1.1 " + interim + b"\r\n\r\n")
    OK(handler)


def not_at_all(_handler: BaseHTTPRequestHandler) -> None:
    """The connection is closed without a word."""


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Somebody's endpoint: keeps what it gets and answers as told."""

    answer: Answer
    port: int = 0
    got: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=hidden"


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """Senders that hang up are what some of these tests are about."""


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.got.append(Request(self.path, headers, body))
            receiver.answer(self)

        def log_message(self, *_args: object) -> None:
            pass

    with QuietServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


Start = Callable[..., Receiver]
"""What the fixture `start` is: `start(answer, tls)`."""


def in_turn(*answers: Answer) -> Answer:
    """Each request gets the next of these answers; the last one stays."""
    left = list(answers)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return answer
