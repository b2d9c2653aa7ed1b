"""What is said in a recording, for who wants it in writing."""

from collections.abc import Iterator
from typing import Any

from chalicelib import transcription
from chalicelib.media.decoding import Decoding
from chalicelib.media.looking import Sound
from chalicelib.media.opening import opened, prepare
from chalicelib.media.sound import Samples, pcm
from chalicelib.processors.base import Output, Source
from chalicelib.processors.completeness import share

NONE = "none"

SHARE = 0.5
"""Of the work, for all that anybody knows."""


def share_of_the_rest(source: Source) -> float:
    return 1.0 if source.transcriber == NONE else 1.0 - SHARE


def of(source: Source, sound: Sound, seconds: float) -> tuple[list[Output], dict[str, Any]]:
    """Its files and what the job says of it; neither where none is wanted."""
    if source.transcriber == NONE:
        return [], {}
    whole = min(seconds, source.caps.transcript_seconds)
    report = share(source, whole, of=SHARE, after=1.0 - SHARE)
    transcript = transcription.recognise(
        source.transcriber, _sound(source, sound), report, source.caps.transcript_seconds
    )
    told = {
        "language": transcript.language,
        "words": len(transcript.words),
        "source": transcript.source,
        **({"truncated": True} if transcript.truncated else {}),
    }
    return transcription.write(transcript, source.scratch), {"transcript": told}


def _sound(source: Source, sound: Sound) -> Iterator[bytes]:
    """One channel of 16-bit samples, little-endian, as long as somebody takes them."""
    samples = Samples("s16", "mono", transcription.SAMPLE_RATE)
    with opened(source.path, source.media_type, source.caps.pixels) as container:
        stream: Any = container.streams[sound.index]
        prepare(stream, source.caps.pixels)
        for _, frame, seconds in Decoding(container, [stream], source.caps.seconds):
            for piece in samples.feed(frame, seconds):
                yield pcm(piece)
        for piece in samples.flush():
            yield pcm(piece)
