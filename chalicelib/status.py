"""The states of a job. The graph of them is drawn in `ledger.py`."""

from enum import StrEnum


class Status(StrEnum):
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    DELETED = "DELETED"
    """A tombstone: for its owner there is no such job any more (see `deletion.py`)."""

    @property
    def ended(self) -> bool:
        return self in (Status.COMPLETED, Status.REJECTED, Status.FAILED)

    @property
    def event_type(self) -> str:
        """Of the event that tells of a job's end."""
        return f"waybill.job.{self.lower()}"


VISIBLE = tuple(status for status in Status if status is not Status.DELETED)
"""What the owner of a job may find it in."""

EVENT_TYPES = tuple(status.event_type for status in Status if status.ended)
