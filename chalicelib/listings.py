"""What `GET /jobs` answers."""

from collections.abc import Mapping
from typing import Any

from chalicelib import partition
from chalicelib.jobs import Status
from chalicelib.jsontext import to_json
from chalicelib.settings import MiB, Settings

DEFAULT_LIMIT = 50

MAX_BYTES = 4 * MiB
"""Of one page: Lambda answers with 6 MB at most (Lambda Developer Guide, "Lambda quotas")."""


def page(settings: Settings, owner: str, query: Mapping[str, str]) -> dict[str, Any]:
    """`{"jobs": […], "cursor": …}`, newest first; the cursor is null on the last page."""
    status = query.get("status")
    found = partition.page(
        settings,
        owner,
        limit=int(query.get("limit", DEFAULT_LIMIT)),
        cursor=query.get("cursor"),
        status=Status(status) if status else None,
    )
    shown: list[dict[str, Any]] = []
    room = MAX_BYTES
    for job in found.jobs:
        view = job.view()
        room -= len(to_json(view).encode())
        if shown and room < 0:
            return {"jobs": shown, "cursor": partition.cursor_behind(shown[-1]["jobId"])}
        shown.append(view)
    return {"jobs": shown, "cursor": found.cursor}
