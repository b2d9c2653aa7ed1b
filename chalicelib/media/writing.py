"""An MP4 that plays as soon as it begins to arrive, and holds pictures and samples and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from chalicelib.media import opening
from chalicelib.media.looking import Film, Sound
from chalicelib.media.picture import TICKS, size_of

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

_X264 = {
    "preset": "veryfast",
    "crf": "23",
    "profile": "high",
    "maxrate": "4M",
    "bufsize": "8M",
    "a53cc": "0",  # subtitles
}
_USUAL_RATE = 30

_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_BIT_RATES = {"mono": 80_000, "stereo": 128_000}


def sample_rate_of(sound: Sound) -> int:
    """The original's, or of those that everything plays the one that loses nothing."""
    if sound.sample_rate > _RATES[-1]:
        return 44_100 if sound.sample_rate % 44_100 == 0 else 48_000
    return next(rate for rate in _RATES if rate >= sound.sample_rate)


def layout_of(sound: Sound) -> str:
    return "mono" if sound.channels == 1 else "stereo"


@contextmanager
def _short_of_memory() -> Iterator[None]:
    """What x264 says of that is no more than that something went wrong: nothing else can."""
    from av import error

    try:
        yield
    except error.ExternalError:
        raise MemoryError from None


class Mp4:
    """Streams are added, then frames are written; closing it puts its index to the front."""

    def __init__(self, path: Path) -> None:
        self._container = opening.av().open(
            str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
        )
        self._film: VideoStream | None = None
        self._sound: AudioStream | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for stream in (self._film, self._sound):
                if stream is not None:
                    with _short_of_memory():
                        self._container.mux(stream.encode(None))
        with suppress(Exception) if kind else nullcontext():  # the first error is the one to tell of
            self._container.close()

    def add_film(self, film: Film) -> None:
        from av.codec.context import Flags

        rate = min(film.rate or Fraction(_USUAL_RATE), Fraction(60)).limit_denominator(1_001)
        stream: VideoStream = self._container.add_stream("libx264", rate=rate, options=_X264)
        context = stream.codec_context
        context.width, context.height = size_of(film)
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, TICKS)
        context.thread_count = opening.threads()
        context.flags |= Flags.frame_duration
        context.color_range = 1
        colours: Any = film.colours
        if colours.are_hdr:
            context.color_primaries = context.color_trc = context.colorspace = 1
        else:
            context.color_primaries, context.color_trc = colours.primaries, colours.transfer
            context.colorspace = colours.matrix
        self._film = stream

    def add_sound(self, sound: Sound) -> None:
        layout = layout_of(sound)
        stream: AudioStream = self._container.add_stream(
            "aac", rate=sample_rate_of(sound), layout=layout, format="fltp"
        )
        stream.codec_context.bit_rate = _BIT_RATES[layout]
        self._sound = stream

    def picture(self, frame: "VideoFrame") -> None:
        assert self._film is not None
        with _short_of_memory():
            self._container.mux(self._film.encode(frame))

    def samples(self, frame: "AudioFrame") -> None:
        assert self._sound is not None
        self._container.mux(self._sound.encode(frame))
