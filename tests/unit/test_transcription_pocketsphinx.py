"""Recognition on this machine: real speech, by synthetic voices, and what is none."""

import random
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import pairwise
from math import sin
from pathlib import Path

import pytest

from chalicelib.transcription import SAMPLE_RATE, Transcript, recognise
from chalicelib.transcription.utterances import LONGEST, PAUSE, Clock, frames, utterances
from tests.files import voices

ROOT = Path(__file__).parents[2]
SECOND = 2 * SAMPLE_RATE  # bytes


def heard(sound: Iterable[bytes], max_seconds: float = 60) -> Transcript:
    return recognise("pocketsphinx", sound, max_seconds=max_seconds)


@cache
def heard_alone(name: str) -> Transcript:
    """One voice and nothing else, recognised once for all tests that compare with it."""
    return heard([voices.pcm(name)])


def texts(transcript: Transcript) -> list[str]:
    return [word.text for word in transcript.words]


def errors(expected: list[str], found: list[str]) -> int:
    """Words put in, left out or taken for others: the Levenshtein distance."""
    row = list(range(len(found) + 1))
    for number, word in enumerate(expected, 1):
        above, row = row, [number]
        for column, other in enumerate(found):
            row.append(min(above[column] + (word != other), above[column + 1] + 1, row[column] + 1))
    return row[-1]


def tone(seconds: float) -> bytes:
    """Two notes that swell and fade, as music does."""
    samples = (
        round(9000 * (1 + sin(at / 5000)) / 2 * (sin(at / 7) + sin(at / 11)) / 2)
        for at in range(round(seconds * SAMPLE_RATE))
    )
    return array("h", samples).tobytes()


@pytest.mark.parametrize("name", voices.SAID)
def test_most_words_of_a_clear_voice_are_recognised(name: str, figure: Callable[[str], None]) -> None:
    expected = voices.words(name)

    transcript = heard_alone(name)

    wrong = errors(expected, texts(transcript))
    figure(f"pocketsphinx, voice of {name}: {wrong} of {len(expected)} words wrong")
    assert wrong <= len(expected) * 0.3
    assert (transcript.language, transcript.source, transcript.truncated) == ("en-US", "pocketsphinx", False)


def test_words_are_words_with_a_time_and_a_confidence() -> None:
    """No fillers, no numbers of pronunciations."""
    harbor, water = (voices.pcm(name)[: 3 * SECOND] for name in ("harbor", "water"))
    transcript = heard([harbor, voices.SILENCE, water])

    assert len(transcript.words) > 8
    assert all(word.text.replace("'", "").isalpha() for word in transcript.words)
    assert all(word.start < word.end for word in transcript.words)
    assert all(one.end <= other.start + 0.011 for one, other in pairwise(transcript.words))
    assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in transcript.words)


def test_times_count_from_the_beginning_of_the_sound() -> None:
    alone = {word.text: word.start for word in heard_alone("harbor").words}

    later = {word.text: word.start for word in heard([voices.SILENCE * 20, voices.pcm("harbor")]).words}

    for word in ("ship", "captain", "deck"):
        assert later[word] - alone[word] == pytest.approx(20, abs=0.2)


def test_chunks_may_be_of_any_size() -> None:
    name = "invoice"
    pcm = voices.pcm(name)
    sizes = random.Random(1)
    chunks, at = [], 0
    while at < len(pcm):
        size = sizes.choice((0, 1, 3, 960, 5001))
        chunks.append(pcm[at : at + size])
        at += size

    assert heard(chunks) == heard_alone(name)


@pytest.mark.parametrize(
    "sound",
    [b"", b"\0", b"\0\0", voices.SILENCE * 10, random.Random(2).randbytes(5 * SECOND), tone(5)],
    ids=["nothing", "half a sample", "a sample", "silence", "noise", "music"],
)
def test_what_is_no_speech_has_few_words_or_none(sound: bytes) -> None:
    assert len(heard([sound]).words) <= 3


def test_what_is_said_at_the_very_end_is_heard() -> None:
    """No pause comes after it."""
    pcm = voices.pcm("harbor")[: round(4.9 * SECOND)]

    assert heard([pcm]).words[-1].end > 4.5


def test_a_long_sound_is_cut_and_says_so() -> None:
    read: list[int] = []

    def sound() -> Iterator[bytes]:
        for second in range(100):
            read.append(second)
            yield voices.pcm("harbor")[:SECOND] if second == 0 else voices.SILENCE

    transcript = heard(sound(), max_seconds=3)

    assert transcript.truncated
    assert transcript.words[-1].end <= 3
    assert len(read) <= 5


def test_a_sound_just_as_long_as_is_recognised_is_whole() -> None:
    assert not heard([voices.SILENCE * 3], max_seconds=3).truncated
    assert heard([voices.SILENCE * 3, voices.SILENCE], max_seconds=3).truncated


def test_it_tells_how_far_it_is() -> None:
    told: list[float] = []

    recognise("pocketsphinx", [voices.SILENCE] * 5, told.append)

    assert told == sorted(told)
    assert len(told) > 4
    assert told[-1] == pytest.approx(5, abs=0.1)


def test_nobody_has_to_listen_for_how_far_it_is() -> None:
    assert recognise("pocketsphinx", [voices.SILENCE]).words == ()


def test_who_makes_no_pause_is_cut_all_the_same() -> None:
    """Memory must not grow with the length of what is said."""
    endless = (voices.pcm("harbor")[SECOND : 2 * SECOND] for _ in range(90))

    found = list(utterances(endless, SAMPLE_RATE, Clock(80)))

    assert max(len(one.pcm) for one in found) <= (LONGEST + 1) * SECOND
    assert sum(len(one.pcm) for one in found) == pytest.approx(80 * SECOND, abs=2 * SECOND)
    for one, other in pairwise(found):
        assert other.start == pytest.approx(one.start + len(one.pcm) / SECOND, abs=PAUSE + 0.1)


def test_frames_are_of_one_size_and_lose_nothing() -> None:
    assert list(frames([b"abcd", b"", b"e", b"fghij"], 4)) == [b"abcd", b"efgh", b"ij\0\0"]
    assert list(frames([b"abcde"], 4)) == [b"abcd"]


CONFINED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30,) * 2)
from chalicelib.transcription import recognise
assert not any(name.startswith("pocketsphinx") for name in sys.modules)
print(" ".join(word.text for word in recognise("pocketsphinx", [sys.stdin.buffer.read()]).words))
"""


def test_it_needs_neither_a_home_nor_more_than_3_gib() -> None:
    run = subprocess.run(
        [sys.executable, "-c", CONFINED],
        input=voices.pcm("harbor"),
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )

    assert b"captain" in run.stdout
    assert run.stderr == b""
