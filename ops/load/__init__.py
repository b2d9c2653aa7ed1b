"""`python -m ops load`: thousands of files through a stack of its own, on a bad day.

Files of all kinds, some of them twice, on the ways that files take; beside them poison on the queue, events
that come again, calls that fail, and workers that are killed. In the end everything must add up.

The stack is impatient, so that what is lost comes back within seconds: leases of 15 seconds, messages that
come back after 20, and a sweep after files that lie open for 10. The embedded AWS's clock for schedules knows
whole minutes, so the run itself calls the sweep every 5 seconds.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ops import deployment as deployments
from ops import letters, sweep
from ops.api_client import Answer, Api, Http
from ops.columns import table
from ops.load import cargo, journal
from ops.load.cargo import Parcel
from ops.load.journal import Account, Sent
from ops.load.listener import Listener
from ops.load.mishaps import POISON, Mishaps
from ops.stack import LocalStack
from ops.state import StackError

SENDERS = 8
VARIABLES = {
    "LEASE_SECONDS": "15",
    "SWEEP_AFTER_SECONDS": "10",
    "MAX_ATTEMPTS": "30",  # being killed counts as a try
    "MAX_UPLOAD_BYTES": str(cargo.MAX_BYTES),
    "ALLOWED_TYPES": cargo.ALLOWED_TYPES,
}
VISIBILITY_SECONDS = 20
SWEEP_EVERY = 5.0
PATIENCE = 120.0  # seconds without any news after which what has not ended counts as lost
SHOWN = 10  # faults of a kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--seed", type=int, default=1, help="of files, mishaps and faults (default: 1)")
    parser.add_argument(
        "--faults", type=float, default=0.02, help="the share of AWS calls that fail (default: 0.02)"
    )
    parser.add_argument("--no-kills", action="store_true", help="let every process live")
    parser.add_argument(
        "--under-way", type=int, default=64, metavar="N", help="files at a time, at most (default: 64)"
    )


def run(options: argparse.Namespace) -> int:
    """0 when everything added up, 1 when it did not, 2 when there was no stack."""
    try:
        with tempfile.TemporaryDirectory(prefix="waybill-load-") as state:
            print(f"A local stack of its own, seed {options.seed}:", flush=True)
            with LocalStack(
                state_dir=Path(state),
                variables=VARIABLES,
                options=["--faults", str(options.faults), "--seed", str(options.seed)],
                say=lambda line: print(line, flush=True),
            ) as stack:
                return _Load(stack, options).run()
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


class _Load:
    """One run on one stack."""

    def __init__(self, stack: LocalStack, options: argparse.Namespace) -> None:
        self._stack = stack
        self._options = options
        self._s3 = stack.client("s3")
        self._stop = threading.Event()
        self._http = Http(self._stop, connections=2 * SENDERS)
        self._api = Api(self._http, stack.api_url, None)
        self._mishaps = Mishaps(stack, options.seed, kills=not options.no_kills)
        self._turns = threading.BoundedSemaphore(options.under_way)
        self._sent: dict[str, Sent] = {}
        self._early: dict[str, list[Mapping[str, Any]]] = {}
        self._lock = threading.Lock()
        self._faults: list[str] = []

    def run(self) -> int:
        self._be_impatient()
        parcels = cargo.parcels(self._options.files, self._options.seed)
        began = time.monotonic()
        with Listener(self._stack, self._hear) as listener, self._swept(), self._shown() as show:
            self._send_all(parcels, show)
            self._wait(lambda: all(one.ended.is_set() for one in self._sent.values()), listener, show)
            elapsed = time.monotonic() - began
            self._wait(self._is_tidy, listener, show)
        letters = self._dead_letters()
        result = journal.account(self._stack, list(self._sent.values()), listener.payloads, letters)
        self._tell(result, elapsed)
        return 0 if result.is_clean and not self._faults else 1

    # --- Sending ------------------------------------------------------------------------------------------

    def _send_all(self, parcels: Iterator[Parcel], show: Callable[[], None]) -> None:
        with ThreadPoolExecutor(SENDERS, thread_name_prefix="send") as pool:
            for parcel in parcels:
                while not self._turns.acquire(timeout=0.5):
                    show()
                self._mishaps.before(parcel.number)
                pool.submit(self._send, parcel)
                show()

    def _send(self, parcel: Parcel) -> None:
        try:
            key = self._drop(parcel) if parcel.dropped else self._upload(parcel)
        except Exception as error:
            self._faults.append(f"file {parcel.number} could not be sent: {error!r}")
            self._turns.release()
            return
        with self._lock:
            sent = self._sent[key] = Sent(parcel, key, time.time())
            early = self._early.pop(key, [])
        for event in early:
            self._tell_end(sent, event)

    def _drop(self, parcel: Parcel) -> str:
        key = f"incoming/load/{parcel.number}-{parcel.name}"
        self._s3.put_object(Bucket=self._stack.outputs["BucketName"], Key=key, Body=parcel.body)
        return key

    def _upload(self, parcel: Parcel) -> str:
        signed = self._api("POST", "/presign", {"filename": parcel.name})
        for body in (parcel.before, parcel.body):
            if body is not None:
                self._put(signed, body)
        return str(signed["s3Key"])

    def _put(self, signed: Mapping[str, Any], body: bytes) -> Answer:
        return self._http.patiently(
            lambda: self._http.once("PUT", signed["uploadUrl"], signed["headers"], body)
        )

    # --- Following ----------------------------------------------------------------------------------------

    def _hear(self, event: Mapping[str, Any]) -> None:
        key = event["data"]["sourceKey"]
        with self._lock:
            sent = self._sent.get(key)
            if sent is None:
                self._early.setdefault(key, []).append(event)
        if sent is not None:
            self._tell_end(sent, event)

    def _tell_end(self, sent: Sent, event: Mapping[str, Any]) -> None:
        if not sent.ended.is_set():
            sent.hear(event)
            if sent.ended.is_set():
                self._turns.release()
                self._learn(event["data"])

    def _learn(self, job: Mapping[str, Any]) -> None:
        item = self._stack.client("dynamodb").get_item(
            TableName=self._stack.outputs["JobsTable"],
            Key={"owner": {"S": job["owner"]}, "jobId": {"S": job["jobId"]}},
        )
        self._mishaps.knows(item["Item"])

    def _wait(self, done: Callable[[], bool], listener: Listener, show: Callable[[], None]) -> None:
        began = time.monotonic()
        while not done() and time.monotonic() - max(listener.last, began) < PATIENCE:
            show()
            time.sleep(0.5)

    def _is_tidy(self) -> bool:
        return not journal.waiting(self._stack, "QueueUrl") and not any(
            journal.keys(self._stack, "uploads/", "incoming/")
        )

    # --- The stack ----------------------------------------------------------------------------------------

    def _be_impatient(self) -> None:
        self._stack.client("sqs").set_queue_attributes(
            QueueUrl=self._stack.outputs["QueueUrl"],
            Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)},
        )

    @contextmanager
    def _swept(self) -> Iterator[None]:
        """Be the schedule of the sweep."""
        stop = threading.Event()

        deployment = deployments.local(self._stack.endpoint_url)

        def call() -> None:
            while not stop.wait(SWEEP_EVERY):
                self._stack.client("lambda").invoke(
                    FunctionName=deployment.function_name("sweep"),
                    InvocationType="Event",
                    Payload=json.dumps(sweep.event(deployment)).encode(),
                )

        thread = threading.Thread(target=call, name="schedule")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _dead_letters(self) -> list[str]:
        """Do what an operator would, `redrive send --all`; what is left then, beside the poison."""
        deployment = deployments.local(self._stack.endpoint_url)
        left: list[str] = []
        poison = 0
        with letters.Box(deployment, letters.KINDS[0]) as box:
            for some in box.judged(100_000):
                ended = [letter for letter, verdict in some if verdict.fate is letters.Fate.DROP]
                self._mishaps.counts["dead letters of ended jobs"] += len(ended)
                box.drop(ended)
                poison += sum(letter.body in POISON for letter, _ in some)
                left += [
                    f"dead letter of {verdict.subject}: {verdict.status}"
                    for letter, verdict in some
                    if letter not in ended and letter.body not in POISON
                ]
        if poison != self._mishaps.counts["poison"]:
            left.append(f"{self._mishaps.counts['poison']} times poison sent, {poison} dead letters of it")
        return left

    # --- What is seen -------------------------------------------------------------------------------------

    @contextmanager
    def _shown(self) -> Iterator[Callable[[], None]]:
        """A bar on a terminal, a line now and then elsewhere."""
        console = Console(stderr=True)
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            disable=not console.is_terminal,
        )
        shown = [time.monotonic()]
        with bar:
            task = bar.add_task("ended", total=self._options.files, state="")

            def show() -> None:
                now = time.monotonic()
                if now - shown[0] < (0.3 if console.is_terminal else 10):
                    return
                shown[0] = now
                ended = sum(one.ended.is_set() for one in list(self._sent.values()))
                state = f"sent {len(self._sent)}, " + ", ".join(
                    f"{count} {what}" for what, count in sorted(self._mishaps.counts.items())
                )
                bar.update(task, completed=ended, state=state)
                if not console.is_terminal:
                    print(f"  ended {ended} of {self._options.files}; {state}", flush=True)

            yield show

    def _tell(self, result: Account, elapsed: float) -> None:
        log = (self._stack.log_dir / "aws.log").read_text(errors="replace")
        faults = sum(line.startswith("fault ") for line in log.splitlines())
        ended = sum(result.statuses.values())
        must_be_zero = {
            "not sent": self._faults,
            "lost": result.lost,
            "twice": result.twice,
            "not as expected": result.wrong,
            "left over": result.left,
        }
        rows: list[Sequence[str]] = [
            ("sent", str(len(self._sent))),
            *((status.lower(), str(result.statuses[status])) for status in journal.ENDED),
            *(
                (name, f"{len(found)}{'' if not found else '   ✗ must be 0'}")
                for name, found in must_be_zero.items()
            ),
            *((name, str(count)) for name, count in sorted(self._mishaps.counts.items())),
            ("calls that failed", str(faults)),
            ("time", f"{elapsed:.0f} s, {ended / elapsed:.1f} files a second"),
            (
                "from upload to end",
                ", ".join(f"p{percent} {result.percentile(percent):.1f} s" for percent in (50, 95, 99)),
            ),
        ]
        print("\n" + "\n".join(table(rows)))
        for name, found in must_be_zero.items():
            for line in found[:SHOWN]:
                print(f"{name}: {line}")
            if len(found) > SHOWN:
                print(f"{name}: and {len(found) - SHOWN} more")
        print("Everything adds up." if result.is_clean and not self._faults else "It does not add up.")
