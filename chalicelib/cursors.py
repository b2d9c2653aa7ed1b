"""What continues a list where its last page ended: opaque to clients, and checked when it comes back."""

import base64
import binascii
from collections.abc import Callable

from chalicelib.errors import BadRequest


def encode(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def decode(cursor: str, is_place: Callable[[str], bool]) -> str:
    """
    Raises:
        BadRequest: `bad_cursor`.
    """
    try:
        place = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        place = ""
    if not is_place(place):
        raise BadRequest("cursor is not one that this API gave: leave it out.", code="bad_cursor")
    return place
