"""Transcription: who recognises, and the files that a transcript becomes."""

import json
import re
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import transcription
from chalicelib.processors.base import Output
from chalicelib.settings import TRANSCRIBERS
from chalicelib.transcription import Transcript, Word
from chalicelib.transcription.webvtt import LINE_WIDTH, LINES, LONGEST_CUE, document

CUE = re.compile(
    r"\n(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})\n((?:[^\n]+\n)+)"
)
"""WebVTT, section 4.1: a cue block, with the empty line above it, and no identifier nor settings."""


def said(text: str, *, start: float = 0.0, pace: float = 0.5, language: str = "en-US") -> Transcript:
    """A transcript in which every word takes as long as all others, without pauses."""
    words = [
        Word(word, start + pace * number, start + pace * (number + 1), 0.9)
        for number, word in enumerate(text.split())
    ]
    return Transcript(language, tuple(words), "pocketsphinx")


def after(pause: float, one: Transcript, other: Transcript) -> Transcript:
    """Two of them, the second so many seconds behind the first."""
    offset = one.words[-1].end + pause
    later = tuple(Word(w.text, w.start + offset, w.end + offset, w.confidence) for w in other.words)
    return Transcript(one.language, one.words + later, one.source)


def written(transcript: Transcript, directory: Path) -> dict[str, str]:
    outputs = transcription.write(transcript, directory)
    return {output.name: body(output).read_text(encoding="utf-8") for output in outputs}


def body(output: Output) -> Path:
    assert isinstance(output.body, Path)
    return output.body


def cues(vtt: str) -> list[tuple[float, float, list[str]]]:
    """Start, end and lines of each cue, by the letter of the format: players forgive more than it does."""
    assert vtt.startswith("WEBVTT\n")
    found, at = [], len("WEBVTT\n")
    while at < len(vtt):
        match = CUE.match(vtt, at)
        assert match, repr(vtt[at : at + 80])
        h, m, s, ms, h2, m2, s2, ms2 = map(int, match.groups()[:8])
        text = match[9]
        assert "-->" not in text
        assert re.fullmatch(r"(?:[^&<>]|&(?:amp|lt|gt);)*", text)
        start, end = h * 3600 + m * 60 + s + ms / 1000, h2 * 3600 + m2 * 60 + s2 + ms2 / 1000
        assert start < end
        found.append((start, end, text.splitlines()))
        at = match.end()
    assert all(one[0] <= other[0] for one, other in pairwise(found))
    return found


def test_nobody_recognises_without_listening() -> None:
    sound = iter([b"some"])

    heard = transcription.recognise("none", sound)

    assert list(sound) == [b"some"]
    assert heard == Transcript("und", (), "none")


@pytest.mark.parametrize("name", ["amazon", "whisper", ""])
def test_who_does_not_recognise_here_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="does not recognise in this process"):
        transcription.recognise(name, [])


def test_every_transcriber_can_be_set() -> None:
    assert TRANSCRIBERS == ("none", "pocketsphinx", "amazon")


def test_a_transcript_is_three_files(tmp_path: Path) -> None:
    outputs = transcription.write(said("good morning"), tmp_path)

    assert [(output.name, output.content_type) for output in outputs] == [
        ("transcript.json", "application/json"),
        ("transcript.txt", "text/plain; charset=utf-8"),
        ("transcript.vtt", "text/vtt; charset=utf-8"),
    ]
    assert {body(output).parent for output in outputs} == {tmp_path}


def test_the_json_says_all_there_is(tmp_path: Path) -> None:
    words = (Word("größer", 0.1, 0.5, 0.75), Word("als", 0.5, 0.62))

    document = json.loads(written(Transcript("de-DE", words, "amazon", True), tmp_path)["transcript.json"])

    assert document == {
        "language": "de-DE",
        "source": "amazon",
        "truncated": True,
        "text": "größer als",
        "words": [
            {"text": "größer", "start": 0.1, "end": 0.5, "confidence": 0.75},
            {"text": "als", "start": 0.5, "end": 0.62, "confidence": None},
        ],
    }


def test_the_text_has_a_line_for_a_phrase_and_a_paragraph_after_a_long_pause(tmp_path: Path) -> None:
    transcript = after(2.5, after(0.7, said("one two"), said("three")), said("four five"))

    assert written(transcript, tmp_path)["transcript.txt"] == "one two\nthree\n\nfour five\n"


