"""One file on its way through a child: where it lies, where what is made of it goes, and until when."""

import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chalicelib.processors.base import Source


class Task:
    """A file, the limits on it, and a fresh place for what is made of it."""

    def __init__(self, family: str, source: Source, cpu_seconds: int, wall_seconds: float) -> None:
        self.family = family
        self.source = source
        self._cpu_seconds = cpu_seconds
        self.stop_at = time.monotonic() + wall_seconds
        """Also of a second try: the next one in the queue has been told how long this one takes."""
        self.made = self._new_place()

    def begin_again(self) -> None:
        shutil.rmtree(self.source.scratch)
        self.source.scratch.mkdir()
        self.made = self._new_place()

    def _new_place(self) -> Path:
        place = Path(tempfile.mkdtemp(prefix="made-", dir=self.source.scratch.parent))
        (place / "outputs").mkdir()
        return place

    def request(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "path": str(self.source.path),
            "filename": self.source.filename,
            "mediaType": self.source.media_type,
            "scratch": str(self.source.scratch),
            "caps": asdict(self.source.caps),
            "made": str(self.made),
            "size": self.source.path.stat().st_size,
            "cpuSeconds": self._cpu_seconds,
            "wallSeconds": max(0.0, self.stop_at - time.monotonic()),
        }
