"""What proves to a webhook's receiver where a message comes from (Standard Webhooks 1.0.0)."""

import base64
import hmac
from collections.abc import Iterable
from secrets import token_bytes

_SECRET_PREFIX = "whsec_"
_SECRET_BYTES = 32  # the specification takes 24 to 64


def new_secret() -> str:
    return _SECRET_PREFIX + base64.b64encode(token_bytes(_SECRET_BYTES)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>` (Standard Webhooks 1.0.0, "Signature scheme").

    `timestamp` is the attempt's, in seconds. The id may hold dots, as no part of it is a client's choice.
    """
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    signature = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(signature).decode()}"


def headers(secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three that go with a message (Standard Webhooks 1.0.0, "Webhook headers").

    One signature for each secret, so that a receiver can change over to a new one in its own time.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, message_id, timestamp, body) for secret in secrets),
    }
