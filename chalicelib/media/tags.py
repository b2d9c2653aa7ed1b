"""What a file says of itself: cleaned, cut, and chosen; never where it was made."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

MAX_CHARACTERS = 200
"""Of one tag."""

_NAMES = {
    "title": "title",
    "artist": "artist",
    "album": "album",
    "album_artist": "albumArtist",
    "composer": "composer",
    "genre": "genre",
    "date": "date",
    "year": "date",
    "track": "track",
    "disc": "disc",
    "language": "language",
    "publisher": "publisher",
    "copyright": "copyright",
}
"""FFmpeg's names, which it has for those of all formats → ours. All others stay in the original."""

EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
"""Behind the zeros of clocks that were never set."""

_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)


def described(*sources: Mapping[str, str]) -> dict[str, str]:
    """Of each tag the first that says something; Ogg has them on its stream, all others on the file."""
    found: dict[str, str] = {}
    for source in sources:
        for name, value in source.items():
            ours = _NAMES.get(name.lower())
            if ours and ours not in found and (text := _clean(value)) and (ours, text) != ("language", "und"):
                found[ours] = text
    return dict(sorted(found.items()))


def captured_at(tags: Mapping[str, str]) -> str | None:
    """UTC, as the camera's clock had it; an absurd time is none."""
    match = _CREATED.match(tags.get("creation_time", ""))
    try:
        taken = datetime.fromisoformat(match.group() + "+00:00") if match else None
    except ValueError:
        return None
    if taken is None or not EARLIEST <= taken <= datetime.now(UTC) + timedelta(days=1):
        return None
    return taken.strftime("%Y-%m-%dT%H:%M:%SZ")


def _clean(text: str) -> str:
    """One line of what can be seen."""
    normal = unicodedata.normalize("NFC", " ".join(text[: 4 * MAX_CHARACTERS].split()))
    seen = "".join(character for character in normal if character.isprintable() and character != "\ufffd")
    return seen[:MAX_CHARACTERS].strip()
