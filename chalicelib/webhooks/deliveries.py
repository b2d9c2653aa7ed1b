"""A batch of the deliveries queue: an attempt for each message, side by side.

    parse ─▶ webhook ─▶ attempt ─▶ 2xx            done
      │         │          ├─▶ 410                 the webhook is disabled, done
      │         │          └─▶ anything else       again, when the schedule says; at its end a dead letter
      │         └─▶ removed or disabled: dropped
      └─▶ no delivery: a dead letter

The queue is told first and the owner's log last, so that nothing that happens to the log can bring a
delivery again.
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from chalicelib import batch, metrics
from chalicelib.messages import BadMessage
from chalicelib.queues import BATCH, Record
from chalicelib.settings import Settings
from chalicelib.telemetry import about, carried, cause, log, owner_hash
from chalicelib.webhooks import attempt, delivery, journal, registry, schedule
from chalicelib.webhooks.attempt import Attempt, Clock
from chalicelib.webhooks.delivery import Delivery
from chalicelib.webhooks.journal import Entry
from chalicelib.webhooks.sender import Sender
from chalicelib.webhooks.webhook import GONE, Webhook

MARGIN = 6.0
"""Seconds that are kept back for telling the queue."""

UNEXPECTED = 300
"""Seconds, where it is not the receiver that failed: the queue brings a message 50 times at most."""

Result = tuple[int | None, Entry | None]
"""The seconds after which a delivery has to come again, None when it is done; and what there is to log."""


def deliver(
    settings: Settings,
    event: Mapping[str, Any],
    seconds_left: Callable[[], float] = lambda: math.inf,
    *,
    sender: Sender | None = None,
    clock: Clock = time.time,
) -> None:
    """
    Raises:
        BatchIncomplete: after every record has had its turn, if any of them has to come again.
    """
    sender = sender or attempt.sender_of(settings)
    records = event["Records"]
    workers = ThreadPoolExecutor(BATCH, thread_name_prefix="deliver")
    work = carried(partial(_work_on, settings, sender, clock))
    turns = [workers.submit(work, record) for record in records]
    # One that waits for our own table, say, is left behind: it must not have its neighbours sent again.
    done, _ = wait(turns, timeout=min(60.0, max(1.0, seconds_left() - MARGIN)))
    workers.shutdown(wait=False)
    results: list[Result] = [turn.result() if turn in done else (UNEXPECTED, None) for turn in turns]
    fates = [(record, again) for record, (again, _) in zip(records, results, strict=True)]
    try:
        batch.settle(settings.deliveries_queue_url, fates)
    finally:
        journal.record(settings, [entry for _, entry in results if entry])
    batch.check(fates)


def _work_on(settings: Settings, sender: Sender, clock: Clock, record: Record) -> Result:
    try:
        return _deliver(settings, sender, clock, record)
    except Exception as error:
        log(
            "delivery.failed",
            level=logging.ERROR,
            messageId=record["messageId"],
            error=cause(error),
            **metrics.unexpected(settings.stage),
        )
        return UNEXPECTED, None


def _deliver(settings: Settings, sender: Sender, clock: Clock, record: Record) -> Result:
    try:
        going = Delivery.parse(record["body"])
    except BadMessage as error:
        delivery.bury(settings, record["body"], error.code)
        log(
            "message.bad",
            level=logging.ERROR,
            messageId=record["messageId"],
            reason=error.message,
            **_counted(settings, metrics.DEAD),
        )
        return None, None
    with about(jobId=going.subject, owner=owner_hash(going.owner)):
        return _attempt(settings, sender, clock, record, going)


def _attempt(settings: Settings, sender: Sender, clock: Clock, record: Record, going: Delivery) -> Result:
    webhook = registry.find(settings, going.owner, going.webhook_id)
    if webhook is None or webhook.disabled:
        return None, None
    made = attempt.make(sender, webhook, going, clock)
    again = _judge(settings, webhook, made, record, clock())
    attempt.told(going, made, again, _counted(settings, _word_for(made, again)))
    return again, Entry(going, made, _visits(record), again)


def _word_for(made: Attempt, again: int | None) -> str:
    if made.outcome.delivered:
        return metrics.DELIVERED
    if made.outcome.gone:
        return metrics.DISABLED
    return metrics.RETRIED if again is not None else metrics.DEAD


def _counted(settings: Settings, outcome: str) -> dict[str, Any]:
    return metrics.measured(settings.stage, {metrics.WEBHOOK_DELIVERIES: 1}, Outcome=outcome)


def _judge(settings: Settings, webhook: Webhook, made: Attempt, record: Record, now: float) -> int | None:
    """The seconds after which to try again; None when the delivery is done with, one way or another."""
    outcome = made.outcome
    if outcome.delivered:
        return None
    if outcome.gone:
        registry.disable(settings, webhook, GONE)
        return None
    age, asked = now - _sent(record), schedule.asked_by(outcome, now)
    again = schedule.next_wait(settings.webhook_retry_seconds, _visits(record), age, asked)
    if again is None:
        delivery.bury(settings, record["body"], str(outcome.status or outcome.reason))
    return again


def _visits(record: Record) -> int:
    return int(record["attributes"]["ApproximateReceiveCount"])


def _sent(record: Record) -> float:
    return int(record["attributes"]["SentTimestamp"]) / 1000
