"""What `GET /jobs` answers."""

from collections.abc import Mapping
from typing import Any

from chalicelib.jobs import Status
from chalicelib.ledger import open_ledger
from chalicelib.settings import Settings

DEFAULT_LIMIT = 50


def page(settings: Settings, owner: str, query: Mapping[str, str]) -> dict[str, Any]:
    """`{"jobs": […], "cursor": …}`, newest first; the cursor is null on the last page."""
    status = query.get("status")
    found = open_ledger(settings).page(
        owner,
        limit=int(query.get("limit", DEFAULT_LIMIT)),
        cursor=query.get("cursor"),
        status=Status(status) if status else None,
    )
    return {"jobs": [job.view() for job in found.jobs], "cursor": found.cursor}
