"""An event of the topic becomes a delivery for each webhook of its owner that wants it."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.settings import Settings
from chalicelib.telemetry import about, log, owner_hash
from chalicelib.webhooks import delivery, registry
from chalicelib.webhooks.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    type: str
    owner: str
    subject: str
    text: str
    """The CloudEvent as it was published."""


def notify(settings: Settings, invocation: Mapping[str, Any]) -> None:
    """Queue the deliveries of each event of an SNS invocation.

    A repeated invocation queues all of them again, under the same event id, by which receivers tell.

    Raises:
        Unavailable: the queue did not take every one of them.
    """
    for record in invocation["Records"]:
        event = _read(record)
        if event is None:
            # Nothing a retry could mend: another message came to the topic than those published here.
            log("event.bad", level=logging.ERROR)
            continue
        with about(jobId=event.subject, owner=owner_hash(event.owner)):
            _fan_out(settings, event)


def _fan_out(settings: Settings, event: Event) -> None:
    receivers = registry.subscribed(settings, event.owner, event.type)
    body = event.text.encode()
    delivery.send(
        settings,
        (Delivery(event.owner, to.id, event.id, event.type, event.subject, body) for to in receivers),
    )
    if receivers:
        log("event.fanned_out", eventId=event.id, receivers=len(receivers))


def _read(record: Mapping[str, Any]) -> Event | None:
    """The event in an SNS record; None where it is no CloudEvent of an owner."""
    try:
        text = record["Sns"]["Message"]
        fields = json.loads(text)
        event = Event(fields["id"], fields["type"], fields["data"]["owner"], fields["subject"], text)
        text.encode()
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    named = (event.id, event.type, event.owner, event.subject)
    whole = all(isinstance(name, str) and name for name in named) and delivery.is_event_id(event.id)
    return event if whole else None
