"""A transcript as files: JSON for programs, text for people, WebVTT for players."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chalicelib.processors.base import Output
from chalicelib.transcription import webvtt
from chalicelib.transcription.phrases import PARAGRAPH_PAUSE, joined, phrases
from chalicelib.transcription.transcript import Transcript, Word

NAMES = {
    "transcript.json": "application/json",
    "transcript.txt": "text/plain; charset=utf-8",
    "transcript.vtt": "text/vtt; charset=utf-8",
}
"""Of the files, each with its media type."""


def write(transcript: Transcript, directory: Path) -> list[Output]:
    """See `transcription.write`."""
    contents = (_json(transcript), _text(transcript), webvtt.document(transcript))
    outputs = []
    for (name, content_type), content in zip(NAMES.items(), contents, strict=True):
        (path := directory / name).write_text(content, encoding="utf-8", newline="\n")
        outputs.append(Output(name, content_type, path))
    return outputs


def _json(transcript: Transcript) -> str:
    """`{language, source, truncated, text, words: [{text, start, end, confidence}]}`, times in seconds."""
    document = {
        "language": transcript.language,
        "source": transcript.source,
        "truncated": transcript.truncated,
        "text": joined(transcript.words, transcript.language),
        "words": [_word(word) for word in transcript.words],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def _word(word: Word) -> dict[str, Any]:
    return {"text": word.text, "start": word.start, "end": word.end, "confidence": word.confidence}


def _text(transcript: Transcript) -> str:
    """A line for what is said without a pause, an empty line for a longer one."""
    return "".join(_lines(transcript))


def _lines(transcript: Transcript) -> Iterable[str]:
    before: Word | None = None
    for phrase in phrases(transcript.words):
        if before is not None and phrase[0].start - before.end >= PARAGRAPH_PAUSE:
            yield "\n"
        yield joined(phrase, transcript.language) + "\n"
        before = phrase[-1]
