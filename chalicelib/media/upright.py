"""How a picture is turned so that it is upright: by the matrix that cameras write beside it."""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av import VideoFrame

_MATRIX = struct.Struct("=9i")


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways that a picture can lie."""

    degrees: int = 0
    """Clockwise, to be made before it is mirrored."""
    mirrored: bool = False
    """Left and right, after turning."""

    @property
    def on_its_side(self) -> bool:
        return self.degrees % 180 == 90

    def filters(self) -> tuple[tuple[str, str], ...]:
        """Names and arguments of FFmpeg's filters."""
        turned: tuple[tuple[str, str], ...] = {
            90: (("transpose", "clock"),),
            180: (("hflip", ""), ("vflip", "")),
            270: (("transpose", "cclock"),),
        }.get(self.degrees, ())
        return (*turned, ("hflip", "")) if self.mirrored else turned


def turn_of(frame: "VideoFrame") -> Turn:
    """By the display matrix (ISO/IEC 14496-12, section 8.3.2: x' = ax + cy, y' = bx + dy), y downwards.

    What lies between the quarters is turned to the next one.
    """
    try:
        side_data: Any = frame.side_data  # a mapping, and not the dictionary that its stub tells of
        a, b, _, c, d, *_ = _MATRIX.unpack(bytes(side_data["DISPLAYMATRIX"]))
    except (KeyError, struct.error):
        return Turn()
    mirrored = a * d - b * c < 0
    if mirrored:  # what is left is the turn that comes before it
        a, c = -a, -c
    if abs(a) >= abs(b):
        return Turn(0 if a >= 0 else 180, mirrored)
    return Turn(90 if b > 0 else 270, mirrored)
