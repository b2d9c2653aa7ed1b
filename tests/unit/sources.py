"""Originals on disk, as processors take them."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from chalicelib.processors import Caps, Source

CAPS = Caps(events=1_000, rows=1_000_000, pixels=100_000_000, pages=1_000)


def source(directory: Path, body: bytes, filename: str, media_type: str, **caps: Any) -> Source:
    """A file with these bytes in a directory of its own under `directory`."""
    place = Path(tempfile.mkdtemp(dir=directory))
    (path := place / "original").write_bytes(body)
    (scratch := place / "scratch").mkdir()
    return Source(path, filename, media_type, scratch, replace(CAPS, **caps))
