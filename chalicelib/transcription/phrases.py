"""Words that belong together: what is said between two pauses, and how it is written."""

from collections.abc import Iterable, Iterator

from chalicelib.transcription.transcript import Word

PHRASE_PAUSE = 0.6
PARAGRAPH_PAUSE = 2.0
"""Seconds between two words."""

_UNSPACED = frozenset({"ja", "km", "lo", "my", "th", "yue", "zh"})
"""Languages that are written without spaces between words."""


def phrases(words: Iterable[Word]) -> Iterator[list[Word]]:
    phrase: list[Word] = []
    for word in words:
        if phrase and word.start - phrase[-1].end >= PHRASE_PAUSE:
            yield phrase
            phrase = []
        phrase.append(word)
    if phrase:
        yield phrase


def joined(words: Iterable[Word], language: str) -> str:
    return space(language).join(map(spelled, words))


def spelled(word: Word) -> str:
    """On one line, whoever recognised it."""
    return " ".join(word.text.split())


def space(language: str) -> str:
    """What stands between two words of a language, named by a BCP 47 tag."""
    return "" if language.split("-")[0].lower() in _UNSPACED else " "
