"""An event on its way to one webhook, as the deliveries queue holds it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from chalicelib import queues
from chalicelib.messages import BadMessage
from chalicelib.settings import Settings
from chalicelib.telemetry import owner_hash

VERSION = 1

_FIELDS = ("owner", "webhookId", "eventId", "eventType", "subject", "body")
_EVENT_ID = re.compile(r"[\x21-\x7e]{1,256}")

_REFUSED = re.compile("[\ufffe\uffff]")
"""What JSON may hold, and SQS may not (Amazon SQS API Reference, `SendMessage`)."""


@dataclass(frozen=True, slots=True)
class Delivery:
    owner: str
    webhook_id: str
    event_id: str
    event_type: str
    subject: str
    """The job that has ended; of a test, the webhook."""
    body: bytes
    """The event, byte for byte as it was published."""

    @classmethod
    def parse(cls, message: str) -> Self:
        """
        Raises:
            BadMessage: not JSON, of another version, or incomplete.
        """
        try:
            fields: Any = json.loads(message)
        except (ValueError, RecursionError):
            raise BadMessage("The message is not JSON.") from None
        if not isinstance(fields, dict) or fields.get("v") != VERSION:
            raise BadMessage(f"The message is not of version {VERSION}.")
        if not all(isinstance(fields.get(name), str) and fields[name] for name in _FIELDS):
            raise BadMessage(f"The message lacks one of: {', '.join(_FIELDS)}.")
        owner, webhook_id, event_id, event_type, subject, body = (fields[name] for name in _FIELDS)
        if not is_event_id(event_id):
            raise BadMessage("The event's id is not fit for a header.")
        try:
            return cls(owner, webhook_id, event_id, event_type, subject, body.encode())
        except UnicodeEncodeError:
            raise BadMessage("The event is not fit for UTF-8.") from None

    def message(self) -> str:
        """At most twice as long as the event, of which SNS takes 256 KiB, while SQS takes 1 MiB."""
        values = (self.owner, self.webhook_id, self.event_id, self.event_type, self.subject)
        fields = dict(zip(_FIELDS, (*values, self.body.decode()), strict=True))
        return _REFUSED.sub(_escaped, json.dumps({"v": VERSION, **fields}, ensure_ascii=False))


def _escaped(refused: re.Match[str]) -> str:
    return f"\\u{ord(refused[0]):04x}"


def is_event_id(text: str) -> bool:
    """Whether it can go out as `webhook-id`: text of a header, and not long."""
    return bool(_EVENT_ID.fullmatch(text))


def send(settings: Settings, deliveries: Iterable[Delivery]) -> None:
    """Queue each delivery.

    Raises:
        Unavailable: the queue did not take every one of them; sending all again is safe.
    """
    queues.send(
        settings.deliveries_queue_url,
        # By its groups SQS sees to it that one owner's backlog does not hold up the others' deliveries
        # (Amazon SQS Developer Guide, "Fair queues").
        ({"MessageBody": one.message(), "MessageGroupId": owner_hash(one.owner)} for one in deliveries),
    )


def bury(settings: Settings, message: str, reason: str) -> None:
    """Make a message a dead letter at once; `reason` lies beside it for the operator."""
    queues.send(
        settings.deliveries_dead_letter_queue_url,
        [
            {
                "MessageBody": message,
                "MessageAttributes": {"reason": {"DataType": "String", "StringValue": reason}},
            }
        ],
    )
