"""A webhook: a URL of its owner's, the events that go there, and the secrets that sign them."""

import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Self

from chalicelib import items, jobs

OVERLAP = 24 * 3600
"""Seconds for which a secret that was replaced goes on signing beside the new one."""

GONE = "gone"
"""Why a webhook is disabled: it has answered 410."""

_ID = re.compile(r"wh_[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class Webhook:
    owner: str
    id: str
    url: str
    types: tuple[str, ...]
    secrets: tuple[str, ...] = field(repr=False)
    """The newest first; a second one signs beside it until `previous_until`."""
    created_at: str
    previous_until: int = 0
    """Seconds since 1970."""
    disabled: dict[str, str] | None = None
    """`{"at", "reason"}` of one that gets nothing."""

    def signing(self, now: float) -> tuple[str, ...]:
        """Every secret that signs at this moment."""
        return self.secrets if now < self.previous_until else self.secrets[:1]

    def view(self, now: float) -> dict[str, Any]:
        """The webhook as its owner sees it again: without its secrets."""
        shown: dict[str, Any] = {
            "id": self.id,
            "url": self.url,
            "types": list(self.types),
            "createdAt": self.created_at,
        }
        if now < self.previous_until:
            shown["previousSecretUntil"] = jobs.timestamp(self.previous_until)
        if self.disabled:
            shown["disabled"] = self.disabled
        return shown

    def to_item(self) -> dict[str, Any]:
        return items.to_item(
            {
                "owner": self.owner,
                "webhookId": self.id,
                "url": self.url,
                "types": self.types,
                "secrets": self.secrets,
                "createdAt": self.created_at,
            }
        )

    @classmethod
    def from_item(cls, item: dict[str, Any]) -> Self:
        values = items.from_item(item)
        return cls(
            owner=values["owner"],
            id=values["webhookId"],
            url=values["url"],
            types=tuple(values["types"]),
            secrets=tuple(values["secrets"]),
            created_at=values["createdAt"],
            previous_until=values.get("previousUntil", 0),
            disabled=values.get("disabled"),
        )


def new_id() -> str:
    return f"wh_{secrets.token_hex(12)}"


def is_id(text: str) -> bool:
    return bool(_ID.fullmatch(text))
