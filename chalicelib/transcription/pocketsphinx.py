"""pocketsphinx: recognises English without asking anybody, with the en-us model that its wheel brings."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chalicelib.transcription.transcript import SAMPLE_RATE, Transcript, Word
from chalicelib.transcription.utterances import Clock, Utterance, utterances

LANGUAGE = "en-US"
SOURCE = "pocketsphinx"

FRAMES_A_SECOND = 100
"""In which the decoder counts time (its `frate`)."""

_VARIANT = re.compile(r"\([0-9]+\)$")  # the second pronunciation in the dictionary is "and(2)"
_NO_WORD = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")  # <s>, <sil>, [NOISE], ++breath++


def recognise(sound: Iterable[bytes], on_seconds: Callable[[float], None], max_seconds: float) -> Transcript:
    """See `transcription.recognise`."""
    decoder = _decoder()
    clock = Clock(max_seconds)
    words: list[Word] = []
    for utterance in utterances(_told(sound, clock, on_seconds), SAMPLE_RATE, clock):
        words.extend(_words(decoder, utterance))
    on_seconds(clock.seconds)
    return Transcript(LANGUAGE, tuple(words), SOURCE, clock.truncated)


def _told(sound: Iterable[bytes], clock: Clock, on_seconds: Callable[[float], None]) -> Iterator[bytes]:
    """The sound, in which each chunk that is asked for says that those before it are done."""
    for chunk in sound:
        on_seconds(clock.seconds)
        yield chunk


def _decoder() -> Any:
    """One for each sound, made in a third of a second: what was said in another has no part in it."""
    from pocketsphinx import Decoder

    return Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")


def _words(decoder: Any, utterance: Utterance) -> Iterator[Word]:
    decoder.start_utt()
    # As a whole, for the loudness is then known from the beginning.
    decoder.process_raw(utterance.pcm, full_utt=True)
    decoder.end_utt()
    for segment in decoder.seg() or ():
        if not _NO_WORD.fullmatch(segment.word):
            yield Word(
                text=_VARIANT.sub("", segment.word),
                start=round(utterance.start + segment.start_frame / FRAMES_A_SECOND, 2),
                end=round(utterance.start + (segment.end_frame + 1) / FRAMES_A_SECOND, 2),
                confidence=round(min(max(segment.prob, 0.0), 1.0), 3),
            )
