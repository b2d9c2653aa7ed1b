"""What was said in a sound, and when."""

from dataclasses import dataclass

SAMPLE_RATE = 16_000
"""Of sound that is recognised: samples a second."""

MAX_SECONDS = 3_600
"""Of sound, where nobody says otherwise."""

UNKNOWN_LANGUAGE = "und"
"""RFC 5646, section 4.1: undetermined."""


@dataclass(frozen=True, slots=True)
class Word:
    """What was said from `start` to `end`, in seconds; a mark that follows it is part of its text."""

    text: str
    start: float
    end: float
    confidence: float | None = None
    """From 0 to 1; None where the recogniser has none."""


@dataclass(frozen=True, slots=True)
class Transcript:
    language: str
    """A BCP 47 tag."""
    words: tuple[Word, ...]
    source: str
    """Who recognised, as `TRANSCRIBER` names it."""
    truncated: bool = False
    """Whether there was more sound than is recognised of one file."""
