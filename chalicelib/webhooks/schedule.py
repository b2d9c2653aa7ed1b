"""When a delivery that failed is tried again (Standard Webhooks 1.0.0, "Deliverability and reliability").

How often the queue has brought a delivery says how long to wait, and its age says when to give up: a message
also comes back from a function that was throttled or cut off, and such visits must not use its attempts up.
"""

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

from chalicelib.queues import MAX_WAIT
from chalicelib.settings import MAX_RETRY_TIME
from chalicelib.webhooks.sender import Outcome

JITTER = 0.15
"""At most so much of a wait is added to it, so that what failed together does not come back together."""

_MAY_ASK_TO_WAIT = (429, 503)


def next_wait(
    waits: Sequence[int],
    visits: int,
    age: float,
    asked: float = 0.0,
    spread: Callable[[float, float], float] = random.uniform,
) -> int | None:
    """Seconds until the next attempt, after a failed one.

    Args:
        visits: how often the queue has brought the delivery, this time included.
        age: seconds since it was queued.
        asked: seconds that the receiver wants to be left alone.

    Returns:
        None when the attempts are used up.
    """
    left = sum(waits) - age
    if age >= MAX_RETRY_TIME or (visits > len(waits) and left <= 0):
        return None
    wait = waits[visits - 1] if visits <= len(waits) else min(left, waits[-1])
    return min(math.ceil(max(wait, min(asked, MAX_WAIT)) * spread(1.0, 1.0 + JITTER)), MAX_WAIT)


def asked_by(outcome: Outcome, now: float) -> float:
    """Seconds that an answer asks to wait, by its `Retry-After` (RFC 9110, section 10.2.3); else 0."""
    said = (outcome.retry_after or "").strip()
    if outcome.status not in _MAY_ASK_TO_WAIT or not said:
        return 0.0
    if said.isascii() and said.isdigit():
        return float(said[:10]) if len(said) <= 10 else math.inf
    try:
        when = parsedate_to_datetime(said)
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
