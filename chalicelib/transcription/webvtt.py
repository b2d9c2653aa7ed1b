"""Subtitles: WebVTT, the Web Video Text Tracks Format (W3C), sections 4.1 and 4.2."""

import unicodedata
from collections.abc import Iterator

from chalicelib.transcription.phrases import phrases, space, spelled
from chalicelib.transcription.transcript import Transcript, Word

LINES = 2
LINE_WIDTH = 40
"""Columns; a character of an East Asian script takes two. Only a word that is wider by itself goes beyond."""

LONGEST_CUE = 7.0
"""Seconds."""

_SHORTEST_CUE = 1  # millisecond: the end of a cue has to be after its start
_SENTENCE_ENDS = (".", "?", "!", "。", "？", "！", "؟", "।")  # noqa: RUF001
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def document(transcript: Transcript) -> str:
    return "".join(("WEBVTT\n", *_cues(transcript)))


def _cues(transcript: Transcript) -> Iterator[str]:
    between = space(transcript.language)
    earliest = 0  # the start of a cue is not before that of one above it
    for words in _groups(transcript, between):
        start = max(round(words[0].start * 1000), earliest)
        last = min(words[-1].end, words[0].start + LONGEST_CUE)
        end = max(round(last * 1000), start + _SHORTEST_CUE)
        text = "\n".join(_wrapped(words, between)).translate(_ESCAPES)
        yield f"\n{_time(start)} --> {_time(end)}\n{text}\n"
        earliest = start


def _groups(transcript: Transcript, between: str) -> Iterator[list[Word]]:
    for phrase in phrases(transcript.words):
        group: list[Word] = []
        for word in phrase:
            if group and not _goes_on(group, word, between):
                yield group
                group = []
            group.append(word)
        yield group


def _goes_on(group: list[Word], word: Word, between: str) -> bool:
    """Whether a word belongs into the cue of those before it."""
    return (
        not group[-1].text.endswith(_SENTENCE_ENDS)
        and word.end - group[0].start <= LONGEST_CUE
        and len(_wrapped([*group, word], between)) <= LINES
    )


def _wrapped(words: list[Word], between: str) -> list[str]:
    lines: list[str] = []
    for word in words:
        text = spelled(word)
        if lines and _width(longer := lines[-1] + between + text) <= LINE_WIDTH:
            lines[-1] = longer
        else:
            lines.append(text)
    return lines


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _time(milliseconds: int) -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{thousandths:03}"
