"""A batch of the jobs queue: its records side by side, each with a fate of its own.

A plain event source mapping deletes the whole batch when the handler returns, and gives the whole batch back
when it raises; only one with `ReportBatchItemFailures` looks at what is returned. So that the same code is
right under both, records that are done are deleted here, and then the handler raises for those that are not.
"""

import math
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

from chalicelib import messages, pipeline, sandbox
from chalicelib.errors import RetryLater, Unavailable
from chalicelib.messages import BATCH, BadMessage, Message
from chalicelib.settings import Settings
from chalicelib.telemetry import cause, log

AT_ONCE = 1
"""Seconds: what no retry can help goes to the dead-letter queue by the short way."""

UNEXPECTED = 30

MARGIN = 10.0
"""Seconds that are kept back for what comes behind the decoding: outputs, events, the end of the job."""

LEAST = 5.0
"""Seconds in which files may begin, however little time the function has: or else none would ever."""


class BatchIncomplete(Unavailable):
    """Some records of a batch have to come again."""

    code = "batch_incomplete"


@lru_cache(maxsize=1)
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(BATCH, thread_name_prefix="consume")


def consume(
    settings: Settings, event: Mapping[str, Any], seconds_left: Callable[[], float] = lambda: math.inf
) -> None:
    """
    Raises:
        BatchIncomplete: after every record has had its turn, if any of them has to come again.
    """
    records = event["Records"]
    begin_by = time.monotonic() + max(
        LEAST, seconds_left() - MARGIN - sandbox.wall_seconds(settings.decode_seconds)
    )
    delays = list(_workers().map(partial(_work_on, settings, begin_by), records))
    again = [(record, delay) for record, delay in zip(records, delays, strict=True) if delay is not None]
    if not again:
        return
    done = [record for record, delay in zip(records, delays, strict=True) if delay is None]
    messages.acknowledge(settings, done)
    messages.retry_later(settings, again)
    raise BatchIncomplete(f"{len(again)} of {len(records)} messages have to come again.")


def _work_on(settings: Settings, begin_by: float, record: Mapping[str, Any]) -> int | None:
    """Work on one record; None when it is done, else the seconds after which to try again."""
    try:
        pipeline.run(settings, Message.parse(record["body"], settings.bucket), begin_by)
    except BadMessage as error:
        log("message.bad", messageId=record["messageId"], reason=error.message)
        return AT_ONCE
    except RetryLater as error:
        return _spread(error.after)
    except Exception as error:
        log("message.failed", messageId=record["messageId"], error=cause(error))
        return _spread(UNEXPECTED)
    return None


def _spread(seconds: int) -> int:
    """Full jitter around a back-off, so that what failed together does not come back together."""
    return max(1, round(random.uniform(0.5, 1.5) * seconds))
