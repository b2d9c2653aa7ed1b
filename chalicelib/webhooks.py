"""Webhooks: the URLs to which an owner's events go, and which types of events each of them wants."""

import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from chalicelib import clients, endpoints, items, jobs, webhook_signature
from chalicelib.errors import BadRequest, NotFound
from chalicelib.jobs import EVENT_TYPES
from chalicelib.settings import Settings

MAX_WEBHOOKS = 10

_ID = re.compile(r"wh_[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class Webhook:
    owner: str
    id: str
    url: str
    types: tuple[str, ...]
    secrets: tuple[str, ...] = field(repr=False)
    """Every secret that signs at present, the newest first: two of them while one replaces the other."""
    created_at: str

    def view(self) -> dict[str, Any]:
        """The webhook as its owner sees it again: without its secrets."""
        return {"id": self.id, "url": self.url, "types": list(self.types), "createdAt": self.created_at}


def register(settings: Settings, owner: str, request: dict[str, Any]) -> dict[str, Any]:
    """Enter `{"url", "types"?}`; without types, all events are sent.

    Returns:
        The webhook with its `secret`, which is never shown again.

    Raises:
        BadRequest: `bad_url`, or `too_many_webhooks`.
    """
    endpoints.parse(request["url"], allow_insecure=settings.webhook_allow_insecure)
    wanted = request.get("types") or EVENT_TYPES
    secret = webhook_signature.new_secret()
    webhook = Webhook(
        owner=owner,
        id=f"wh_{secrets.token_hex(12)}",
        url=request["url"],
        types=tuple(known for known in EVENT_TYPES if known in wanted),
        secrets=(secret,),
        created_at=jobs.timestamp(time.time()),
    )
    clients.dynamodb().put_item(TableName=settings.webhooks_table, Item=_to_item(webhook))
    # Counted after the write: before it, callers side by side would each find the last place free.
    if len(_of(settings, owner)) > MAX_WEBHOOKS:
        remove(settings, owner, webhook.id)
        raise BadRequest(
            f"You have {MAX_WEBHOOKS} webhooks, and that is the most: delete one first.",
            code="too_many_webhooks",
        )
    return webhook.view() | {"secret": secret}


def listing(settings: Settings, owner: str) -> dict[str, Any]:
    """`{"webhooks": [...]}`, the oldest first, without their secrets."""
    return {"webhooks": [webhook.view() for webhook in _of(settings, owner)]}


def remove(settings: Settings, owner: str, webhook_id: str) -> None:
    """
    Raises:
        NotFound: there is no such webhook under this owner, whoever else may have one.
    """
    dynamodb = clients.dynamodb()
    missing = NotFound("No such webhook. Yours are in GET /webhooks.", code="webhook_not_found")
    if not _ID.fullmatch(webhook_id):
        raise missing
    try:
        dynamodb.delete_item(
            TableName=settings.webhooks_table,
            Key=items.to_item({"owner": owner, "webhookId": webhook_id}),
            ConditionExpression="attribute_exists(webhookId)",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        raise missing from None


def subscribed(settings: Settings, owner: str, event_type: str) -> list[Webhook]:
    """The owner's webhooks that want events of this type."""
    return [webhook for webhook in _of(settings, owner) if event_type in webhook.types]


def _of(settings: Settings, owner: str) -> list[Webhook]:
    """All webhooks of an owner: few enough for one page of a query, which holds 1 MB."""
    answer = clients.dynamodb().query(
        TableName=settings.webhooks_table,
        KeyConditionExpression="#owner = :owner",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues=items.to_item({":owner": owner}),
        ConsistentRead=True,
    )
    return sorted(map(_from_item, answer["Items"]), key=lambda webhook: webhook.created_at)


def _to_item(webhook: Webhook) -> dict[str, Any]:
    return items.to_item(
        {
            "owner": webhook.owner,
            "webhookId": webhook.id,
            "url": webhook.url,
            "types": webhook.types,
            "secrets": webhook.secrets,
            "createdAt": webhook.created_at,
        }
    )


def _from_item(item: dict[str, Any]) -> Webhook:
    values = items.from_item(item)
    return Webhook(
        owner=values["owner"],
        id=values["webhookId"],
        url=values["url"],
        types=tuple(values["types"]),
        secrets=tuple(values["secrets"]),
        created_at=values["createdAt"],
    )