@pytest.mark.parametrize("language", ["ja-JP", "zh-CN", "th-TH"])
def test_some_languages_have_no_spaces(tmp_path: Path, language: str) -> None:
    files = written(said("今日 は 天気", language=language), tmp_path)

    assert files["transcript.txt"] == "今日は天気\n"
    assert json.loads(files["transcript.json"])["text"] == "今日は天気"
    assert cues(files["transcript.vtt"])[0][2] == ["今日は天気"]


def test_silence_has_a_transcript_without_words(tmp_path: Path) -> None:
    files = written(Transcript("en-US", (), "pocketsphinx"), tmp_path)

    assert json.loads(files["transcript.json"])["words"] == []
    assert (files["transcript.txt"], files["transcript.vtt"]) == ("", "WEBVTT\n")


def test_a_subtitle_says_when() -> None:
    assert document(said("good morning", start=3661.25)) == (
        "WEBVTT\n\n01:01:01.250 --> 01:01:02.250\ngood morning\n"
    )


def test_a_subtitle_ends_with_the_phrase() -> None:
    found = cues(document(after(0.8, said("one two"), said("three"))))

    assert [lines for _, _, lines in found] == [["one two"], ["three"]]


def test_a_subtitle_ends_with_the_sentence_where_there_are_full_stops() -> None:
    found = cues(document(said("Done. Now go on? Yes", language="en-US")))

    assert [lines for _, _, lines in found] == [["Done."], ["Now go on?"], ["Yes"]]


def test_a_subtitle_is_short() -> None:
    found = cues(document(said("seventy characters of words " * 40, pace=0.2)))

    assert max(len(lines) for _, _, lines in found) == LINES
    assert 30 < max(len(line) for _, _, lines in found for line in lines) <= LINE_WIDTH
    assert " ".join(line for _, _, lines in found for line in lines) == (
        ("seventy characters of words " * 40).strip()
    )


def test_slow_speech_is_in_short_subtitles_too() -> None:
    found = cues(document(said("so slow " * 20, pace=2)))

    assert max(end - start for start, end, _ in found) <= LONGEST_CUE
    assert max(len(line.split()) for _, _, lines in found for line in lines) == LONGEST_CUE // 2


def test_wide_characters_count_twice() -> None:
    found = cues(document(said("天気 " * 30, language="ja-JP", pace=0.1)))

    assert max(len(line) for _, _, lines in found for line in lines) == LINE_WIDTH // 2


def test_what_has_a_meaning_in_webvtt_is_escaped() -> None:
    transcript = said("R&D <b> --> 00:00:01.000 NOTE")

    (_, _, lines), *_ = cues(document(transcript))

    assert lines == ["R&amp;D &lt;b&gt; --&gt; 00:00:01.000 NOTE"]


def test_words_that_break_lines_do_not_break_the_file() -> None:
    transcript = Transcript("en", (Word("one\n\ntwo\r\n3", 0, 1), Word("four", 1, 2)), "amazon")

    assert cues(document(transcript)) == [(0, 2, ["one two 3 four"])]


def test_times_that_make_no_sense_become_ones_that_players_take() -> None:
    """Amazon Transcribe gives words that take no time."""
    transcript = Transcript("en", (Word("a.", 5, 5), Word("b.", 4, 4.5), Word("c", 9, 30)), "amazon")

    assert [(start, end) for start, end, _ in cues(document(transcript))] == [(5, 5.001), (5, 5.001), (9, 16)]


WORDS = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=60),
        st.floats(0, 3),
        st.floats(0, 3),
    ),
    max_size=60,
)


@given(WORDS)
def test_a_reader_of_webvtt_finds_every_word(words: list[tuple[str, float, float]]) -> None:
    now, made = 0.0, []
    for text, pause, length in words:
        made.append(Word(text, now + pause, now + pause + length))
        now += pause + length

    vtt = document(Transcript("en", tuple(made), "amazon"))

    lines = [line for _, _, lines in cues(vtt) for line in lines]
    assert "".join(lines).replace(" ", "").replace("&lt;", "<").replace("&gt;", ">").replace(
        "&amp;", "&"
    ) == "".join(text for text, _, _ in words)
    read = webvtt.from_buffer(StringIO(vtt))
    assert [caption.raw_text.split("\n") for caption in read.captions] == [lines for _, _, lines in cues(vtt)]
