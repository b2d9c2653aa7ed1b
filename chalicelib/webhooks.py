"""Webhooks: an owner's endpoints for events, the rules for their URLs, and the signature on what they get."""

import base64
import hmac
import ipaddress
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from chalicelib import clients, items, jobs
from chalicelib.errors import BadRequest, NotFound
from chalicelib.notifications import EVENT_TYPES
from chalicelib.settings import Settings

MAX_WEBHOOKS = 10
MAX_URL_LENGTH = 2048

_SECRET_PREFIX = "whsec_"
_SECRET_BYTES = 32  # the specification takes 24 to 64

_ID = re.compile(r"wh_[0-9a-f]{24}")
_URL_TEXT = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")  # RFC 3986, without the fragment's `#`
# A last label of digits would be one of the old spellings of an IPv4 address (127.1, 0x7f.1, 2130706433),
# which resolvers still understand.
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*"
    r"(?!\d+$|0x[0-9a-f]*$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291, section 2.4, as IANA assigns from it


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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook's URL, taken apart once its rules are met."""

    tls: bool
    host: str
    port: int
    target: str
    """Path and query, as they go into the request line."""


def register(settings: Settings, owner: str, request: dict[str, Any]) -> dict[str, Any]:
    """Enter `{"url", "types"?}`; without types, all events are sent.

    Returns:
        The webhook with its `secret`, which is never shown again.

    Raises:
        BadRequest: `bad_url`, or `too_many_webhooks`.
    """
    endpoint(request["url"], allow_insecure=settings.webhook_allow_insecure)
    wanted = request.get("types") or EVENT_TYPES
    secret = _SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
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


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>` (Standard Webhooks 1.0.0, "Signature scheme").

    `timestamp` is the attempt's, in seconds. The id may hold dots, as no part of it is a client's choice.
    """
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    signature = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(signature).decode()}"


def headers(webhook: Webhook, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """What proves to the receiver where a message comes from (Standard Webhooks 1.0.0, "Webhook headers").

    One signature for each secret, so that a receiver can change over to a new one in its own time.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            sign(secret, message_id, timestamp, body) for secret in webhook.secrets
        ),
    }


def endpoint(url: str, *, allow_insecure: bool) -> Endpoint:
    """Check a URL by itself; what its host resolves to is checked at each delivery.

    Raises:
        BadRequest: `bad_url`, with what to change.
    """
    if len(url) > MAX_URL_LENGTH:
        raise _bad_url(f"must have at most {MAX_URL_LENGTH} characters")
    if not _URL_TEXT.fullmatch(url):
        raise _bad_url(
            "must hold only the ASCII characters of a URL, and no fragment: percent-encode the path, and "
            "write an international host name in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        given_port = parts.port
    except ValueError:
        raise _bad_url("must be a URL") from None
    host = parts.hostname or ""
    if problem := _problem(parts, host, given_port, allow_insecure):
        raise _bad_url(problem)
    tls = parts.scheme == "https"
    return Endpoint(
        tls=tls,
        host=host,
        port=given_port or (443 if tls else 80),
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody on the Internet can reach.

    Stricter than `is_global`, which also says yes to multicast, to the old site-local range, and to IPv6
    forms that only wrap an IPv4 address; those are judged by what they wrap, or refused where nothing uses
    them any more (6to4, IPv4-compatible).
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or (ipaddress.IPv4Address(ip.packed[-4:]) if ip in _NAT64 else None)
        if wrapped is None:
            return ip in _GLOBAL_UNICAST and ip.is_global and ip.sixtofour is None
        ip = wrapped
    return ip.is_global and not ip.is_multicast


def _problem(parts: SplitResult, host: str, port: int | None, allow_insecure: bool) -> str | None:
    schemes = ("https", "http") if allow_insecure else ("https",)
    if parts.scheme not in schemes:
        return f"must start with {' or '.join(scheme + '://' for scheme in schemes)}"
    if "@" in parts.netloc:
        return "must not hold a user name or password: the signature is what proves the sender"
    if port == 0 or not (allow_insecure or port in (None, 443)):
        return "must leave the port at 443"
    if _is_address(host):
        return None if allow_insecure or is_public(host) else "must not name a private address"
    if "[" in parts.netloc or not _HOST_NAME.fullmatch(host):
        return "must name a host"
    if not allow_insecure and "." not in host:
        return "must name a public host"
    return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bad_url(problem: str) -> BadRequest:
    return BadRequest(f"url: {problem}.", code="bad_url", field="url")


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
