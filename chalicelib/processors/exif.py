"""EXIF: when a picture was taken, and with what; never where. Its texts are anybody's: cleaned, and cut."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

FIELDS = ("ifd0-Make", "ifd0-Model", "ifd2-DateTimeOriginal", "ifd2-OffsetTimeOriginal")
"""The tags that are read (CIPA DC-008, section 4.6), by directory and name; there is no GPS among them."""

MAX_CAMERA = 80
"""Characters of a camera's name."""

FIRST_PHOTOGRAPH = datetime(1826, 1, 1)

_DATE_TIME = re.compile(r"\d{4}(?::\d\d){2} \d\d(?::\d\d){2}(?!\d)", re.ASCII)
_OFFSET = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d(?!\d)", re.ASCII)


def metadata(fields: Mapping[str, str]) -> dict[str, str]:
    """`capturedAt` and `camera`, each where there is something to say, from the texts of `FIELDS`."""
    found = {
        "capturedAt": _captured_at(
            fields.get("ifd2-DateTimeOriginal", ""), fields.get("ifd2-OffsetTimeOriginal", "")
        ),
        "camera": _camera(fields.get("ifd0-Make", ""), fields.get("ifd0-Model", "")),
    }
    return {name: value for name, value in found.items() if value}


def _captured_at(date_time: str, offset: str) -> str:
    """ISO 8601, local time, with its offset from UTC where the camera knew it; an absurd time is none."""
    if not (match := _DATE_TIME.match(date_time)):
        return ""
    try:
        taken = datetime.strptime(match.group(), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return ""
    tomorrow = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)  # it may be that already over there
    if not FIRST_PHOTOGRAPH <= taken <= tomorrow:
        return ""
    known = _OFFSET.match(offset)
    return taken.isoformat() + (known.group() if known else "")


def _camera(make: str, model: str) -> str:
    """The model, after its maker unless it says so itself: `Canon EOS 5D`, `Apple iPhone 15`."""
    make, model = _clean(make), _clean(model)
    maker = make.split(" ", 1)[0].casefold()
    name = model if model.casefold().startswith(maker) else f"{make} {model}"
    return (name or make)[:MAX_CAMERA].strip()


def _clean(text: str) -> str:
    """One line of what can be seen."""
    normal = unicodedata.normalize("NFC", " ".join(text.split()))
    return "".join(character for character in normal if character.isprintable() and character != "\ufffd")
