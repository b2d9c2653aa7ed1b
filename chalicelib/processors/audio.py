"""Sound: a version that everything plays, a picture of it, and what is said in it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.media import faults
from chalicelib.media.decoding import Decoding
from chalicelib.media.looking import Look, Sound
from chalicelib.media.opening import opened, prepare
from chalicelib.media.sound import Samples, pcm
from chalicelib.media.waveform import Waveform
from chalicelib.media.writing import Mp4, layout_of, sample_rate_of
from chalicelib.processors import transcript
from chalicelib.processors.base import Output, Result, Source
from chalicelib.processors.completeness import check, share

if TYPE_CHECKING:
    from av import AudioFrame

HEARD_RATE = 16_000
"""Samples a second that a waveform is drawn from."""


def made(source: Source, look: Look) -> Result:
    """`audio.m4a`, `waveform.png`, and the transcript where one is wanted.

    Raises:
        Rejected: `corrupt_media`, `unsupported_media`, `too_long`.
    """
    sound = look.sound
    if sound is None or not sound.readable:
        raise faults.unsupported("The sound is written in a way that cannot be read here.")
    waveform = Waveform()
    path = source.scratch / "audio.m4a"
    damage = _transcode(source, look, sound, path, waveform)
    outputs = [
        Output("audio.m4a", "audio/mp4", path),
        Output("waveform.png", "image/png", waveform.png()),
    ]
    written, told = transcript.of(source, sound, damage["duration"])
    return Result(metadata=described(look, sound) | damage | told, outputs=[*outputs, *written])


def described(look: Look, sound: Sound) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "kind": "audio",
        "codec": sound.codec,
        "channels": sound.channels,
        "sampleRate": sound.sample_rate,
    }
    if bit_rate := sound.bit_rate or look.bit_rate:
        metadata["bitRate"] = bit_rate
    if look.tags:
        metadata["tags"] = look.tags
    return metadata


def _transcode(source: Source, look: Look, sound: Sound, path: Path, waveform: Waveform) -> dict[str, Any]:
    report = share(source, look.seconds, of=transcript.share_of_the_rest(source))
    samples = Samples("fltp", layout_of(sound), sample_rate_of(sound))
    heard = Samples("s16", "mono", HEARD_RATE)

    def write(frames: Iterable["AudioFrame"]) -> None:
        for frame in frames:
            mp4.samples(frame)
            for piece in heard.feed(frame, frame.time or 0.0):
                waveform.hear(pcm(piece))

    with opened(source.path, source.media_type, source.caps.pixels) as container, Mp4(path) as mp4:
        stream: Any = container.streams[sound.index]
        prepare(stream, source.caps.pixels)
        mp4.add_sound(sound)
        decoding = Decoding(container, [stream], source.caps.seconds)
        for _, frame, seconds in decoding:
            write(samples.feed(frame, seconds))
            report(seconds)
        write(samples.flush())
        for piece in heard.flush():
            waveform.hear(pcm(piece))
        return check(decoding, look.seconds)
