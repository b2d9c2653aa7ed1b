"""How much of a recording there is, by the time that it was to last: in the end, and on the way there."""

from collections.abc import Callable
from typing import Any

from chalicelib.media import faults
from chalicelib.media.decoding import Decoding
from chalicelib.processors.base import Source

MOST_LOST = 0.5
"""Of the packets, or of the time: of a file that has lost more, nothing is made."""

SLACK_SECONDS, SLACK_SHARE = 1.0, 0.05
"""By how much less than it says a whole file may last."""


def check(decoding: Decoding, declared: float) -> dict[str, Any]:
    """`duration`, and what is wrong with the file where something is.

    Raises:
        Rejected: `corrupt_media`, where most of it could not be read.
    """
    damage = decoding.damage
    end = max(decoding.ends.values(), default=0.0)
    if not decoding.ends:
        raise faults.corrupt("There is nothing in the file that can be read.")
    if damage.lost > MOST_LOST * damage.packets:
        raise faults.corrupt("Most of the file is damaged.")
    metadata: dict[str, Any] = {"duration": round(end, 3)}
    if end < declared - max(SLACK_SECONDS, SLACK_SHARE * declared):
        if end < (1 - MOST_LOST) * declared:
            raise faults.corrupt(f"The file breaks off after {end:.0f} of {declared:.0f} seconds.")
        metadata["truncated"] = True
    elif damage.cut:
        metadata["truncated"] = True
    if damage.found:
        metadata["damaged"] = True
    return metadata


def share(source: Source, whole: float, *, of: float = 1.0, after: float = 0.0) -> Callable[[float], None]:
    """Reports seconds as a part of the whole work, of which this is the part `of`, `after` another one."""

    def report(seconds: float) -> None:
        if whole > 0:
            source.report(after + of * min(1.0, seconds / whole))

    return report
