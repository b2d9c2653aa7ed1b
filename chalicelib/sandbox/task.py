"""One file on its way through a child: where it lies, where what is made of it goes, and until when."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chalicelib.processors.base import Source
from chalicelib.sandbox.progress import Listener

SPARE_BYTES = 64 * 1024 * 1024
"""One file that is made of an original may have four times its size, and this much more."""

BYTES_A_SECOND = 640 * 1024
"""And what is made of sound or a film this much more again for each second that it may last."""


class Task:
    """A file, the limits on it, and a fresh place for what is made of it."""

    def __init__(
        self,
        family: str,
        source: Source,
        cpu_seconds: int,
        wall_seconds: float,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        self.family = family
        self.source = source
        self._cpu_seconds = cpu_seconds
        self.stop_at = time.monotonic() + wall_seconds
        """Also of a second try: the next one in the queue has been told how long this one takes."""
        self.listener = Listener(on_progress, wall_seconds)
        self.made = self._new_place()

    def begin_again(self) -> None:
        shutil.rmtree(self.source.scratch)
        self.source.scratch.mkdir()
        self.made = self._new_place()

    def _new_place(self) -> Path:
        place = Path(tempfile.mkdtemp(prefix="made-", dir=self.source.scratch.parent))
        (place / "outputs").mkdir()
        return place

    def _file_bytes(self) -> int:
        """How large one file may become that is made of the original."""
        lasting = self.source.caps.seconds if self.family in ("audio", "video") else 0
        return 4 * self.source.path.stat().st_size + SPARE_BYTES + BYTES_A_SECOND * lasting

    def request(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "path": str(self.source.path),
            "filename": self.source.filename,
            "mediaType": self.source.media_type,
            "scratch": str(self.source.scratch),
            "transcriber": self.source.transcriber,
            "caps": asdict(self.source.caps),
            "made": str(self.made),
            "fileBytes": self._file_bytes(),
            "cpuSeconds": self._cpu_seconds,
            "wallSeconds": max(0.0, self.stop_at - time.monotonic()),
        }
