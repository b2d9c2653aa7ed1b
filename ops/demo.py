"""`make demo`: real files through a local stack of its own, and an account of each one's way."""

import json
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from standardwebhooks import Webhook

from ops.shipments import Shipment, shipments
from ops.stack import LocalStack

PATIENCE = 60.0  # seconds until a file that has not ended counts as lost

Say = Callable[[str], None]


def run(say: Say) -> bool:
    """Send every shipment, tell how it went, and whether all went as it must."""
    with tempfile.TemporaryDirectory(prefix="waybill-demo-") as state:
        say("A local stack of its own, on free ports:")
        with LocalStack(state_dir=Path(state), say=say) as stack, _receiver() as letters:
            secret = _register(stack, letters.url)
            tours = [_Tour(stack, shipment) for shipment in shipments()]
            say(f"\nSending {len(tours)} files at once.")
            threads = [threading.Thread(target=tour.send) for tour in tours]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for tour in tours:
                tour.wait(letters)
                tour.tell(say, letters, secret)
            left = _keys(stack, "uploads/") + _keys(stack, "incoming/")
            say(f"\nLeft under uploads/ and incoming/: {', '.join(left) or 'nothing'}")
            wrong = sum(1 for tour in tours if tour.faults) + bool(left)
    say("All is as it must be." if not wrong else f"{wrong} things are not as they must be.")
    return not wrong


