"""What a file of sound or film is, before any more of it than its first picture is decoded."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from chalicelib.media import faults, opening, tags
from chalicelib.media.decoding import Decoding, declared_seconds, scanned_seconds
from chalicelib.media.opening import film_of, opened, prepare, sound_of
from chalicelib.media.upright import Turn, turn_of

if TYPE_CHECKING:
    from av import VideoFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

_HDR = (16, 18)
"""Transfer characteristics PQ and HLG (ITU-T H.273, table 3)."""

MOST_RATE = 1_000


@dataclass(frozen=True, slots=True)
class Colours:
    """Codes of ITU-T H.273, which say what a picture's numbers mean; 2 is unknown."""

    primaries: int
    transfer: int
    matrix: int

    @property
    def are_hdr(self) -> bool:
        return self.transfer in _HDR


@dataclass(frozen=True, slots=True)
class Film:
    index: int
    codec: str
    width: int
    height: int
    """As it is to be seen: upright, of square pixels."""
    turn: Turn
    colours: Colours
    interlaced: bool
    rate: Fraction | None


@dataclass(frozen=True, slots=True)
class Sound:
    index: int
    codec: str
    channels: int
    sample_rate: int
    readable: bool
    bit_rate: int | None


@dataclass(frozen=True, slots=True)
class Look:
    film: Film | None
    sound: Sound | None
    seconds: float
    """As the file declares, or else as its stamps say; 0 where nothing is known."""
    bit_rate: int | None
    streams: int
    tags: dict[str, str]
    captured_at: str | None


def look(path: Path, media_type: str, *, pixels: int, limit: int) -> Look:
    """
    Raises:
        Rejected: `corrupt_media`, `unsupported_media`, `too_many_pixels`, `too_long`.
    """
    with opened(path, media_type, pixels) as container:
        film, sound = film_of(container), sound_of(container)
        if film is None and sound is None:
            raise faults.corrupt("There is neither sound nor a picture that moves in the file.")
        if film is not None:
            prepare(film, pixels)
        elif sound is not None:
            prepare(sound, pixels)
        if (seconds := _seconds(path, media_type, container, limit=limit, pixels=pixels)) > limit:
            raise faults.too_long(limit)
        return Look(
            film=_film(film, _first_frame(container, film, limit)) if film is not None else None,
            sound=_sound(sound) if sound is not None else None,
            seconds=seconds,
            bit_rate=round(8 * path.stat().st_size / seconds) if seconds else None,
            streams=len(container.streams),
            tags=tags.described(container.metadata, *(part.metadata for part in (film, sound) if part)),
            captured_at=tags.captured_at(container.metadata),
        )


def _seconds(path: Path, media_type: str, container: "InputContainer", *, limit: int, pixels: int) -> float:
    """A declared length is believed; for what is only a guess, it is better to look."""
    declared = declared_seconds(container)
    if declared and opening.reader_of(container) not in opening.GUESSING:
        return declared
    with opened(path, media_type, pixels) as another:
        streams = [stream for stream in (film_of(another), sound_of(another)) if stream is not None]
        return scanned_seconds(another, streams, limit)


def _is_guessed(stream: "AudioStream") -> bool:
    """ADTS has no header that says so, and its first frames say little of the others."""
    return opening.reader_of(cast("InputContainer", stream.container)) == "aac"


def _first_frame(container: "InputContainer", film: "VideoStream", limit: int) -> "VideoFrame":
    for _, frame, _ in Decoding(container, [film], limit):
        return cast("VideoFrame", frame)
    raise faults.corrupt("There is no picture in the film that can be read.")


def _film(stream: "VideoStream", frame: "VideoFrame") -> Film:
    turn = turn_of(frame)
    width, height = max(1, round(frame.width * _aspect(stream))), frame.height
    if turn.on_its_side:
        width, height = height, width
    rate = stream.average_rate or stream.guessed_rate
    return Film(
        index=stream.index,
        codec=stream.codec_context.codec.canonical_name,
        width=width,
        height=height,
        turn=turn,
        colours=Colours(frame.color_primaries, frame.color_trc, frame.colorspace),
        interlaced=frame.interlaced_frame,
        rate=rate if rate and 0 < rate <= MOST_RATE else None,
    )


def _aspect(stream: "VideoStream") -> Fraction:
    """Of one pixel, its width to its height; what no picture has is a mistake."""
    aspect = stream.sample_aspect_ratio
    return aspect if aspect and Fraction(1, 8) <= aspect <= 8 else Fraction(1)


def _sound(stream: "AudioStream") -> Sound:
    context = stream.codec_context
    if context is None:
        return Sound(stream.index, "unknown", 0, 0, readable=False, bit_rate=None)
    return Sound(
        index=stream.index,
        codec=context.codec.canonical_name,
        channels=context.layout.nb_channels,
        sample_rate=context.sample_rate,
        readable=context.sample_rate > 0,
        bit_rate=context.bit_rate if context.bit_rate and not _is_guessed(stream) else None,
    )
