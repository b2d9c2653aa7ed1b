"""One attempt to deliver an event: signed anew, and sent."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from chalicelib.settings import Settings
from chalicelib.telemetry import log
from chalicelib.webhooks import signature
from chalicelib.webhooks.delivery import Delivery
from chalicelib.webhooks.sender import Outcome, Sender
from chalicelib.webhooks.webhook import Webhook

CONTENT_TYPE = "application/cloudevents+json"  # CloudEvents HTTP binding 1.0.2, "Structured Content Mode"

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Attempt:
    at: float
    """When it began, in seconds since 1970."""
    outcome: Outcome
    milliseconds: int


def sender_of(settings: Settings) -> Sender:
    return Sender(allow_insecure=settings.webhook_allow_insecure)


def make(sender: Sender, webhook: Webhook, delivery: Delivery, clock: Clock) -> Attempt:
    """The id stays from attempt to attempt; time and signatures are of this one."""
    at, begun = clock(), time.monotonic()
    signed = signature.headers(webhook.signing(at), delivery.event_id, int(at), delivery.body)
    outcome = sender.post(webhook.url, {"Content-Type": CONTENT_TYPE} | signed, delivery.body)
    return Attempt(at, outcome, round((time.monotonic() - begun) * 1000))


def told(
    going: Delivery,
    made: Attempt,
    again: int | None = None,
    measured: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """One line in our own log; of a test, which is none of a job's, without a metric."""
    outcome = made.outcome
    log(
        "webhook.delivered" if outcome.delivered else "webhook.failed",
        level=logging.INFO if outcome.delivered else logging.WARNING,
        webhookId=going.webhook_id,
        eventId=going.event_id,
        status=outcome.status,
        reason=outcome.reason,
        milliseconds=made.milliseconds,
        again=again,
        **measured,
    )
