"""The moment at which Lambda cuts a function off."""

from collections.abc import Callable
from typing import Any


def seconds_left(event: Any) -> Callable[[], float]:
    """A clock that runs down to it, of the invocation that this event of Chalice's belongs to."""
    return lambda: event.context.get_remaining_time_in_millis() / 1000
