"""One run of a job, worked on by this process: the step `process` of the state machine.

    python -m worker OWNER JOB_ID RUN

or WAYBILL_OWNER, WAYBILL_JOB_ID and WAYBILL_RUN in the environment, as a container is told. The answer is the
job's verdict in the ledger, and the exit status (sysexits.h, where there is a name for it):

    0    there is nothing left to do here: the job has its verdict, or is not this run's any more
    64   the arguments name no run of a job
    75   this try has failed, and another one may help
    78   the settings are wrong
    143  stopped by SIGTERM; what this process has made is gone, and another one may begin at once
"""

import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from chalicelib import workflow
from chalicelib.errors import RetryLater, SettingsError
from chalicelib.settings import Settings
from chalicelib.telemetry import about, cause, log, owner_hash

DONE = 0
USAGE = 64
TRY_AGAIN = 75
BAD_SETTINGS = 78
STOPPED = 128 + signal.SIGTERM

VARIABLES = ("WAYBILL_OWNER", "WAYBILL_JOB_ID", "WAYBILL_RUN")


class Stopped(BaseException):
    """Not an `Exception`, so that nothing takes it for a failure of the file's."""


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """
    Returns:
        The exit status.
    """
    told = list(arguments) or [env.get(name, "") for name in VARIABLES]
    try:
        owner, job_id, run = told
        event = {"owner": owner, "jobId": job_id, "run": int(run)}
    except ValueError:
        sys.stderr.write(f"usage: python -m worker OWNER JOB_ID RUN, or {', '.join(VARIABLES)}\n")
        return USAGE
    try:
        settings = Settings.for_worker(env)
    except SettingsError as error:
        sys.stderr.write(f"{error.message}\n")
        return BAD_SETTINGS
    signal.signal(signal.SIGTERM, _stop)
    with about(function="worker", jobId=job_id, owner=owner_hash(owner), run=event["run"]):
        return _work(settings, event)


def _work(settings: Settings, event: Mapping[str, Any]) -> int:
    try:
        answer = workflow.process(settings, event)
    except RetryLater:
        return TRY_AGAIN
    except Stopped:
        log("worker.stopped")
        workflow.give_back(settings, event)
        return STOPPED
    except Exception as error:
        log("worker.failed", level=logging.ERROR, error=cause(error))
        return TRY_AGAIN
    log("worker.done", next=answer["next"])
    return DONE


def _stop(_number: int, _frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough, and clearing up takes a moment
    raise Stopped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
