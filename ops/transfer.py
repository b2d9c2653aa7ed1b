"""One file on its way to S3: in one request, or in parts that can be continued after an interruption.

size ≤ threshold    POST /presign with size, type and SHA-256 ──▶ PUT
larger              POST /s3/multipart ──▶ for each part: SHA-256, sign, PUT ──▶ complete
                         │
                         └ noted in a file; the next run asks which parts have arrived
"""

import hashlib
import json
import mimetypes
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote, urlencode

from ops.api_client import BLOCK_BYTES, Answer, Api, Http, RequestFailed

MiB = 1024 * 1024
THRESHOLD = 64 * MiB
PART_BYTES = 16 * MiB
MAX_PARTS = 10_000  # Amazon S3 User Guide, "Amazon S3 multipart upload limits"
CHECKSUM = "SHA256"
PATIENCE = 15.0  # seconds for a completed upload to show as a job

Progress = Callable[[int], None]
"""Told how many bytes more have been sent; less than nothing when some have to be sent again."""


class CannotSend(Exception):
    """This file cannot be sent; the message says why."""


@dataclass(frozen=True)
class Source:
    """A file as it was when we first looked."""

    path: Path
    size: int
    modified: int

    @classmethod
    def look(cls, path: Path) -> "Source":
        try:
            found = path.stat()
            path.open("rb").close()
        except OSError as error:
            raise CannotSend(str(error.strerror)) from None
        if found.st_size == 0:
            raise CannotSend("is empty, which is no work for anybody")
        return cls(path.resolve(), found.st_size, found.st_mtime_ns)

    def must_be_unchanged(self) -> None:
        now = self.path.stat()
        if (now.st_size, now.st_mtime_ns) != (self.size, self.modified):
            raise CannotSend("has changed while it was being sent; send it again")

    @property
    def media_type(self) -> str | None:
        return mimetypes.guess_type(self.path.name)[0]

    def sha256(self, http: Http, start: int = 0, size: int | None = None) -> str:
        """Of all of it, or of one part; as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            piece = _Piece(http, file, start, self.size if size is None else size, lambda _: None)
            while block := piece.read(BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()


class Transfer:
    """Sends files to one deployment; `parts` is where parts are sent side by side."""

    def __init__(self, api: Api, parts: Executor, *, notes: Path, threshold: int = THRESHOLD) -> None:
        self._api = api
        self._http = api.http
        self._parts = parts
        self._notes = notes
        self._threshold = threshold

    def send(self, source: Source, progress: Progress) -> str:
        """The job id of the file, once all of it is in S3.

        Raises:
            CannotSend, RequestFailed, Stopped
        """
        if source.size <= self._threshold:
            return self._send_whole(source, progress)
        note = Note.of(self._notes, self._api.url, source)
        return _Parted(self._api, self._parts, source, progress, note).send()

    def _send_whole(self, source: Source, progress: Progress) -> str:
        wish = {"filename": source.path.name, "size": source.size, "sha256": source.sha256(self._http)}
        if source.media_type:
            wish["contentType"] = source.media_type
        signed: dict[str, Any] = {}

        def attempt() -> Answer:
            # The same URL as long as it is good: another one would be another job.
            if not signed:
                signed.update(self._api.once("POST", "/presign", wish))
            try:
                return _put(
                    self._http, signed["uploadUrl"], signed["headers"], source, 0, source.size, progress
                )
            except RequestFailed as error:
                raise _with_a_new_url(error, signed) from None

        self._http.patiently(attempt)
        job_id: str = signed["jobId"]
        return job_id


@dataclass(frozen=True)
class Note:
    """What is remembered of an upload: `{"key", "uploadId", "jobId", "partBytes", "checksum"}`.

    One that was begun without a `checksum` goes on without: S3 takes none with the rest of its parts.
    """

    path: Path

    @classmethod
    def of(cls, directory: Path, api_url: str, source: Source) -> "Note":
        """Of this very content, as far as size and time tell, on its way to this deployment."""
        about = "\0".join((api_url, str(source.path), str(source.size), str(source.modified)))
        name = hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return cls(directory / f"{name}.json")

    def read(self) -> dict[str, Any] | None:
        try:
            noted = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return None
        return noted if isinstance(noted, dict) else None

    def write(self, noted: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = self.path.with_suffix(f".{os.getpid()}")
        whole.write_text(json.dumps(noted))
        whole.replace(self.path)

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def part_bytes(size: int) -> int:
    """How large parts have to be for a file of this size."""
    least = -(-size // MAX_PARTS)
    return PART_BYTES if least <= PART_BYTES else -(-least // MiB) * MiB


class _Parted:
    """One upload in parts."""

    def __init__(self, api: Api, parts: Executor, source: Source, progress: Progress, note: Note) -> None:
        self._api = api
        self._http = api.http
        self._executor = parts
        self._source = source
        self._progress = progress
        self._note = note
        self._begun: dict[str, Any] = {}

    def send(self) -> str:
        arrived = self._resume()
        if arrived is None:
            return self._end()  # it had been completed already
        missing = [number for number in self._numbers() if number not in arrived]
        futures = [self._executor.submit(self._send_part, number) for number in missing]
        try:
            for number, future in zip(missing, futures, strict=True):
                arrived[number] = future.result()
        finally:
            for future in futures:
                future.cancel()
        self._source.must_be_unchanged()
        self._complete(arrived)
        return self._end()

    def _resume(self) -> dict[int, str] | None:
        """The parts that have arrived, by number, of the upload that is noted or of a new one; None when the
        noted one is complete."""
        noted = self._note.read()
        if noted:
            self._begun = noted
            try:
                return self._arrived(self._api("GET", self._path()))
            except RequestFailed as error:
                if error.status != 404:
                    raise
            if self._is_a_job():
                self._progress(self._source.size)
                return None
        self._begin()
        return {}

    def _begin(self) -> None:
        wish = {"filename": self._source.path.name, "size": self._source.size, "checksum": CHECKSUM}
        wish |= {"type": self._source.media_type} if self._source.media_type else {}
        begun = self._api("POST", "/s3/multipart", wish)
        self._begun = {**begun, "partBytes": part_bytes(self._source.size), "checksum": CHECKSUM}
        self._note.write(self._begun)

    def _arrived(self, listed: Iterable[Mapping[str, Any]]) -> dict[int, str]:
        arrived = {
            part["PartNumber"]: part["ETag"]
            for part in listed
            if part["PartNumber"] in self._numbers() and part["Size"] == self._length(part["PartNumber"])
        }
        self._progress(sum(map(self._length, arrived)))
        return arrived

    def _send_part(self, number: int) -> str:
        start, size = (number - 1) * int(self._begun["partBytes"]), self._length(number)
        declared = {}
        if self._begun.get("checksum") == CHECKSUM:
            declared["sha256"] = self._source.sha256(self._http, start, size)

        def attempt() -> Answer:
            # Signed anew each time, so that however long it takes no URL has expired.
            signed = self._api.once("GET", self._path(f"/{number}", **declared))
            url, headers = signed["url"], signed.get("headers", {})
            try:
                return _put(self._http, url, headers, self._source, start, size, self._progress)
            except RequestFailed as error:
                if error.code == "BadDigest":
                    self._source.must_be_unchanged()
                raise _with_a_new_url(error) from None

        return self._http.patiently(attempt).headers["ETag"]

    def _complete(self, etags: Mapping[int, str]) -> None:
        parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        try:
            self._api("POST", self._path("/complete"), {"parts": parts})
        except RequestFailed as error:
            # An answer that got lost: the second request finds nothing left to complete.
            if error.status != 404 or not self._is_a_job():
                raise

    def _is_a_job(self) -> bool:
        """Whether there is a job by now; it begins a moment after the file is whole."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._api("GET", f"/jobs/{self._begun['jobId']}")
                return True
            except RequestFailed as error:
                if error.status != 404:
                    raise
            if time.monotonic() > deadline:
                return False
            self._http.stop.wait(0.5)

    def _end(self) -> str:
        self._note.forget()
        return str(self._begun["jobId"])

    def _numbers(self) -> range:
        return range(1, -(-self._source.size // int(self._begun["partBytes"])) + 1)

    def _length(self, number: int) -> int:
        part = int(self._begun["partBytes"])
        return min(part, self._source.size - (number - 1) * part)

    def _path(self, rest: str = "", **query: str) -> str:
        upload_id = quote(self._begun["uploadId"], safe="")
        query = {"key": self._begun["key"], **query}
        return f"/s3/multipart/{upload_id}{rest}?{urlencode(query, quote_via=quote, safe='')}"


def _put(
    http: Http,
    url: str,
    headers: Mapping[str, str],
    source: Source,
    start: int,
    size: int,
    progress: Progress,
) -> Answer:
    """PUT a piece of a file, straight from the disk."""
    with source.path.open("rb") as file:
        piece = _Piece(http, file, start, size, progress)
        try:
            return http.once("PUT", url, {**headers, "Content-Length": str(size)}, cast("IO[bytes]", piece))
        except BaseException:
            progress(-piece.sent)
            raise


class _Piece:
    """So much of a file as a request's body, read in blocks."""

    def __init__(self, http: Http, file: IO[bytes], start: int, size: int, progress: Progress) -> None:
        file.seek(start)
        self.sent = 0
        self._http = http
        self._file = file
        self._size = size
        self._progress = progress

    def read(self, most: int = -1) -> bytes:
        self._http.check()
        left = self._size - self.sent
        block = self._file.read(left if most < 0 else min(most, left))
        if left and not block:
            raise CannotSend("has become shorter while it was being sent; send it again")
        self.sent += len(block)
        self._progress(len(block))
        return block


def _with_a_new_url(error: RequestFailed, signed: dict[str, Any] | None = None) -> RequestFailed:
    """S3 says 403 when a signed URL has expired: then the next attempt gets another one."""
    if error.status == 403 and "expired" in str(error).lower():
        if signed is not None:
            signed.clear()
        return RequestFailed(str(error))
    return error
