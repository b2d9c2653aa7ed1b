"""Metrics, as fields of a line of the log: CloudWatch reads them out of it.

The format is the embedded metric format (Amazon CloudWatch User Guide, "Specification: Embedded metric
format"): a line with a member `_aws`, which names those members of the line that are metrics, and those that
are their dimensions. Nothing is called, nobody waits, and the line is there for a query as well.

Every set of dimension values is a metric of its own, and is paid for. So each dimension is a word of a short
list; owners and jobs are fields of the line beside them.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from chalicelib.errors import WaybillError
from chalicelib.telemetry import noted

NAMESPACE = "Waybill"

STAGE = ("Stage",)


class Metric(NamedTuple):
    """One that this module names."""

    name: str
    unit: str
    """As PutMetricData calls it."""
    dimensions: tuple[tuple[str, ...], ...] = (STAGE,)
    """The sets under which it can be looked up."""


FILES_ENDED = Metric("FilesEnded", "Count", (("Stage", "Status"), ("Stage", "Status", "Family")))
FILES_FAILED = Metric("FilesFailed", "Count")
"""0 or 1 for each that has ended: the sum is how many have FAILED, and the average their share."""
BYTES = Metric("Bytes", "Bytes")
UPLOAD_TO_END = Metric("UploadToEnd", "Milliseconds", (STAGE, ("Stage", "Family")))
FAILED_ATTEMPTS = Metric("FailedAttempts", "Count")
"""Tries at a job, or at a step of heavy work, that came to nothing; most are followed by another one."""
UNEXPECTED_ERRORS = Metric("UnexpectedErrors", "Count", (("Stage", "Function"),))
"""What nobody has foreseen, in functions whose `Errors` also count what comes again as it should."""
WEBHOOK_DELIVERIES = Metric("WebhookDeliveries", "Count", (("Stage", "Outcome"),))
"""Attempts by what became of the delivery: `OUTCOMES`."""
SWEEP_FINDS = Metric("SweepFinds", "Count")
"""What the sweep had to push on; 0 is told as well, so that silence means that no sweep has run."""
UPLOADS_SIGNED = Metric("UploadsSigned", "Count")
"""One for each upload that a URL was given for, however many parts it has."""

ALL = (
    *(FILES_ENDED, FILES_FAILED, BYTES, UPLOAD_TO_END, FAILED_ATTEMPTS, UNEXPECTED_ERRORS),
    *(WEBHOOK_DELIVERIES, SWEEP_FINDS, UPLOADS_SIGNED),
)

DELIVERED, RETRIED, DEAD, DISABLED = OUTCOMES = ("delivered", "retried", "dead", "disabled")

UNKNOWN = "unknown"
"""The family of a file that was never looked at: it was empty, say, or gone."""


def measured(stage: str, values: Mapping[Metric, float], **dimensions: str) -> dict[str, Any]:
    """The fields that make a line of the log tell these values.

    Args:
        dimensions: a value for each that the metrics have, beside `Stage`.
    """
    fields: dict[str, Any] = {
        "_aws": f'{{"Timestamp": {int(time.time() * 1000)}, "CloudWatchMetrics": {_directives(*values)}}}',
        "Stage": stage,
        **dimensions,
    }
    for metric, value in values.items():
        fields[metric.name] = value
    return fields


class Tally:
    """Counts what happens too often, and too quickly, for a line each: it is told once a second at most.

    What is counted in the last second before its process ends for good is never told.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._number = 0
        self._told_at = -math.inf

    def add(self) -> int:
        """One more; how many there are to tell of now, and 0 while it is too early."""
        self._number += 1
        now = self._clock()
        if now - self._told_at < 1.0:
            return 0
        number, self._number, self._told_at = self._number, 0, now
        return number


@cache
def _directives(*metrics: Metric) -> str:
    """Which members of a line are metrics, as JSON: the same ones are told together again and again."""
    alike: dict[tuple[tuple[str, ...], ...], list[Metric]] = {}
    for metric in metrics:
        alike.setdefault(metric.dimensions, []).append(metric)
    return json.dumps(
        [
            {
                "Namespace": NAMESPACE,
                "Dimensions": sets,
                "Metrics": [{"Name": metric.name, "Unit": metric.unit} for metric in together],
            }
            for sets, together in alike.items()
        ]
    )


def unexpected(stage: str) -> dict[str, Any]:
    """The fields of a line that tells of an error which nobody has foreseen."""
    return measured(stage, {UNEXPECTED_ERRORS: 1}, Function=_function())


def failed_attempt(stage: str, error: Exception) -> dict[str, Any]:
    """The fields of a line that tells of a try which came to nothing."""
    foreseen = isinstance(error, WaybillError)
    values = {FAILED_ATTEMPTS: 1} if foreseen else {FAILED_ATTEMPTS: 1, UNEXPECTED_ERRORS: 1}
    return measured(stage, values, Function=_function())


def _function() -> str:
    return str(noted().get("function") or UNKNOWN)
