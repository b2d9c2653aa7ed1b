"""A connection to an address that was checked, with one deadline over all that happens on it."""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from chalicelib.endpoints import Endpoint

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Deadline:
    """The time that an attempt has, over all the calls it makes of it."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, at_most: float = float("inf")) -> float:
        """
        Raises:
            TimeoutError: nothing is left.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the attempt's time is over")
        return min(seconds, at_most)


class _FinalResponse(http.client.HTTPResponse):
    """The answer behind all interim ones (RFC 9110, section 15.2); the library only skips 100."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            read: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 101 < read[1] < 200:
                return read
            http.client.parse_headers(self.fp)


class PinnedConnection(http.client.HTTPConnection):
    """Connects to given addresses, while Host header and TLS know the endpoint by its name."""

    response_class = _FinalResponse

    def __init__(
        self,
        endpoint: Endpoint,
        addresses: Sequence[str],
        *,
        trust: ssl.SSLContext | None,
        deadline: Deadline,
        connect_timeout: float,
    ) -> None:
        super().__init__(endpoint.host, endpoint.port)
        self.default_port = 443 if endpoint.tls else 80  # left out of the Host header
        self._addresses = addresses
        self._trust = trust
        self._deadline = deadline
        self._connect_timeout = connect_timeout

    def connect(self) -> None:
        sock = self._dial()
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body are two writes
            if self._trust is not None:
                sock.settimeout(self._deadline.left(self._connect_timeout))
                sock = self._trust.wrap_socket(sock, server_hostname=self.host)
        except OSError:
            sock.close()
            raise
        self.sock = _TimedSocket(sock, self._deadline)

    def _dial(self) -> socket.socket:
        *others, last = self._addresses
        for address in others:
            with suppress(OSError):
                return self._dial_one(address)
        return self._dial_one(last)

    def _dial_one(self, address: str) -> socket.socket:
        return socket.create_connection((address, self.port), self._deadline.left(self._connect_timeout))


class _TimedSocket:
    """As much of a socket as `http.client` uses, with one deadline over all of its calls.

    A socket's own timeout begins anew with every byte, so that one byte now and then would hold us for good.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(self._deadline.left())
            rest = rest[self._sock.send(rest) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        # A file of the socket's own, as that keeps it open until both are closed.
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
