"""The stage of heavy work that takes time: download, process, store, in a worker of its own.

Where it runs makes no difference: a container on Fargate, a function, a process on one's own machine. Its
answer is the job's verdict in the ledger.
"""

import hashlib
import shutil
from importlib.util import find_spec

from chalicelib import pipeline, scratch, transfers
from chalicelib.errors import Unavailable
from chalicelib.filetypes import FileType
from chalicelib.jobs import Ending, Job
from chalicelib.ledger import Ledger
from chalicelib.processors import REGISTRY, Result, other
from chalicelib.progress import Progress
from chalicelib.scratch import Place
from chalicelib.settings import MiB, Settings
from chalicelib.storage import Original
from chalicelib.telemetry import log

SPARE = 256 * MiB
"""Of disk, beside the original and as much again for what is made of it."""


def run(settings: Settings, ledger: Ledger, job: Job) -> Ending:
    """Work on a job whose lease is this worker's; what is made of it is stored when this returns.

    Raises:
        LeaseLost, Superseded: the job is another worker's, or a newer upload's, by now.
        WaybillError: as the processor, or `worker_disk_full`.
    """
    progress = Progress(ledger, job)
    progress.begin("processing", 0, 90)
    with scratch.large_place() as place:

        def work(original: Original, _head: bytes, file_type: FileType) -> Result:
            return _make(settings, job, original, file_type, place, progress)

        outcome = pipeline.attempt(settings, job, work)
        progress.begin("storing", 90, 99)
        return pipeline.store(settings, job, outcome)


def _make(
    settings: Settings,
    job: Job,
    original: Original,
    file_type: FileType,
    place: Place,
    progress: Progress,
) -> Result:
    if original.size > settings.worker_limit_bytes:
        return _kept(job)
    if REGISTRY.get(file_type.family, other.process) is other.process or not _has_codecs(file_type):
        return _checksum(settings, original, progress)
    wanted = 2 * original.size + SPARE
    disk = shutil.disk_usage(place.scratch)
    if disk.total < wanted:
        return _kept(job)
    if disk.free < wanted:
        raise Unavailable(
            f"The worker has no room for this file: it takes {wanted} bytes of disk.", code="worker_disk_full"
        )
    progress.begin("downloading", 0, 15)
    transfers.download(settings, original, place.original, lambda arrived: progress(arrived / original.size))
    progress.begin("processing", 15, 90)
    return pipeline.process(settings, job, file_type, place, heavy=True, on_progress=progress)


def _kept(job: Job) -> Result:
    """Nothing is made of a file that no worker of this deployment can hold."""
    log("job.too_large_for_worker", size=job.size)
    return Result()


def _has_codecs(file_type: FileType) -> bool:
    """They are too large for a function's package: where that is the worker, recordings stay as they are."""
    return file_type.family not in pipeline.HEAVY_FAMILIES or find_spec("av") is not None


def _checksum(settings: Settings, original: Original, progress: Progress) -> Result:
    """What `processors.other` makes of a file, without a disk to lay it on."""
    digest, read = hashlib.sha256(), 0
    for chunk in transfers.chunks(settings, original):
        digest.update(chunk)
        read += len(chunk)
        progress(read / original.size)
    return Result(metadata={"sha256": digest.hexdigest()})
