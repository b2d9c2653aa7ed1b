"""`python -m ops upload FILE…`: files to a deployment, with a bar for each, and what became of them."""

import argparse
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ops.api_client import Api, Http, RequestFailed, Stopped
from ops.transfer import THRESHOLD, CannotSend, Source, Transfer

LOCAL_API = "http://127.0.0.1:8000"
ENDED = ("COMPLETED", "REJECTED", "FAILED")
WATCHERS = 16
FIRST_LOOK, LONGEST_LOOK = 0.2, 3.0  # seconds between two looks at a job


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument(
        "--api",
        type=_api_url,
        default=os.environ.get("WAYBILL_API") or LOCAL_API,
        help=f"the root of the API (default: WAYBILL_API, or {LOCAL_API})",
    )
    parser.add_argument(
        "--token",
        default=os.environ.get("WAYBILL_TOKEN"),
        help="a JWT; better in WAYBILL_TOKEN, as other users of this machine see the command line",
    )
    parser.add_argument("--watch", action="store_true", help="wait until each job has ended")
    parser.add_argument("--jobs", type=_count, default=4, metavar="N", help="so many at once (default: 4)")
    parser.add_argument(
        "--multipart-above",
        type=_count,
        default=THRESHOLD,
        metavar="BYTES",
        help=f"send larger files in parts (default: {THRESHOLD})",
    )


def _api_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(text)
    return text


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count


def notes_dir(environ: Mapping[str, str]) -> Path:
    """Where uploads that have begun are remembered."""
    home = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "waybill" / "uploads"


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    path: Path
    status: str
    job_id: str = ""
    problem: str = ""
    outputs: Sequence[Mapping[str, Any]] = ()

    @property
    def is_good(self) -> bool:
        return self.status in ("UPLOADED", "COMPLETED")

    def lines(self) -> list[str]:
        first = f"{self.status:<10} {_printable(str(self.path))}"
        return [
            f"{first}  {self.job_id}".rstrip() + (f"  {_printable(self.problem)}" if self.problem else ""),
            *(f"{'':<10}   {o['name']}  {o['contentType']}  {o['size']:,} bytes" for o in self.outputs),
        ]


def run(options: argparse.Namespace) -> int:
    """0 when every file is in S3, and with --watch COMPLETED; 1 otherwise; 130 when interrupted."""
    stop = threading.Event()
    console = Console(stderr=True)
    http = Http(stop, connections=2 * options.jobs)
    api = Api(http, options.api, options.token)
    files, parts = (ThreadPoolExecutor(options.jobs, thread_name_prefix=name) for name in ("file", "part"))
    transfer = Transfer(api, parts, notes=notes_dir(os.environ), threshold=options.multipart_above)
    # Many may wait for their jobs while others are being sent.
    watchers = ThreadPoolExecutor(WATCHERS, thread_name_prefix="watch")
    good = True
    with _progress(console) as progress:
        journeys = [_Journey(path, api, transfer, progress) for path in options.files]
        waiting = {files.submit(journey.send): journey for journey in journeys}
        try:
            while waiting:
                # With an end to it, so that Ctrl-C is heard in between.
                for future in wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED).done:
                    journey, outcome = waiting.pop(future), future.result()
                    if options.watch and outcome.status == "UPLOADED":
                        waiting[watchers.submit(journey.watch, outcome.job_id)] = journey
                        continue
                    journey.hide()
                    good = good and outcome.is_good
                    print("\n".join(outcome.lines()), flush=True)
        except KeyboardInterrupt:
            stop.set()
        finally:
            for pool in (files, parts, watchers):
                pool.shutdown(cancel_futures=True)
    if stop.is_set():
        print("Interrupted. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    return 0 if good else 1


def _progress(console: Console) -> Progress:
    """Bars on a terminal; nothing where there is none."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
        disable=not console.is_terminal,
    )


class _Journey:
    """One file, from the disk to the end of its job."""

    def __init__(self, path: Path, api: Api, transfer: Transfer, progress: Progress) -> None:
        self._path = path
        self._api = api
        self._transfer = transfer
        self._progress = progress
        self._bar: TaskID | None = None

    def send(self) -> Outcome:
        try:
            source = Source.look(self._path)
            name = escape(_printable(self._path.name))
            self._bar = self._progress.add_task(name, total=source.size, state="sending")
            return Outcome(self._path, "UPLOADED", self._transfer.send(source, self._sent))
        except Stopped:
            return Outcome(self._path, "STOPPED")
        except (CannotSend, RequestFailed) as error:
            return Outcome(self._path, "NOT SENT", problem=str(error))

    def watch(self, job_id: str) -> Outcome:
        try:
            return self._watched(job_id)
        except Stopped:
            return Outcome(self._path, "UPLOADED", job_id)
        except RequestFailed as error:
            return Outcome(self._path, "UNKNOWN", job_id, str(error))

    def hide(self) -> None:
        """A bar that is done makes room for the next; its line on standard output stays."""
        if self._bar is not None:
            self._progress.update(self._bar, visible=False)

    def _watched(self, job_id: str) -> Outcome:
        pause = FIRST_LOOK
        while True:
            job = self._look(job_id)
            if job and job["status"] in ENDED:
                error = job.get("error") or {}
                problem = f"{error.get('code')}: {error.get('message')}" if error else ""
                return Outcome(self._path, job["status"], job_id, problem, job.get("outputs") or ())
            self._show(job["status"] if job else "arriving")
            self._api.http.stop.wait(pause)
            self._api.http.check()
            pause = min(LONGEST_LOOK, pause * 1.5)

    def _look(self, job_id: str) -> Any:
        """The job; None while the event of its file is still on the way."""
        try:
            return self._api("GET", f"/jobs/{job_id}")
        except RequestFailed as error:
            if error.status != 404:
                raise
            return None

    def _sent(self, more: int) -> None:
        if self._bar is not None:
            self._progress.advance(self._bar, more)

    def _show(self, state: str) -> None:
        if self._bar is not None:
            self._progress.update(self._bar, state=state)


def _printable(text: str) -> str:
    """Names may hold anything, and nothing in them shall move the cursor."""
    return "".join(c if c.isprintable() else "�" for c in text)
