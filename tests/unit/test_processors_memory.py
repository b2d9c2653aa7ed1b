"""Tables, lines and texts are read piece by piece: a larger file takes more time, and no more memory."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MiB = 1024 * 1024

SIZE = 32 * MiB
ROOM = 40 * MiB
"""For what is in memory of a file at a time, beside Python itself."""

CSV, NDJSON, TEXT = "text/csv", "application/x-ndjson", "text/plain"

CONTENTS: dict[str, tuple[str, bytes]] = {
    "rows": (CSV, b"12,some words,2024-01-01,3.5\n"),
    "wide rows": (CSV, b"1," * 9_999 + b"1\n"),
    "large cells": (CSV, b'1,"' + b"line\n" * 20_000 + b'"\n'),
    "Latin-1": (CSV, "Köln,Müller,12\n".encode("latin-1")),
    "one endless row": (CSV, b'"\n",'),
    "no documents": (NDJSON, b" " * 99 + b"\n"),
    "lines": (TEXT, "Größe 東京 🎉\n".encode()),
    "one line": (TEXT, b"x"),
    "no spaces": (TEXT, "漢".encode()),
    "accents": (TEXT, "\u0301".encode()),
}

RUN = """
import resource, sys
from contextlib import suppress
from pathlib import Path
from chalicelib.errors import Rejected
from chalicelib.processors import Caps, Source, data, text
path, media_type = Path(sys.argv[1]), sys.argv[2]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with suppress(Rejected):
    process = text.process if media_type == "text/plain" else data.process
    process(Source(path, path.name, media_type, path.parent, Caps(10**9, 10**9, 1, 1)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("kind", CONTENTS)
def test_memory_does_not_grow_with_the_file(kind: str, tmp_path: Path) -> None:
    media_type, content = CONTENTS[kind]
    (path := tmp_path / "large").write_bytes(content * (SIZE // len(content)))

    command = [sys.executable, "-c", RUN, str(path), media_type]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert int(done.stdout) * 1024 < ROOM
