"""The picture that stands for a film: one from near its beginning that shows something."""

from statistics import pstdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import VideoFrame

LATEST = 10.0
"""Seconds: beyond them nobody is looked for any more who is better."""

PAUSE = 0.25
"""Seconds between two that are looked at."""

_SAMPLE_SIDE = 32
_DARK, _FLAT = 32, 12
"""Of luma: below them a picture is black, or shows nothing."""

_QUALITY = "3"
_BT601 = 5


class Poster:
    """Is shown all pictures, upright and in their final size, and keeps one."""

    def __init__(self, seconds: float) -> None:
        self._from = min(seconds / 10, 2.0)
        """A little in: films begin with black, and with what is put before them."""
        self._next = 0.0
        self._best: VideoFrame | None = None
        self._worth = -1.0
        self._found = False

    def show(self, frame: "VideoFrame", seconds: float) -> None:
        if self._found or (self._best is not None and (seconds < self._next or seconds > LATEST)):
            return
        self._next = max(seconds + PAUSE, self._from)
        worth = _worth(frame)
        if worth > self._worth or (worth >= 1 and seconds >= self._from):
            self._best, self._worth = frame, worth
        self._found = worth >= 1 and seconds >= self._from

    def jpeg(self) -> bytes | None:
        return None if self._best is None else _jpeg(self._best)


def _worth(frame: "VideoFrame") -> float:
    """1 of what is neither dark nor flat, less of all else."""
    small = frame.reformat(width=_SAMPLE_SIDE, height=_SAMPLE_SIDE, format="gray")
    stride = small.planes[0].line_size
    luma = bytes(small.planes[0])
    samples = [luma[y * stride + x] for y in range(_SAMPLE_SIDE) for x in range(_SAMPLE_SIDE)]
    mean = sum(samples) / len(samples)
    spread = pstdev(samples, mean)
    return min(1.0, mean / _DARK) * min(1.0, spread / _FLAT)


def _jpeg(frame: "VideoFrame") -> bytes:
    """By JFIF's rules: full range, and the matrix of BT.601 (ITU-T T.871, section 7)."""
    from fractions import Fraction

    from av import CodecContext
    from av.codec.context import Flags

    picture = frame.reformat(format="yuvj420p", dst_colorspace=_BT601, dst_color_range="JPEG")
    encoder = CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1, 1)
    encoder.flags |= Flags.bitexact | Flags.qscale
    encoder.options = {"qmin": _QUALITY, "qmax": _QUALITY}
    picture.pts, picture.time_base = 0, Fraction(1, 1)
    return b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None)))
