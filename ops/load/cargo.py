"""What the load run sends: files of many kinds, made from a seed, and what must become of each."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ops.shipments import LETTER

MAX_BYTES = 200_000
"""Of the load's stack: its MAX_UPLOAD_BYTES."""

ALLOWED_TYPES = (
    "application/json,application/x-ndjson,application/pdf,application/octet-stream,text/*,image/*"
)
"""Of the load's stack; a program is none of these, whatever it is called."""


@dataclass(frozen=True)
class Parcel:
    """One file of the run."""

    number: int
    name: str
    body: bytes
    status: str
    error: str | None = None
    events: tuple[tuple[str | None, Any], ...] = ()
    """What the events table must hold: id, or None where the file's key is it, and data."""
    dropped: bool = False
    """Put straight into incoming/, by a machine."""
    before: bytes | None = None
    """What is sent to the same URL just before, and loses to `body`."""


Made = tuple[str, bytes, str | None, tuple[tuple[str | None, Any], ...]]
"""Name, body, error code, events."""


@dataclass
class _Maker:
    """Makes a file of a kind from one source of randomness; `number` tells it from all others.

    The ids of its events are of the number alone, so that a second content of a file has the same ones.
    """

    random: random.Random
    pictures: list[bytes] = field(default_factory=list)

    def json(self, number: int) -> Made:
        event = self._event(f"e-{number}" if number % 5 else None)
        return "order.json", _json(event), None, ((event.get("id"), event),)

    def array(self, number: int) -> Made:
        events = [self._event(f"a-{number}-{n}") for n in range(2 + number % 4)]
        return "orders.json", _json(events), None, tuple((event["id"], event) for event in events)

    def ndjson(self, number: int) -> Made:
        events = [self._event(f"n-{number}-{n}") for n in range(2 + number % 4)]
        lines = b"".join(_json(event) + b"\n" for event in events)
        return "orders.ndjson", lines, None, tuple((event["id"], event) for event in events)

    def csv(self, number: int) -> Made:
        rows = "".join(
            f"{number},{self.random.randint(1, 10**6)},{self.random.choice('abc')}\n"
            for _ in range(self.random.randint(1, 60))
        )
        return "table.csv", f"id,amount,kind\n{rows}".encode(), None, ()

    def text(self, number: int) -> Made:
        words = ("Grüße", "aus", "Köln", "waybill", "日本", "text")
        said = " ".join(self.random.choices(words, k=self.random.randint(5, 200)))
        return f"notes {number} + é.txt", f"{number}\r\n{said}\r\n".encode(), None, ()

    def image(self, number: int) -> Made:
        # Behind the end of a JPEG may lie anything, so that one picture makes many files.
        return "photo.jpg", self._picture() + b"%d" % number, None, ()

    def pdf(self, number: int) -> Made:
        return "letter.pdf", LETTER + b"%% %d\n" % number, None, ()

    def other(self, number: int) -> Made:
        return "data.bin", b"\x00\xff%d\x00" % number + self.random.randbytes(400), None, ()

    def empty(self, _number: int) -> Made:
        return "empty.txt", b"", "empty_file", ()

    def too_large(self, number: int) -> Made:
        return "large.txt", (b"%d " % number).ljust(MAX_BYTES + 1, b"x"), "too_large", ()

    def disguised(self, number: int) -> Made:
        return "invoice.pdf", b"MZ\x90\x00%d" % number + bytes(60), "type_not_allowed", ()

    def broken_json(self, number: int) -> Made:
        return "broken.json", b'{"id": "b-%d",\n "total": }' % number, "invalid_json", ()

    def cut_off(self, number: int) -> Made:
        picture = self._picture()
        return "cut.jpg", picture[: len(picture) // 2] + b"%d" % number, "corrupt_image", ()

    def _event(self, id: str | None) -> dict[str, Any]:
        event = {
            "total": Decimal(self.random.randint(0, 10**9)).scaleb(-self.random.randint(0, 12)),
            "count": Decimal(self.random.randint(0, 10**18)),
            "tags": [self.random.choice(["a", "é", "🎉"]) for _ in range(self.random.randint(0, 3))],
            "nested": {"yes": True, "none": None},
        }
        return event if id is None else {"id": id} | event

    def _picture(self) -> bytes:
        if not self.pictures:
            import pyvips

            for width, height in ((320, 200), (64, 64), (200, 320)):
                noise = pyvips.Image.gaussnoise(width, height, seed=self.random.randint(0, 1000))
                self.pictures.append(noise.bandjoin([noise, noise]).cast("uchar").jpegsave_buffer(Q=80))
        return self.random.choice(self.pictures)


# How many of a hundred files are of each kind.
SHARES: dict[str, int] = {
    "json": 20,
    "array": 10,
    "ndjson": 5,
    "csv": 14,
    "text": 14,
    "image": 10,
    "pdf": 6,
    "other": 8,
    "empty": 2,
    "too_large": 2,
    "disguised": 4,
    "broken_json": 3,
    "cut_off": 2,
}
SENT_TWICE = 0.05
DROPPED = 0.25  # of what is called .json


def parcels(count: int, seed: int) -> Iterator[Parcel]:
    """`count` files; the same ones for the same seed."""
    chance = random.Random(f"cargo {seed}")
    maker = _Maker(chance)
    for number, kind in enumerate(chance.choices(list(SHARES), list(SHARES.values()), k=count)):
        make: Callable[[int], Made] = getattr(maker, kind)
        name, body, error, events = make(number)
        dropped = name.endswith(".json") and chance.random() < DROPPED
        twice = body and not dropped and chance.random() < SENT_TWICE
        yield Parcel(
            number=number,
            name=name,
            body=body,
            status="REJECTED" if error else "COMPLETED",
            error=error,
            events=events,
            dropped=dropped,
            before=make(number)[1] + b" " if twice else None,
        )


def _json(value: Any) -> bytes:
    """With Decimals as the numbers that they are."""
    marks: dict[str, str] = {}

    def mark(number: Decimal) -> str:
        marks[f'"\x00{len(marks)}"'] = format(number, "f")
        return f"\x00{len(marks) - 1}"

    text = json.dumps(value, default=mark, ensure_ascii=False)
    for quoted, number in marks.items():
        text = text.replace(json.dumps(quoted.strip('"')), number)
    return text.encode()
