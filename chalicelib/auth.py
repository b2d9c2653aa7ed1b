"""Who the caller is."""

from collections.abc import Mapping
from typing import Any

from chalicelib import keys
from chalicelib.errors import Unauthorized
from chalicelib.settings import Settings


def owner(settings: Settings, context: Mapping[str, Any]) -> str:
    """The owner on whose behalf a request is made.

    Args:
        context: API Gateway's request context.

    Raises:
        Unauthorized: this deployment wants to know who calls, and the caller did not say.
    """
    if settings.auth_mode == "none":
        return keys.NOBODY
    subject = (context.get("authorizer") or {}).get("principalId")
    if not subject:
        raise Unauthorized("Send a token: Authorization: Bearer <JWT>.")
    return keys.owner_segment(subject)
