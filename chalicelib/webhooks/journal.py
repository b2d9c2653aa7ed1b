"""The log of deliveries that an owner can read: one item an attempt, for a week.

It is written last of all, and what goes wrong with it is only told to our own log: it neither loses nor
repeats a delivery.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib import clients, cursors, items, jobs, keys
from chalicelib.settings import Settings
from chalicelib.telemetry import cause, log
from chalicelib.webhooks import registry
from chalicelib.webhooks.attempt import Attempt
from chalicelib.webhooks.delivery import Delivery

DAYS = 7
DEFAULT_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Entry:
    delivery: Delivery
    attempt: Attempt
    number: int
    """How often the delivery had been brought to us, this time included."""
    wait: int | None = None
    """Seconds until the next attempt; None when there is none."""

    def item(self) -> dict[str, Any]:
        delivery, outcome = self.delivery, self.attempt.outcome
        ended = self.attempt.at + self.attempt.milliseconds / 1000
        return items.to_item(
            {
                "owner": delivery.owner,
                # An id that sorts by time, behind that of the webhook: its attempts lie together, in order.
                "attemptId": f"{delivery.webhook_id}#{keys.new_job_id()}",
                "at": jobs.timestamp(self.attempt.at),
                "eventId": delivery.event_id,
                "eventType": delivery.event_type,
                "subject": delivery.subject,
                "attempt": self.number,
                "delivered": outcome.delivered,
                "status": outcome.status,
                "reason": outcome.reason,
                "durationMs": self.attempt.milliseconds,
                "nextAttemptAt": None if self.wait is None else jobs.timestamp(ended + self.wait),
                "givenUp": not outcome.delivered and self.wait is None,
                "expiresAt": int(self.attempt.at) + DAYS * 86_400,
            }
        )


def record(settings: Settings, entries: Iterable[Entry]) -> None:
    """Write entries down, up to 25 of them; never raises."""
    try:
        puts = [{"PutRequest": {"Item": entry.item()}} for entry in entries]
        if not puts:
            return
        request: Any = {settings.deliveries_table: puts}
        left = clients.dynamodb().batch_write_item(RequestItems=request)["UnprocessedItems"]
        if left:
            log("deliveries.unlogged", level=logging.WARNING, count=len(left[settings.deliveries_table]))
    except Exception as error:
        log("deliveries.unlogged", level=logging.WARNING, error=cause(error))


def page(settings: Settings, owner: str, webhook_id: str, query: Mapping[str, str]) -> dict[str, Any]:
    """`{"deliveries": […], "cursor": …}`, newest first; the cursor is null on the last page.

    Raises:
        NotFound: there is no such webhook under this owner.
        BadRequest: `bad_cursor`.
    """
    registry.get(settings, owner, webhook_id)
    request: dict[str, Any] = {
        "TableName": settings.deliveries_table,
        "KeyConditionExpression": "#owner = :owner AND begins_with(attemptId, :webhook)",
        "ExpressionAttributeNames": {"#owner": "owner"},
        "ExpressionAttributeValues": items.to_item({":owner": owner, ":webhook": f"{webhook_id}#"}),
        "ScanIndexForward": False,
        "Limit": int(query.get("limit", DEFAULT_LIMIT)),
    }
    if cursor := query.get("cursor"):
        attempt_id = f"{webhook_id}#{cursors.decode(cursor, keys.is_job_id)}"
        request["ExclusiveStartKey"] = items.to_item({"owner": owner, "attemptId": attempt_id})
    answer = clients.dynamodb().query(**request)
    last = answer.get("LastEvaluatedKey")
    return {
        "deliveries": [_view(items.from_item(item)) for item in answer["Items"]],
        "cursor": cursors.encode(last["attemptId"]["S"].partition("#")[2]) if last else None,
    }


def _view(values: dict[str, Any]) -> dict[str, Any]:
    hidden = ("owner", "attemptId", "expiresAt")
    return {name: value for name, value in values.items() if name not in hidden}