class _Tour:
    """One shipment under way."""

    def __init__(self, stack: LocalStack, shipment: Shipment) -> None:
        self.stack = stack
        self.shipment = shipment
        self.job: dict[str, Any] = {}
        self.faults: list[str] = []
        self._began = 0.0
        self._steps: list[tuple[float, str]] = []

    def send(self) -> None:
        try:
            self._began = time.time()
            if self.shipment.drop:
                self.stack.client("s3").put_object(
                    Bucket=self.stack.outputs["BucketName"], Key=self.shipment.drop, Body=self.shipment.body
                )
                self._step(time.time(), f"dropped at {self.shipment.drop}")
            else:
                self._presign_and_put()
        except Exception as error:
            self.faults.append(f"sending failed: {error!r}")

    def _presign_and_put(self) -> None:
        wish = self.shipment.presign
        body = b"" if wish is None else json.dumps({"filename": self.shipment.name} | wish).encode()
        signed = _http("POST", f"{self.stack.api_url}/presign", body)
        self.job["jobId"] = signed["jobId"]
        self._step(time.time(), f"POST /presign: signed for {signed['s3Key']}")
        # As `curl -X PUT --data-binary` does: urllib too calls a body a form unless told otherwise.
        _http("PUT", signed["uploadUrl"], self.shipment.body, signed["headers"])
        self._step(time.time(), "PUT: the bytes are in S3")

    def wait(self, letters: "_Letters") -> None:
        deadline = time.time() + PATIENCE
        while not self.faults and time.time() < deadline:
            found = self._look()
            if found and found["status"] in ("COMPLETED", "REJECTED", "FAILED"):
                self.job = found
                if letters.about(found["jobId"]):
                    return
            time.sleep(0.05)
        self.faults.append(f"not ended and announced within {PATIENCE:.0f} s")

    def _look(self) -> dict[str, Any] | None:
        listed = _http("GET", f"{self.stack.api_url}/jobs?limit=100")["jobs"]
        return next(
            (
                job
                for job in listed
                if job["jobId"] == self.job.get("jobId") or job["sourceKey"] == self.shipment.drop
            ),
            None,
        )

    def tell(self, say: Say, letters: "_Letters", secret: str) -> None:
        job = self.job
        if not self.faults:
            self._step(_epoch(job["createdAt"]), "QUEUED: in the ledger and on the queue")
            self._step(_epoch(job["startedAt"]), "PROCESSING: claimed by a worker")
            self._step(_epoch(job["finishedAt"]), f"{job['status']}: now at {job['key']}")
            letter = letters.about(job["jobId"])[0]
            self._step(letter.arrived, f"webhook: {json.loads(letter.body)['type']}")
            self._check(letter, secret)
        say(f"\n{self.shipment.name} ({len(self.shipment.body)} bytes): {self.shipment.expect}")
        for moment, what in sorted(self._steps):
            say(f"  {1000 * (moment - self._began):7.0f} ms  {what}")
        if job.get("error"):
            say(f"              {job['error']['code']}: {job['error']['message']}")
        if job.get("detectedType"):
            say(f"              it is {job['detectedType']}")
        if job.get("metadata"):
            say("              " + ", ".join(f"{name} {value}" for name, value in job["metadata"].items()))
        for output in job.get("outputs", []):
            say(f"              made: {output['name']}, {output['size']} bytes")
        for fault in self.faults:
            say(f"     ✗ {fault}")
        if not self.faults:
            say("     ✓ status, bytes, outputs, events and signature checked")

    def _check(self, letter: "_Letter", secret: str) -> None:
        shipment, job = self.shipment, self.job
        self._must(job["status"], shipment.status, "status")
        self._must(job.get("error", {}).get("code"), shipment.error, "error code")
        self._must(self._object(job["key"]), shipment.body, "bytes of the original")
        if not shipment.drop and shipment.presign is not None:
            self._must(job["filename"], shipment.name, "name")
        for event_id, data in shipment.events.items():
            self._must(self._event(job["owner"], event_id), data, f"event {event_id}")
        self._check_outputs()
        try:
            Webhook(secret).verify(letter.body, letter.headers)
        except Exception as error:
            self.faults.append(f"the webhook's signature: {error!r}")

    def _check_outputs(self) -> None:
        made = {output["name"]: self._object(output["key"]) for output in self.job["outputs"]}
        self._must(set(made), set(self.shipment.outputs), "outputs")
        for name, text in self.shipment.outputs.items():
            if text is not None:
                self._must(made.get(name), text.encode(), name)
        said, written = self.shipment.said, made.get("transcript.txt", b"").decode()
        if said is not None and said not in written:
            self.faults.append(f"transcript: {written!r} without {said!r}")
        for name, value in self.shipment.metadata.items():
            self._must(self.job["metadata"].get(name), value, name)
        if told := [
            name for name, body in made.items() if any(mark in body for mark in self.shipment.private)
        ]:
            self.faults.append(f"in {', '.join(told)}: what should be in the original alone")

    def _must(self, is_: Any, must: Any, what: str) -> None:
        if is_ != must:
            self.faults.append(f"{what}: {is_!r} instead of {must!r}")

    def _object(self, key: str) -> bytes:
        answer = self.stack.client("s3").get_object(Bucket=self.stack.outputs["BucketName"], Key=key)
        body: bytes = answer["Body"].read()
        return body

    def _event(self, owner: str, event_id: str) -> Any:
        item = self.stack.client("dynamodb").get_item(
            TableName=self.stack.outputs["EventsTable"], Key={"owner": {"S": owner}, "pk": {"S": event_id}}
        )
        return TypeDeserializer().deserialize(item["Item"]["data"]) if "Item" in item else None

    def _step(self, moment: float, what: str) -> None:
        self._steps.append((moment, what))


@dataclass(frozen=True)
class _Letter:
    body: bytes
    headers: dict[str, str]
    arrived: float


class _Letters:
    """What a webhook endpoint has received."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: list[_Letter] = []

    def about(self, job_id: str) -> list[_Letter]:
        return [letter for letter in list(self.received) if job_id.encode() in letter.body]


@contextmanager
def _receiver() -> Iterator[_Letters]:
    """An endpoint for webhooks on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            letters.received.append(_Letter(body, headers, time.time()))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the account is the output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    letters = _Letters(f"http://127.0.0.1:{server.server_port}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield letters
    finally:
        server.shutdown()
        server.server_close()


def _register(stack: LocalStack, url: str) -> str:
    answer = _http("POST", f"{stack.api_url}/webhooks", json.dumps({"url": url}).encode())
    secret: str = answer["secret"]
    return secret


def _keys(stack: LocalStack, prefix: str) -> list[str]:
    listed = stack.client("s3").list_objects_v2(Bucket=stack.outputs["BucketName"], Prefix=prefix)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def _http(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        answer = response.read()
    return json.loads(answer) if answer else None


def _epoch(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
