"""Messages over a socket, whole or in pieces, and what is none."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.sandbox import frames
from chalicelib.sandbox.frames import BadFrame

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


class Wire:
    """Bytes that arrive one at a time."""

    def __init__(self, raw: bytes = b"") -> None:
        self.raw = raw

    def sendall(self, data: bytes) -> None:
        self.raw += data

    def recv(self, _: int) -> bytes:
        first, self.raw = self.raw[:1], self.raw[1:]
        return first


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=3), min_size=1, max_size=3))
def test_messages_arrive_as_they_were_sent(messages: list[dict[str, Any]]) -> None:
    wire = Wire()
    for message in messages:
        frames.send(wire, message)
    assert [frames.receive(wire.recv, 10_000) for _ in messages] == messages
    assert wire.raw == b""


def test_the_length_comes_first() -> None:
    wire = Wire()
    frames.send(wire, {"a": 1})
    assert wire.raw == b'\x00\x00\x00\x08{"a": 1}'


@pytest.mark.parametrize("raw", [b"", b"\x00\x00", b"\x00\x00\x00\x02", b"\x00\x00\x00\x02{"])
def test_an_end_is_no_message(raw: bytes) -> None:
    with pytest.raises(EOFError):
        frames.receive(io.BytesIO(raw).read, 100)


def test_a_message_may_be_as_long_as_the_limit_and_no_longer() -> None:
    raw = b'\x00\x00\x00\x08{"a": 1}'
    assert frames.receive(io.BytesIO(raw).read, 8) == {"a": 1}
    with pytest.raises(BadFrame):
        frames.receive(io.BytesIO(raw).read, 7)


@pytest.mark.parametrize("body", [b"{]", b"[]", b"1", b"\xff\xff", b'{"a":NaN}', b"[" * 100_000, b""])
def test_something_else_is_no_message(body: bytes) -> None:
    raw = len(body).to_bytes(4, "big") + body
    with pytest.raises(BadFrame):
        frames.receive(io.BytesIO(raw).read, 1_000_000)


@pytest.mark.parametrize("value", [float("nan"), object(), b"", {1j: 1}])
def test_what_json_cannot_say_is_not_sent_at_all(value: Any) -> None:
    wire = Wire()
    with pytest.raises((TypeError, ValueError)):
        frames.send(wire, {"a": value})
    assert wire.raw == b""


def test_all_of_it_is_ascii_on_the_way() -> None:
    wire = Wire()
    frames.send(wire, {"half a pair": "\ud83d"})
    assert wire.raw.isascii()
    assert json.loads(wire.raw[4:]) == {"half a pair": "\ud83d"}
