"""Which webhooks there are: the table that holds them, and everything that changes one."""

import time
from collections.abc import Mapping
from typing import Any

from chalicelib import clients, endpoints, items, jobs
from chalicelib.errors import BadRequest, Conflict, NotFound
from chalicelib.jobs import EVENT_TYPES
from chalicelib.settings import Settings
from chalicelib.webhooks import signature, webhook
from chalicelib.webhooks.webhook import OVERLAP, Webhook

MAX_WEBHOOKS = 10


def register(settings: Settings, owner: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Enter `{"url", "types"?}`; without types, all events are sent.

    Returns:
        The webhook with its `secret`, which is never shown again.

    Raises:
        BadRequest: `bad_url`, or `too_many_webhooks`.
    """
    endpoints.parse(request["url"], allow_insecure=settings.webhook_allow_insecure)
    wanted = request.get("types") or EVENT_TYPES
    secret = signature.new_secret()
    now = time.time()
    made = Webhook(
        owner=owner,
        id=webhook.new_id(),
        url=request["url"],
        types=tuple(known for known in EVENT_TYPES if known in wanted),
        secrets=(secret,),
        created_at=jobs.timestamp(now),
    )
    clients.dynamodb().put_item(TableName=settings.webhooks_table, Item=made.to_item())
    # Counted after the write: before it, callers side by side would each find the last place free.
    if len(_of(settings, owner)) > MAX_WEBHOOKS:
        remove(settings, owner, made.id)
        raise BadRequest(
            f"You have {MAX_WEBHOOKS} webhooks, and that is the most: delete one first.",
            code="too_many_webhooks",
        )
    return made.view(now) | {"secret": secret}


def listing(settings: Settings, owner: str) -> dict[str, Any]:
    """`{"webhooks": [...]}`, the oldest first, without their secrets."""
    now = time.time()
    return {"webhooks": [found.view(now) for found in _of(settings, owner)]}


def subscribed(settings: Settings, owner: str, event_type: str) -> list[Webhook]:
    """The owner's webhooks that want events of this type, and get any."""
    return [found for found in _of(settings, owner) if event_type in found.types and not found.disabled]


def find(settings: Settings, owner: str, webhook_id: str) -> Webhook | None:
    if not webhook.is_id(webhook_id):
        return None
    item = (
        clients.dynamodb()
        .get_item(TableName=settings.webhooks_table, Key=_key(owner, webhook_id), ConsistentRead=True)
        .get("Item")
    )
    return Webhook.from_item(item) if item else None


def get(settings: Settings, owner: str, webhook_id: str) -> Webhook:
    """
    Raises:
        NotFound: there is no such webhook under this owner, whoever else may have one.
    """
    found = find(settings, owner, webhook_id)
    if found is None:
        raise _missing()
    return found


def remove(settings: Settings, owner: str, webhook_id: str) -> None:
    """
    Raises:
        NotFound: as `get`.
    """
    if not webhook.is_id(webhook_id):
        raise _missing()
    dynamodb = clients.dynamodb()
    try:
        dynamodb.delete_item(
            TableName=settings.webhooks_table,
            Key=_key(owner, webhook_id),
            ConditionExpression="attribute_exists(webhookId)",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException as error:
        if not clients.was_repeated(error):  # or else it was there for our own first try
            raise _missing() from None


def rotate(settings: Settings, owner: str, webhook_id: str) -> dict[str, Any]:
    """Give a webhook a new secret; the one it replaces goes on signing for a day, an older one ends.

    Returns:
        The webhook with its new `secret`, which is never shown again.

    Raises:
        NotFound: as `get`.
        Conflict: another rotation came in between (`rotated_meanwhile`).
    """
    found = get(settings, owner, webhook_id)
    secret, now = signature.new_secret(), time.time()
    rotated = _change(
        settings,
        owner,
        webhook_id,
        "SET secrets = :secrets, previousUntil = :until",
        # What was read, or else the secret that another caller has just been shown would never sign.
        condition="secrets = :read",
        values={
            ":secrets": (secret, found.secrets[0]),
            ":until": int(now) + OVERLAP,
            ":read": found.secrets,
        },
    )
    if rotated is None:
        rotated = get(settings, owner, webhook_id)
        # The SDK repeats a call whose answer was lost: a condition that our own first try broke is a success.
        if rotated.secrets[0] != secret:
            raise Conflict("Another rotation came in between: rotate again.", code="rotated_meanwhile")
    return rotated.view(now) | {"secret": secret}


def disable(settings: Settings, hook: Webhook, reason: str) -> None:
    """Send nothing more to a webhook until its owner enables it; one that is gone or disabled stays so."""
    _change(
        settings,
        hook.owner,
        hook.id,
        "SET disabled = :disabled",
        condition="attribute_exists(webhookId) AND attribute_not_exists(disabled)",
        values={":disabled": {"at": jobs.timestamp(time.time()), "reason": reason}},
    )


def enable(settings: Settings, owner: str, webhook_id: str) -> dict[str, Any]:
    """Send to a webhook again.

    Raises:
        NotFound: as `get`.
    """
    enabled = webhook.is_id(webhook_id) and _change(
        settings, owner, webhook_id, "REMOVE disabled", condition="attribute_exists(webhookId)", values={}
    )
    if not enabled:
        raise _missing()
    return enabled.view(time.time())


def _change(
    settings: Settings, owner: str, webhook_id: str, update: str, *, condition: str, values: dict[str, Any]
) -> Webhook | None:
    """The webhook after the update; None where the condition does not hold."""
    dynamodb = clients.dynamodb()
    given: Any = {"ExpressionAttributeValues": items.to_item(values)} if values else {}
    try:
        answer = dynamodb.update_item(
            TableName=settings.webhooks_table,
            Key=_key(owner, webhook_id),
            UpdateExpression=update,
            ConditionExpression=condition,
            ReturnValues="ALL_NEW",
            **given,
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return None
    return Webhook.from_item(answer["Attributes"])


def _of(settings: Settings, owner: str) -> list[Webhook]:
    """All webhooks of an owner: few enough for one page of a query, which holds 1 MB."""
    answer = clients.dynamodb().query(
        TableName=settings.webhooks_table,
        KeyConditionExpression="#owner = :owner",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues=items.to_item({":owner": owner}),
        ConsistentRead=True,
    )
    return sorted(map(Webhook.from_item, answer["Items"]), key=lambda found: found.created_at)


def _key(owner: str, webhook_id: str) -> dict[str, Any]:
    return items.to_item({"owner": owner, "webhookId": webhook_id})


def _missing() -> NotFound:
    return NotFound("No such webhook. Yours are in GET /webhooks.", code="webhook_not_found")
