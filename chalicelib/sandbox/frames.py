"""Messages over a socket: the length in four bytes, then an object in JSON.

Never pickle: whoever takes one side over could run code on the other.
"""

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

_LENGTH = struct.Struct(">I")


class Sink(Protocol):
    def sendall(self, data: bytes, /) -> object: ...


class BadFrame(Exception):
    """What came is no message."""


def send(sink: Sink, message: Mapping[str, Any]) -> None:
    body = json.dumps(message, allow_nan=False).encode()
    sink.sendall(_LENGTH.pack(len(body)) + body)


def receive(recv: Callable[[int], bytes], limit: int) -> dict[str, Any]:
    """The next message, of at most `limit` bytes, from what `recv` gives of the bytes asked for.

    Raises:
        EOFError: the other side is gone.
        BadFrame: it sent something else.
    """
    (length,) = _LENGTH.unpack(_exactly(recv, _LENGTH.size))
    if length > limit:
        raise BadFrame(f"{length} bytes, where {limit} are allowed")
    try:
        message = json.loads(_exactly(recv, length).decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadFrame(str(error)) from None
    if not isinstance(message, dict):
        raise BadFrame("no object")
    return message


def _exactly(recv: Callable[[int], bytes], count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = recv(count - len(received))
        if not piece:
            raise EOFError
        received += piece
    return bytes(received)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
