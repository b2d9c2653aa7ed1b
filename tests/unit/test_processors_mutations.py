"""Damaged files: whatever became of the bytes, there is a result or a refusal, and no other exception."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.errors import Rejected
from chalicelib.processors import Processor, Result, data, text
from chalicelib.processors.data import NDJSON
from chalicelib.processors.tables import CSV
from tests.unit.processing import result_of

MUTATIONS = 100

ORDERS: list[dict[str, Any]] = [
    {
        "id": f"o-{number}",
        "total": 12.5 * number,
        "to": {"name": "Müller 🎉", "tags": ["a", "b", None]},
        "ok": True,
    }
    for number in range(20)
]
TABLE = "id;name;price;day\r\n" + "".join(
    f'{number};"Müller; ""{number}""\r\nKöln";{number},50;2024-01-{number:02}\r\n' for number in range(1, 20)
)
PROSE = "Fünf Vögel flogen über die Straße.\r\nLe cœur a ses raisons, e\u0301 東京 🎉\n" * 5

KINDS: dict[str, tuple[Processor, str, bytes]] = {
    "json": (data.process, "application/json", json.dumps(ORDERS, indent=1).encode()),
    "json utf-16": (
        data.process,
        "application/json",
        json.dumps(ORDERS, ensure_ascii=False).encode("utf-16"),
    ),
    "ndjson": (data.process, NDJSON, "\n".join(map(json.dumps, ORDERS)).encode()),
    "csv": (data.process, CSV, TABLE.encode()),
    "csv latin-1": (data.process, CSV, TABLE.encode("latin-1")),
    "csv utf-16": (data.process, CSV, TABLE.encode("utf-16")),
    "text": (text.process, "text/plain", PROSE.encode()),
    "text utf-16": (text.process, "text/html", PROSE.encode("utf-16-le")),
    "text cp932": (text.process, "text/plain", ("これは日本語の文章です。\n" * 20).encode("cp932")),
}


def mutated(body: bytes, seed: str) -> Iterator[bytes]:
    """Bits flipped, the end cut off, bytes put in, taken out, doubled: one to eight of these at a time."""
    chance = random.Random(seed)
    for _ in range(MUTATIONS):
        damaged = bytearray(body)
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(damaged)) if damaged else 0
            match chance.choice(("flip", "truncate", "insert", "delete", "repeat")):
                case "flip" if damaged:
                    damaged[at] ^= 1 << chance.randrange(8)
                case "truncate" if chance.random() < 0.2:
                    del damaged[at:]
                case "insert":
                    hostile = chance.choice(
                        (b"\0", b'"', b"\n", b"\xff\xfe", b"\xef\xbb\xbf", b"1e999999999999999999999")
                    )
                    damaged[at:at] = chance.choice((hostile, chance.randbytes(chance.randint(1, 4))))
                case "delete":
                    del damaged[at : at + chance.randint(1, 9)]
                case "repeat":
                    damaged[at:at] = damaged[at : at + 40] * chance.randint(1, 30)
        yield bytes(damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_has_a_result_or_is_refused(kind: str) -> None:
    process, media_type, body = KINDS[kind]
    accepted: list[Result] = []
    refused: list[Rejected] = []
    for damaged in mutated(body, kind):
        try:
            accepted.append(result_of(process, damaged, "file", media_type))
        except Rejected as error:
            refused.append(error)
    assert len(accepted) + len(refused) == MUTATIONS
    assert accepted
    assert refused
    for result in accepted:
        assert json.loads(json.dumps(result.metadata)) == result.metadata
        assert len(json.dumps(result.metadata)) < 32 * 1024
    for refusal in refused:
        assert refusal.code != Rejected.code
        assert refusal.message.endswith((".", "?"))
        assert json.loads(json.dumps(refusal.details)) == refusal.details


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_as_it_was_is_accepted(kind: str) -> None:
    process, media_type, body = KINDS[kind]

    assert result_of(process, body, "file", media_type).metadata
