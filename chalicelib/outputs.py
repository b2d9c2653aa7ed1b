"""The outputs of a job, on their way into the bucket: side by side, as one alone is all waiting."""

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from chalicelib import storage
from chalicelib.jobs import Job
from chalicelib.once import once
from chalicelib.processors import Output
from chalicelib.settings import Settings

WRITERS = 8


@once
def _writers() -> ThreadPoolExecutor:
    """Of its own, beside the pool that works on a batch: a pool that waits for itself would stand still."""
    return ThreadPoolExecutor(WRITERS, thread_name_prefix="outputs")


def store(settings: Settings, job: Job, outputs: Sequence[Output]) -> list[dict[str, Any]]:
    """Write each of them; what the job's `outputs` holds, in the order given.

    None is still on its way when this returns or raises: the files they are read from may go then.
    """
    writes = [_writers().submit(storage.put_output, settings, job, output) for output in outputs]
    done, open_writes = wait(writes, return_when=FIRST_EXCEPTION)
    for write in open_writes:
        write.cancel()
    wait(open_writes)
    for write in done:
        write.result()
    return [write.result() for write in writes]
