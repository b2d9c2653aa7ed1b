"""One load run on one stack: files are sent and followed to their ends, while mishaps happen."""

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops import deployment as deployments
from ops import letters, sweep
from ops.api_client import Answer, Api, Http
from ops.load import cargo, journal, report
from ops.load.cargo import Parcel
from ops.load.journal import Sent
from ops.load.listener import Listener
from ops.load.mishaps import POISON, Mishaps
from ops.stack import LocalStack

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


class Load:
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
        with (
            Listener(self._stack, self._hear) as listener,
            self._swept(),
            report.shown(self._options.files, self._state) as show,
        ):
            self._send_all(parcels, listener, show)
            self._wait(lambda: all(one.ended.is_set() for one in self._sent.values()), listener, show)
            elapsed = time.monotonic() - began
            self._wait(self._is_tidy, listener, show)
        letters = self._dead_letters()
        result = journal.account(self._stack, list(self._sent.values()), listener.payloads, letters)
        report.tell(self._stack, result, self._faults, self._mishaps.counts, elapsed)
        return 0 if result.is_clean and not self._faults else 1

    def _state(self) -> tuple[int, str]:
        """How many have ended, and what else there is to say."""
        self._stack.check()
        sent = list(self._sent.values())
        counts = [f"{count} {what}" for what, count in sorted(self._mishaps.counts.items())]
        return sum(one.ended.is_set() for one in sent), ", ".join([f"sent {len(sent)}", *counts])

    # --- Sending ------------------------------------------------------------------------------------------

    def _send_all(self, parcels: Iterator[Parcel], listener: Listener, show: Callable[[], None]) -> None:
        with ThreadPoolExecutor(SENDERS, thread_name_prefix="send") as pool:
            for parcel in parcels:
                while not self._turns.acquire(timeout=0.5):
                    show()
                    if time.monotonic() - listener.last > PATIENCE:
                        self._faults.append(
                            f"the files from number {parcel.number} on: nothing ends any more"
                        )
                        return
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
                with suppress(BotoCoreError, ClientError):  # a machine too busy to answer
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
