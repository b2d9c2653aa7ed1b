"""Films: a version that everything plays, a picture that stands for it, and what is said in it."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from chalicelib.media import faults
from chalicelib.media.decoding import Decoding
from chalicelib.media.looking import Film, Look, Sound
from chalicelib.media.opening import opened, prepare
from chalicelib.media.picture import TICKS, Pictures
from chalicelib.media.poster import Poster
from chalicelib.media.sound import Samples
from chalicelib.media.writing import Mp4, layout_of, sample_rate_of
from chalicelib.processors import transcript
from chalicelib.processors.base import Output, Result, Source
from chalicelib.processors.completeness import check, share


def made(source: Source, look: Look, film: Film) -> Result:
    """`video.mp4`, `poster.jpg`, and the transcript of its sound where one is wanted.

    Raises:
        Rejected: `corrupt_media`, `unsupported_media`, `too_long`, `too_many_pixels`.
    """
    path = source.scratch / "video.mp4"
    poster = Poster(look.seconds)
    sound = look.sound if look.sound and look.sound.readable else None
    damage = _Transcoding(source, look, film, sound, poster).run(path)
    outputs = [Output("video.mp4", "video/mp4", path)]
    if picture := poster.jpeg():
        outputs.append(Output("poster.jpg", "image/jpeg", picture))
    written, told = transcript.of(source, sound, damage["duration"]) if sound else ([], {})
    return Result(metadata=_described(look, film) | damage | told, outputs=[*outputs, *written])


def _described(look: Look, film: Film) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "kind": "video",
        "width": film.width,
        "height": film.height,
        "rotation": film.turn.degrees,
        "videoCodec": film.codec,
        "streams": look.streams,
    }
    if film.rate:
        metadata["frameRate"] = round(float(film.rate), 3)
    if film.colours.are_hdr:
        metadata["hdr"] = True
    if look.sound:
        metadata["audioCodec"] = look.sound.codec
        if not look.sound.readable:
            metadata["soundDecoded"] = False
    if look.bit_rate:
        metadata["bitRate"] = look.bit_rate
    if look.captured_at:
        metadata["capturedAt"] = look.captured_at
    if look.tags:
        metadata["tags"] = look.tags
    return metadata


class _Transcoding:
    """One way through the file, in which pictures and sound are written and the poster is found."""

    def __init__(self, source: Source, look: Look, film: Film, sound: Sound | None, poster: Poster) -> None:
        self._source = source
        self._look = look
        self._film = film
        self._sound = sound
        self._poster = poster
        self._pictures = Pictures(film)
        self._samples = Samples("fltp", layout_of(sound), sample_rate_of(sound)) if sound else None
        self._seen = False

    def run(self, path: Path) -> dict[str, Any]:
        source, seconds = self._source, self._look.seconds
        report = share(source, seconds, of=transcript.share_of_the_rest(source) if self._sound else 1.0)
        with ExitStack() as stack:
            container = stack.enter_context(opened(source.path, source.media_type, source.caps.pixels))
            mp4 = stack.enter_context(Mp4(path))
            mp4.add_film(self._film)
            if self._sound:
                mp4.add_sound(self._sound)
            streams: list[Any] = [
                container.streams[part.index] for part in (self._film, self._sound) if part is not None
            ]
            for stream in streams:
                prepare(stream, source.caps.pixels)
            decoding = Decoding(container, streams, source.caps.seconds)
            for index, frame, at in decoding:
                if index == self._film.index:
                    self._write(mp4, self._pictures.feed(frame, at))
                elif self._samples:
                    self._write_sound(mp4, self._samples.feed(frame, at))
                report(at)
            self._write(mp4, self._pictures.flush())
            if self._samples:
                self._write_sound(mp4, self._samples.flush())
            if not self._seen:
                raise faults.corrupt("There is no picture in the film that can be read.")
            return check(decoding, seconds)

    def _write(self, mp4: Mp4, frames: Any) -> None:
        for frame in frames:
            self._seen = True
            self._poster.show(frame, frame.pts / TICKS)
            mp4.picture(frame)

    def _write_sound(self, mp4: Mp4, frames: Any) -> None:
        for frame in frames:
            mp4.samples(frame)
