"""Sound without a gap: frames of any kind go in, samples of one kind come out, from 0 on."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from chalicelib.media import faults

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.resampler import AudioResampler

SLACK = 0.1
"""Seconds that sound may come early or late: less is nobody's to hear, and stamps are rounded."""

MOST_NAMED_CHANNELS = 8
"""Of more, it takes the file's own word to mix them."""

SILENCE = 1.0
"""Seconds of it that are made at a time."""

SAMPLE_BYTES = {"fltp": 4, "s16": 2}


class Samples:
    """Of a rate and layout; what is missing on the way is filled with silence."""

    def __init__(self, sample_format: str, layout: str, rate: int) -> None:
        self._format = sample_format
        self._layout = layout
        self._rate = rate
        self._resampler: AudioResampler | None = None
        self._shape: tuple[object, ...] = ()
        self._end = 0.0
        self._made = 0
        """Samples."""

    def feed(self, frame: "AudioFrame", seconds: float) -> "Iterator[AudioFrame]":
        """What comes out of a frame that begins at a time."""
        if not frame.samples or not frame.sample_rate:
            return
        length = frame.samples / frame.sample_rate
        if seconds + length / 2 < self._end - SLACK:
            return  # it has been heard already
        if seconds > self._end + SLACK:
            yield from self._silence(seconds)
        yield from self._converted(frame)
        self._end = max(self._end, seconds) + length if seconds > self._end - SLACK else self._end + length

    def flush(self) -> "Iterator[AudioFrame]":
        if self._resampler is not None:
            rest = self._resampler.resample(None)
            self._resampler = None
            yield from self._numbered([frame for frame in rest if frame is not None])

    def _converted(self, frame: "AudioFrame") -> "Iterator[AudioFrame]":
        from av import error
        from av.audio.resampler import AudioResampler

        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            yield from self.flush()
        if self._resampler is None:
            self._resampler = AudioResampler(format=self._format, layout=self._layout, rate=self._rate)
            self._shape = shape
        frame.pts = None
        channels = frame.layout.nb_channels
        with faults.told_of_the_file():
            try:
                made = self._resampler.resample(frame)
            except error.ArgumentError:
                if channels <= MOST_NAMED_CHANNELS:
                    raise
                raise faults.unsupported(f"Nothing says what its {channels} channels are.") from None
        yield from self._numbered(made)

    def _silence(self, until: float) -> "Iterator[AudioFrame]":
        from av import AudioFrame

        yield from self.flush()
        while (missing := min(round(until * self._rate) - self._made, round(SILENCE * self._rate))) > 0:
            frame = AudioFrame(self._format, self._layout, missing)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.sample_rate = self._rate
            yield from self._numbered([frame])
        self._end = until

    def _numbered(self, frames: "list[AudioFrame]") -> "Iterator[AudioFrame]":
        for frame in frames:
            frame.pts, frame.time_base = self._made, Fraction(1, self._rate)
            self._made += frame.samples
            yield frame


def pcm(frame: "AudioFrame") -> bytes:
    """The samples of a frame of one channel in 16 bits, without what pads them."""
    return bytes(frame.planes[0])[: frame.samples * SAMPLE_BYTES["s16"]]
