"""A file of sound or film, opened: by the one reader for its format, which can open nothing else."""

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from chalicelib.media import faults

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

MOST_THREADS = 4
"""Each one decodes a frame of its own, and so takes memory for it."""

BUFFER_BYTES = 256 * 1024

_MOV, _MATROSKA = "mov", "matroska"

# Never by trying: FFmpeg has readers for playlists, which open whatever they name.
_READERS = {
    "audio/3gpp": _MOV,
    "audio/aac": "aac",
    "audio/aiff": "aiff",
    "audio/amr": "amr",
    "audio/basic": "au",
    "audio/flac": "flac",
    "audio/mp4": _MOV,
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/webm": _MATROSKA,
    "audio/x-caf": "caf",
    "audio/x-matroska": _MATROSKA,
    "application/vnd.ms-asf": "asf",
    "video/3gpp": _MOV,
    "video/3gpp2": _MOV,
    "video/mp2t": "mpegts",
    "video/mp4": _MOV,
    "video/mpeg": "mpeg",
    "video/ogg": "ogg",
    "video/quicktime": _MOV,
    "video/webm": _MATROSKA,
    "video/x-flv": "flv",
    "video/x-matroska": _MATROSKA,
    "video/x-msvideo": "avi",
}

GUESSING = ("aac", "amr", "mp3", "mpeg", "mpegts")
"""Readers that may know a duration only by a bit rate or by two time stamps, and be far off."""

RESTARTING = ("mpeg", "mpegts")
"""Formats of broadcasts, whose clock may begin anew anywhere (ISO/IEC 13818-1, section 2.4.3.5)."""


@contextmanager
def opened(path: Path, media_type: str, pixels: int) -> "Iterator[InputContainer]":
    """
    Raises:
        Rejected: `unsupported_media`, `corrupt_media`.
    """
    if not (reader := _READERS.get(media_type)):
        raise faults.unsupported(f"Files of the type {media_type} cannot be read here.")
    with path.open("rb", buffering=0) as file:
        with faults.told_of_the_file():
            container: InputContainer = av().open(
                _Bytes(file),
                "r",
                format=reader,
                options={"max_pixels": str(pixels), "protocol_whitelist": "", "format_whitelist": reader},
                metadata_errors="replace",
                buffer_size=BUFFER_BYTES,
                io_open=_refuse,
            )
        with container:
            yield container


class _Bytes:
    """A file as FFmpeg reads it, which takes a number below zero for an error, and no exception."""

    def __init__(self, file: io.FileIO) -> None:
        self.read, self.tell = file.read, file.tell
        self._file = file

    def seek(self, offset: int, whence: int) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, OverflowError, ValueError):
            return -errno.EINVAL


def _refuse(*_: object) -> NoReturn:
    """Of whatever the file would have opened beside itself."""
    raise PermissionError("a file is all that is read of it")


@cache
def av() -> Any:
    import av
    import av.logging

    av.logging.set_level(None)  # it would quote the file
    return av


def reader_of(container: "InputContainer") -> str:
    return str(container.format.name).split(",")[0]


def film_of(container: "InputContainer") -> "VideoStream | None":
    """The stream that moves: the one marked as the usual one, else the largest; no cover, no still."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
    films = [stream for stream in container.streams.video if not stream.disposition & still]
    return max(
        films,
        key=lambda film: (
            film.codec_context is not None,
            bool(film.disposition & Disposition.default),
            _area(film),
        ),
        default=None,
    )


def _area(film: "VideoStream") -> int:
    return film.codec_context.width * film.codec_context.height if film.codec_context else 0


def sound_of(container: "InputContainer") -> "AudioStream | None":
    """The first stream of sound that can be read, of those marked as the usual one where there are such."""
    from av.stream import Disposition

    sounds = sorted(
        container.streams.audio,
        key=lambda sound: (sound.codec_context is None, not sound.disposition & Disposition.default),
    )
    return sounds[0] if sounds else None


def prepare(stream: "VideoStream | AudioStream", pixels: int) -> None:
    """Before the first frame of it is decoded.

    Raises:
        Rejected: `unsupported_media`, `too_many_pixels`.
    """
    context: Any = stream.codec_context
    if context is None:
        raise faults.unsupported("Its codec is not one that can be read here.")
    if stream.type == "video":
        if context.width * context.height > pixels:
            raise faults.too_large(context.width, context.height, pixels)
        context.options = {"max_pixels": str(pixels)}  # of each frame: they may come to differ
        context.thread_type = "AUTO"
        context.thread_count = threads()


def threads() -> int:
    return min(os.cpu_count() or 1, MOST_THREADS)
