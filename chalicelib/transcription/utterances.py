"""Sound, cut into utterances: what is said between two pauses."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

PAUSE = 0.5
"""Seconds without speech that end an utterance, and about as many of speech that begin one."""

CUT_AFTER = 12.0
LONGEST = 30.0
"""Seconds. Who goes on without a pause is cut at the first breath after the one, and anywhere at the other:
recognition needs memory by the length of an utterance, and music can be one without end."""


@dataclass(frozen=True, slots=True)
class Utterance:
    start: float
    """Seconds from the beginning of the sound."""
    pcm: bytes


class Clock:
    """How far a sound has been read."""

    def __init__(self, max_seconds: float) -> None:
        self.max_seconds = max_seconds
        self.seconds = 0.0
        self.truncated = False


def frames(sound: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The sound in pieces of one size; silence fills up the last one."""
    held = bytearray()
    for chunk in sound:
        held += chunk
        whole = len(held) - len(held) % size
        for start in range(0, whole, size):
            yield bytes(held[start : start + size])
        del held[:whole]
    if len(held) > 1:  # half a sample is none
        yield bytes(held[: len(held) // 2 * 2]).ljust(size, b"\0")


def utterances(sound: Iterable[bytes], sample_rate: int, clock: Clock) -> Iterator[Utterance]:
    """Each one when its last frame has been read; the clock goes along."""
    from pocketsphinx import Endpointer, Vad

    listening: Any = Endpointer(window=PAUSE, sample_rate=sample_rate)
    breath: Any = Vad(mode=Vad.STRICT, sample_rate=sample_rate)
    step = listening.frame_length
    coming = frames(sound, listening.frame_bytes)
    said: list[bytes] = []
    start = 0.0
    for frame in islice(coming, round(clock.max_seconds / step)):
        before = listening.in_speech
        speech = listening.process(frame)
        clock.seconds += step
        if speech is None:
            continue
        if not before:
            start = listening.speech_start
        said.append(speech)
        length = len(said) * step
        if not listening.in_speech:
            yield Utterance(start, b"".join(said))
            said = []
        elif length >= LONGEST or (length >= CUT_AFTER and not breath.is_speech(speech)):
            yield Utterance(start, b"".join(said))
            said = []
            start += length
    clock.truncated = next(coming, None) is not None
    if listening.in_speech:
        said.append(listening.end_stream(bytes(listening.frame_bytes)) or b"")
    if said:
        yield Utterance(start, b"".join(said))
