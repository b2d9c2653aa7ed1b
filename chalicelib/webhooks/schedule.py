"""When a delivery that failed is tried again (Standard Webhooks 1.0.0, "Deliverability and reliability").

It goes by the age of the delivery, and not by how often the queue has brought it: a message also comes back
from a function that was throttled or cut off, and such a visit uses up no attempt.
"""

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import accumulate

from chalicelib.queues import MAX_WAIT
from chalicelib.webhooks.sender import Outcome

JITTER = 0.15
"""At most so much of a wait is added to it, so that what failed together does not come back together."""

_MAY_ASK_TO_WAIT = (429, 503)


def next_wait(
    waits: Sequence[int],
    age: float,
    asked: float = 0.0,
    spread: Callable[[float, float], float] = random.uniform,
) -> int | None:
    """Seconds until the next attempt, after one that began when the delivery was `age` seconds old.

    `asked` is what the receiver wants at least. None when the attempts are used up.
    """
    due = next((at for at in accumulate(waits) if at > age), None)
    if due is None:
        return None
    wait = max(due - age, min(asked, MAX_WAIT))
    return min(math.ceil(wait * spread(1.0, 1.0 + JITTER)), MAX_WAIT)


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
