"""A batch of the jobs queue: its records side by side, each worked on to its own end."""

import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

from chalicelib import batch, metrics, pipeline, sandbox
from chalicelib.errors import RetryLater
from chalicelib.messages import BadMessage, Message
from chalicelib.queues import BATCH
from chalicelib.settings import Settings
from chalicelib.telemetry import carried, cause, log

AT_ONCE = 1
"""Seconds: what no retry can help goes to the dead-letter queue by the short way."""

UNEXPECTED = 30

MAX_BACK_OFF = 900
"""Seconds: the sweep would be quicker than a message that comes later."""

MARGIN = 10.0
"""Seconds that are kept back for what comes behind the decoding: outputs, events, the end of the job."""

LEAST = 5.0
"""Seconds in which files may begin, however little time the function has: or else none would ever."""


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
    delays = _workers().map(carried(partial(_work_on, settings, begin_by)), records)
    fates = list(zip(records, delays, strict=True))
    if any(delay is not None for _, delay in fates):
        batch.settle(settings.queue_url, fates)
    batch.check(fates)


def _work_on(settings: Settings, begin_by: float, record: Mapping[str, Any]) -> int | None:
    """Work on one record; None when it is done, else the seconds after which to try again."""
    try:
        pipeline.run(settings, Message.parse(record["body"], settings.bucket), begin_by)
    except BadMessage as error:
        log("message.bad", level=logging.ERROR, messageId=record["messageId"], reason=error.message)
        return AT_ONCE
    except RetryLater as error:
        return _spread(error.after)
    except Exception as error:
        log(
            "message.failed",
            level=logging.ERROR,
            messageId=record["messageId"],
            error=cause(error),
            **metrics.unexpected(settings.stage),
        )
        return _spread(UNEXPECTED)
    return None


def _spread(seconds: int) -> int:
    """Full jitter around a back-off, so that what failed together does not come back together."""
    return min(max(1, round(random.uniform(0.5, 1.5) * seconds)), MAX_BACK_OFF)
