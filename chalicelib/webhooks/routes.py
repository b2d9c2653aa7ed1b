"""The routes under /webhooks: an owner's URLs, their secrets, and what has become of deliveries to them."""

from typing import Any

from chalicelib import answers, lazy, schemas
from chalicelib.api import Call
from chalicelib.routes import Routes

with lazy.imports():
    from chalicelib.webhooks import journal, registry, trial


def declare(route: Routes) -> None:
    @route.post("/webhooks", body=schemas.WEBHOOK, answer=answers.NEW_WEBHOOK, status=201)
    def register_webhook(call: Call) -> Any:
        """Have the ends of the caller's jobs sent to a URL."""
        return registry.register(call.settings, call.owner, call.body)

    @route.get("/webhooks", answer=answers.WEBHOOKS)
    def list_webhooks(call: Call) -> Any:
        """The caller's webhooks, without their secrets."""
        return registry.listing(call.settings, call.owner)

    @route.delete("/webhooks/{webhook_id}", status=204)
    def remove_webhook(call: Call, webhook_id: str) -> Any:
        """Send nothing more to one of the caller's webhooks."""
        registry.remove(call.settings, call.owner, webhook_id)

    @route.post(
        "/webhooks/{webhook_id}/rotate", answer=answers.ROTATED_WEBHOOK, also=answers.ROTATED_MEANWHILE
    )
    def rotate_webhook_secret(call: Call, webhook_id: str) -> Any:
        """Give a webhook a new secret; the old one signs beside it for a day."""
        return registry.rotate(call.settings, call.owner, webhook_id)

    @route.post("/webhooks/{webhook_id}/enable", answer=answers.WEBHOOK)
    def enable_webhook(call: Call, webhook_id: str) -> Any:
        """Send again to a webhook that was disabled."""
        return registry.enable(call.settings, call.owner, webhook_id)

    @route.post("/webhooks/{webhook_id}/test", answer=answers.TRIAL)
    def test_webhook(call: Call, webhook_id: str) -> Any:
        """Send a test event to a webhook, and say what came of it."""
        return trial.send(call.settings, call.owner, webhook_id)

    @route.get("/webhooks/{webhook_id}/deliveries", query=schemas.DELIVERIES_QUERY, answer=answers.DELIVERIES)
    def list_deliveries(call: Call, webhook_id: str) -> Any:
        """The attempts to deliver to a webhook, newest first."""
        return journal.page(call.settings, call.owner, webhook_id, call.query)
