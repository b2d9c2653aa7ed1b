"""A picture of sound: how loud it is, from its beginning to its end."""

import struct
import zlib
from array import array

WIDTH, HEIGHT = 1200, 240

_LOUDEST = 32_768
_INK = (59, 110, 165)
_SHORTEST = 16
"""Samples in a column, before there are too many columns."""


class Waveform:
    """Hears samples of 16 bits; however many there are, it remembers no more than two columns a pixel."""

    def __init__(self) -> None:
        self._step = _SHORTEST
        self._columns: list[tuple[int, int]] = []
        self._rest = array("h")

    def hear(self, samples: bytes) -> None:
        self._rest.frombytes(samples)
        whole = len(self._rest) // self._step * self._step
        with memoryview(self._rest) as heard:
            for at in range(0, whole, self._step):
                column = heard[at : at + self._step]
                self._columns.append((min(column), max(column)))
        self._rest = self._rest[whole:]
        while len(self._columns) > 2 * WIDTH:
            self._halve()

    def _halve(self) -> None:
        pairs = zip(self._columns[::2], self._columns[1::2], strict=False)
        odd = self._columns[-1:] if len(self._columns) % 2 else []
        self._columns = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs] + odd
        self._step *= 2

    def png(self) -> bytes:
        """On a background that can be seen through, a line in the middle where there is silence."""
        columns = self._columns or [(0, 0)]
        rows = [bytearray(WIDTH // 8) for _ in range(HEIGHT)]
        for x in range(WIDTH):
            first = x * len(columns) // WIDTH
            last = max(first + 1, (x + 1) * len(columns) // WIDTH)
            low, high = min(c[0] for c in columns[first:last]), max(c[1] for c in columns[first:last])
            for y in range(_row(high), _row(low) + 1):
                rows[y][x // 8] |= 0x80 >> x % 8
        return _png(rows)


def _row(sample: int) -> int:
    return min(HEIGHT - 1, (_LOUDEST - sample) * HEIGHT // (2 * _LOUDEST))


def _png(rows: list[bytearray]) -> bytes:
    """One bit a pixel, of two colours, the first of which cannot be seen (PNG, third edition, section 11)."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 1, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", bytes((*_INK, *_INK))),
        (b"tRNS", bytes((0, 255))),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
