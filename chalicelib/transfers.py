"""Originals of any size, a range at a time: several side by side on their way to disk, or all in order.

Memory stays the same whatever the size. Every range is of the very content that was opened.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from chalicelib import clients
from chalicelib.errors import NotFound, Superseded
from chalicelib.settings import MiB, Settings
from chalicelib.storage import Original

RANGE = 16 * MiB
RANGES_AT_ONCE = 4
CHUNK = MiB

Told = Callable[[int], object]
"""Is told how many bytes have arrived; what it raises ends the transfer."""


def download(settings: Settings, original: Original, path: Path, told: Told) -> None:
    """Write the original to a new file.

    Raises:
        Superseded: a newer upload has taken its place.
        NotFound: it was removed meanwhile.
    """
    with path.open("xb") as file, ThreadPoolExecutor(RANGES_AT_ONCE, thread_name_prefix="ranges") as pool:
        file.truncate(original.size)
        ranges = [
            pool.submit(_to_file, settings, original, begin, file.fileno())
            for begin in range(0, original.size, RANGE)
        ]
        try:
            arrived = 0
            for done in as_completed(ranges):
                arrived += done.result()
                told(arrived)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def chunks(settings: Settings, original: Original) -> Iterator[bytes]:
    """All of the original, in order.

    Raises:
        Superseded, NotFound: as `download`.
    """
    for begin in range(0, original.size, RANGE):
        yield from _range(settings, original, begin)


def _to_file(settings: Settings, original: Original, begin: int, descriptor: int) -> int:
    at = begin
    for chunk in _range(settings, original, begin):
        view = memoryview(chunk)
        while view:
            written = os.pwrite(descriptor, view, at)
            at, view = at + written, view[written:]
    return at - begin


def _range(settings: Settings, original: Original, begin: int) -> Iterator[bytes]:
    """
    Raises:
        OSError, botocore's errors: the connection broke before all of it was there.
    """
    s3 = clients.s3()
    last = min(begin + RANGE, original.size) - 1
    try:
        answer: Any = s3.get_object(
            Bucket=settings.bucket,
            Key=original.key,
            IfMatch=f'"{original.etag}"',
            Range=f"bytes={begin}-{last}",
        )
    except s3.exceptions.ClientError as error:
        if clients.http_status(error) == 412:
            raise Superseded("A newer upload came while the file was being read.") from None
        if clients.http_status(error) == 404:
            raise NotFound(
                "The file was removed before it could be processed.", code="original_missing"
            ) from None
        raise
    with answer["Body"] as body:
        while chunk := body.read(CHUNK):
            yield chunk
