"""Sound and films, made with PyAV: small, short, and each with what a test is about."""

import math
import struct
from array import array
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

RATE = 25
Paint = Callable[[int], tuple[int, int, int]]


def grey(number: int) -> tuple[int, int, int]:
    return 60 + 3 * number % 120, 128, 128


def picture(
    number: int,
    width: int,
    height: int,
    pixel_format: str = "yuv420p",
    paint: Paint = grey,
    stripe: bool = True,
) -> VideoFrame:
    """One colour, and in its top quarter on the left a white field, so that one sees how it lies."""
    frame = VideoFrame(width, height, "yuv420p")
    luma, *chroma = paint(number)
    stride = frame.planes[0].line_size
    rows = bytearray(bytes([luma]) * frame.planes[0].buffer_size)
    if stripe:
        for row in range(height // 4):
            rows[row * stride : row * stride + width // 4] = b"\xeb" * (width // 4)
    frame.planes[0].update(bytes(rows))
    for plane, value in zip(frame.planes[1:], chroma, strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    return frame if pixel_format == "yuv420p" else frame.reformat(format=pixel_format)


def tone(seconds: float, rate: int, layout: str, hertz: float = 440.0) -> list[AudioFrame]:
    """Frames of 1024 samples, all channels alike."""
    frames = []
    total = round(seconds * rate)
    for begin in range(0, total, 1024):
        count = min(1024, total - begin)
        frame = AudioFrame("s16", layout, count)
        samples = array("h")
        for at in range(begin, begin + count):
            value = round(12_000 * math.sin(2 * math.pi * hertz * at / rate)) if hertz else 0
            samples.extend([value] * frame.layout.nb_channels)
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
        frames.append(frame)
    return frames


def recording(
    container: str,
    *,
    video: str | None = "libx264",
    audio: str | None = "aac",
    seconds: float = 1.0,
    size: tuple[int, int] = (64, 48),
    pixel_format: str = "yuv420p",
    turn: tuple[float, bool] | None = None,
    aspect: Fraction | None = None,
    stamps: Callable[[int], int] = lambda number: number,
    time_base: Fraction = Fraction(1, RATE),
    rate: int = 16_000,
    layout: str = "mono",
    sound_from: float = 0.0,
    hertz: float = 440.0,
    paint: Paint = grey,
    stripe: bool = True,
    tags: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    colours: tuple[int, int, int] | None = None,
    videos: int = 1,
) -> bytes:
    """The bytes of a file; `stamps` says at which tick of `time_base` each picture is shown."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "made")
        with av.open(str(path), "w", format=container, options=options or {}) as output:
            output.metadata.update(tags or {})
            films: list[Any] = []
            for number in range(videos if video else 0):
                film: Any = output.add_stream(video or "", rate=RATE)
                film.width, film.height = size if number == 0 else (size[0] // 2, size[1] // 2)
                film.pix_fmt = pixel_format
                film.codec_context.time_base = time_base
                if video == "libx264":
                    film.options = {"preset": "ultrafast", "threads": "1"}
                if turn:
                    film.set_display_rotation(turn[0], hflip=turn[1])
                if aspect:
                    film.codec_context.sample_aspect_ratio = aspect
                if colours:
                    context = film.codec_context
                    context.color_primaries, context.color_trc, context.colorspace = colours
                films.append(film)
            sound: Any = output.add_stream(audio, rate=rate, layout=layout) if audio else None
            timed: list[tuple[float, Any, Any]] = []
            piece: Any
            for film in films:
                for number in range(round(seconds * RATE)):
                    frame = picture(number, film.width, film.height, pixel_format, paint, stripe)
                    frame.pts, frame.time_base = stamps(number), time_base
                    timed.append((float(stamps(number) * time_base), film, frame))
            if sound:
                for piece in tone(seconds, rate, layout, hertz):
                    piece.pts += round(sound_from * rate)
                    timed.append((float(piece.pts * piece.time_base), sound, piece))
            for _, stream, frame in sorted(timed, key=lambda item: item[0]):
                output.mux(stream.encode(frame))
            for stream in [*films, *([sound] if sound else [])]:
                output.mux(stream.encode(None))
        return path.read_bytes()


def sound(container: str, codec: str, **details: Any) -> bytes:
    return recording(container, video=None, audio=codec, **details)


def silence(seconds: int) -> bytes:
    """AAC whose bit rate says nothing of its length, small however long it lasts."""
    second = sound("adts", "aac", rate=44_100, hertz=0, seconds=1.0)
    frame_at = len(second) // 2
    while second[frame_at : frame_at + 2] != b"\xff\xf1":
        frame_at += 1
    header = second[frame_at:]
    frame = header[: (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5]
    return frame * (seconds * 44_100 // 1024)


def wav(channels: int, *, samples: int = 1_600, rate: int = 16_000) -> bytes:
    """Silence in so many channels, which nothing says the order of (WAVE_FORMAT_PCM)."""
    width = 2 * channels
    data = bytes(samples * width)
    kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * width, width, 16)
    body = b"WAVE" + kind + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def with_cover(container: str = "mp3", codec: str = "libmp3lame") -> bytes:
    """Sound with a picture hung on to it."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "made")
        with av.open(str(path), "w", format=container) as output:
            sound: Any = output.add_stream(codec, rate=44_100, layout="stereo")
            cover: Any = output.add_stream("png")
            cover.width, cover.height, cover.pix_fmt = 64, 64, "rgb24"
            cover.disposition = av.stream.Disposition.attached_pic
            frame = picture(0, 64, 64).reformat(format="rgb24")
            frame.pts = 0
            packets = cover.encode(frame)
            output.mux(packets)
            for piece in tone(1.0, 44_100, "stereo"):
                output.mux(sound.encode(piece))
            output.mux(sound.encode(None))
        return path.read_bytes()


def boxes(body: bytes) -> Iterable[tuple[str, int, int]]:
    """Type, begin and end of each box at the top of an MP4."""
    at = 0
    while at + 8 <= len(body):
        size, kind = struct.unpack_from(">I4s", body, at)
        yield kind.decode("latin-1"), at, at + size
        at += max(size, 8)
