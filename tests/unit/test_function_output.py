"""What functions of the embedded AWS print is collected whole, line by line, and without waiting."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ops.embedded_aws.output import Output


class Printed:
    """A pipe as a function has it, and the lines that were taken out of it."""

    def __init__(self) -> None:
        its_end, self._function = os.pipe()
        self.lines: list[str] = []
        self.output = Output(os.fdopen(its_end), self.lines.append)

    def say(self, text: bytes) -> None:
        os.write(self._function, text)

    def end(self) -> None:
        with suppress(OSError):
            os.close(self._function)


@pytest.fixture
def printed() -> Iterator[Printed]:
    printed = Printed()
    yield printed
    printed.end()


def test_nothing_printed_is_nothing_to_wait_for(printed: Printed) -> None:
    assert printed.output.take()
    assert printed.lines == []


def test_a_line_is_taken_once_it_is_whole(printed: Printed) -> None:
    printed.say(b"one\ntw")
    assert printed.output.take()
    assert printed.lines == ["one"]

    printed.say(b"o\n\xff\n")
    assert printed.output.take()
    assert printed.lines == ["one", "two", "�"]


def test_more_than_the_pipe_holds_is_read_while_it_is_printed(printed: Printed) -> None:
    lines = [f"line {number}" for number in range(20_000)]
    reader = threading.Thread(target=printed.output.read)
    reader.start()
    for line in lines:
        printed.say(f"{line}\n".encode())
        if line.endswith("000"):
            printed.output.take()  # as a collector does, beside the reader
    printed.end()
    reader.join(30)

    assert not reader.is_alive()
    assert printed.lines == lines
    assert not printed.output.take()
