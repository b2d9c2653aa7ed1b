"""What `GET /stats` answers: how many jobs the caller has, and how many bytes, by status.

Counted when asked, from the caller's own partition, never from the whole table. Counters beside the jobs
would have to be moved in a transaction with every arrow of the state graph, at twice its price, and would
all be one hot item; and the records that retention takes away would still be counted. A query costs half a
read unit for 4 KB of jobs: for 100,000 jobs of 1 KB 12,500 units (0.16 cents on demand), in 100 pages one
after the other, which takes some seconds.
"""

from typing import Any

from chalicelib import partition
from chalicelib.jobs import VISIBLE
from chalicelib.settings import Settings


def count(settings: Settings, owner: str) -> dict[str, Any]:
    """`{"total": {"jobs", "bytes"}, "byStatus": {"QUEUED": {"jobs", "bytes"}, …}}`, bytes of originals."""
    by_status = {status: {"jobs": 0, "bytes": 0} for status in VISIBLE}
    for status, size in partition.sizes(settings, owner):
        if status in by_status:
            by_status[status]["jobs"] += 1
            by_status[status]["bytes"] += size
    total = {unit: sum(counted[unit] for counted in by_status.values()) for unit in ("jobs", "bytes")}
    return {"total": total, "byStatus": by_status}
