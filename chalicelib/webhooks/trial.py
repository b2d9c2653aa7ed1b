"""What `POST /webhooks/{webhookId}/test` does: one event, sent at once, and what came of it.

One attempt a request, within the ten seconds that any attempt has.
"""

import time
from typing import Any

from chalicelib import jobs, keys
from chalicelib.jsontext import to_json
from chalicelib.settings import Settings
from chalicelib.webhooks import attempt, journal, registry
from chalicelib.webhooks.delivery import Delivery
from chalicelib.webhooks.journal import Entry
from chalicelib.webhooks.sender import Sender
from chalicelib.webhooks.webhook import GONE

EVENT_TYPE = "waybill.webhook.test"


def send(settings: Settings, owner: str, webhook_id: str, *, sender: Sender | None = None) -> dict[str, Any]:
    """`{"delivered", "status" or "reason", "durationMs", "eventId"}`; also of a webhook that is disabled.

    Raises:
        NotFound: there is no such webhook under this owner.
    """
    webhook = registry.get(settings, owner, webhook_id)
    event_id = f"test-{keys.new_job_id()}"
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/waybill/{settings.bucket}",
        "type": EVENT_TYPE,
        "subject": webhook.id,
        "time": jobs.timestamp(time.time()),
        "datacontenttype": "application/json",
        "data": {"owner": owner, "webhookId": webhook.id},
    }
    going = Delivery(owner, webhook.id, event_id, EVENT_TYPE, webhook.id, to_json(event).encode())
    made = attempt.make(sender or attempt.sender_of(settings), webhook, going, time.time)
    if made.outcome.gone:
        registry.disable(settings, webhook, GONE)
    attempt.told(going, made)
    journal.record(settings, [Entry(going, made, number=1)])
    outcome = {"status": made.outcome.status} if made.outcome.status else {"reason": made.outcome.reason}
    return {
        "delivered": made.outcome.delivered,
        **outcome,
        "durationMs": made.milliseconds,
        "eventId": event_id,
    }
