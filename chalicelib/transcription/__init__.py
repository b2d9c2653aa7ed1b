"""Speech to words: who recognises, and what a transcript is.

`pocketsphinx` recognises here, in the process that has the sound. `amazon` is Amazon Transcribe: the state
machine asks it, and module `amazon` reads its answer. `none` is nobody.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.transcription.transcript import (
    MAX_SECONDS,
    SAMPLE_RATE,
    UNKNOWN_LANGUAGE,
    Transcript,
    Word,
)

if TYPE_CHECKING:
    from chalicelib.processors.base import Output

__all__ = ["MAX_SECONDS", "SAMPLE_RATE", "UNKNOWN_LANGUAGE", "Transcript", "Word", "recognise", "write"]


def recognise(
    name: str,
    sound: Iterable[bytes],
    on_seconds: Callable[[float], None] = lambda _seconds: None,
    max_seconds: float = MAX_SECONDS,
) -> Transcript:
    """The words of a sound: mono, signed 16-bit little-endian PCM at `SAMPLE_RATE`, in chunks of any size.

    The sound is read once, and no further than `max_seconds`; memory does not grow with its length.
    `on_seconds` is told now and then how many of its seconds are done.

    Raises:
        ValueError: whoever has this name does not recognise here.
    """
    if name == "none":
        return Transcript(UNKNOWN_LANGUAGE, (), name)
    if name == "pocketsphinx":
        from chalicelib.transcription import pocketsphinx

        return pocketsphinx.recognise(sound, on_seconds, max_seconds)
    raise ValueError(f"{name} does not recognise in this process")


def write(transcript: Transcript, directory: Path) -> list["Output"]:
    """`transcript.json`, `transcript.txt` and `transcript.vtt`, as files in a directory."""
    from chalicelib.transcription import formats

    return formats.write(transcript, directory)
