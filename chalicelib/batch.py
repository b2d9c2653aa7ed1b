"""A batch of a queue: each of its records has a fate of its own.

A plain event source mapping deletes the whole batch when the handler returns, and gives the whole batch back
when it raises; only one with `ReportBatchItemFailures` looks at what is returned. So that the same code is
right under both, records that are done are deleted here, and then the handler raises for those that are not.
"""

from collections.abc import Sequence

from chalicelib import queues
from chalicelib.errors import Unavailable
from chalicelib.queues import Record

Fate = tuple[Record, int | None]
"""A record, and the seconds after which it has to come again; None when it is done."""


class BatchIncomplete(Unavailable):
    """Some records of a batch have to come again."""

    code = "batch_incomplete"


def settle(queue_url: str, fates: Sequence[Fate]) -> None:
    """Tell the queue of every record's fate."""
    queues.acknowledge(queue_url, [record for record, wait in fates if wait is None])
    queues.retry_later(queue_url, [(record, wait) for record, wait in fates if wait is not None])


def check(fates: Sequence[Fate]) -> None:
    """
    Raises:
        BatchIncomplete: any of the records has to come again.
    """
    again = sum(wait is not None for _, wait in fates)
    if again:
        raise BatchIncomplete(f"{again} of {len(fates)} messages have to come again.")
