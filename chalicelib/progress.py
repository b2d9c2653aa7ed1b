"""How far heavy work has come, told to the ledger seldom enough to cost nothing.

Each word to the ledger is a question as well: whether the job is still this worker's. A newer upload or a
deletion takes it away, and what was made until then is for nobody. A ledger that cannot be asked right now
costs nothing: the next word follows soon, and an hour of work is not given up for one.
"""

import time
from collections.abc import Callable

from chalicelib.errors import LeaseLost
from chalicelib.jobs import Job
from chalicelib.ledger import Ledger
from chalicelib.telemetry import cause, log

SECONDS = 2.0
PER_CENT = 10


class Progress:
    """Of a job through the stages of its work; each has its share of the hundred."""

    def __init__(self, ledger: Ledger, job: Job, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._job = job
        self._clock = clock
        self._stage = job.stage
        self._share = (0, 100)
        self._told = job.progress
        self._told_at = 0.0

    def begin(self, stage: str, low: int, high: int) -> None:
        """Enter a stage, which leads from `low` to `high` per cent.

        Raises:
            LeaseLost: the job is not this worker's any more.
        """
        self._stage, self._share = stage, (low, high)
        self._tell(low)

    def __call__(self, done: float) -> None:
        """So much of the stage is done, from 0 to 1; written at most every so many seconds or per cent.

        Raises:
            LeaseLost: the job is not this worker's any more.
        """
        low, high = self._share
        percent = low + int((high - low) * min(max(done, 0.0), 1.0))
        late = self._clock() - self._told_at >= SECONDS
        if late or percent >= self._told + PER_CENT:
            self._tell(percent)

    def _tell(self, percent: int) -> None:
        self._told, self._told_at = percent, self._clock()
        job = self._job
        try:
            self._ledger.report(job.owner, job.job_id, job.lease or "", self._stage, percent)
        except LeaseLost:
            raise
        except Exception as error:
            log("job.progress_untold", error=cause(error))
