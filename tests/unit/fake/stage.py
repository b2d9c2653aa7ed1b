"""A deployed stage in one process: `app.py` on the fake AWS, and what S3, SQS, SNS and the schedule do to it.

Nothing happens by itself. `Stage` brings an event to its handler when a test says so, through the entry point
that Lambda would call, as often as the test likes, and `settle` does what AWS does until nothing is left.
"""

import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from chalicelib import heavy, lazy, pipeline, sandbox, scans, sweeper
from chalicelib.ledger import Ledger
from chalicelib.processors import REGISTRY, Result, Source
from chalicelib.processors.base import Output
from chalicelib.settings import Settings
from chalicelib.webhooks import deliveries
from chalicelib.webhooks.sender import Outcome, Sender
from tests.unit.fake import machine
from tests.unit.fake.aws import FakeAws, clocked, installed

REAL_TIME = ("chalicelib.scratch",)
"""Modules that look at the time of files on this machine's disk."""


class Inline:
    """An executor that does things at once, so that the calls come in the same order every time."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def submit(self, act: Callable[..., Any], *arguments: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(act(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, act: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        return iter([act(*each) for each in zip(*arguments, strict=False)])

    def shutdown(self, **_: Any) -> None: ...

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stage:
    settings: Settings
    aws: FakeAws
    app: ModuleType
    reports_failures: bool = False
    """Whether the queue's mapping looks at what the consumer returns (`ReportBatchItemFailures`)."""
    posted: set[tuple[str, str]] = field(default_factory=set)
    """URL and id of what webhooks were sent."""
    post_outcome: Callable[[], Outcome] = lambda: Outcome(status=200)
    notified: int = 0
    """How many of the published messages have reached `notify`."""
    scanned: list[Any] = field(default_factory=list)
    """Events of GuardDuty's that have not reached `on_scan`."""
    verdict: str = scans.CLEAN
    """What every scan finds."""
    seconds: float = 300.0
    """What a function has left."""

    # --- the handlers, by their entry points

    @property
    def handlers(self) -> set[str]:
        """The name of every handler of app.py: of routes and of events."""
        return self.views | set(self.app.app.handler_map)

    @property
    def views(self) -> set[str]:
        routes = self.app.app.routes.values()
        return {route.view_function.__name__ for methods in routes for route in methods.values()}

    def invoke(self, handler: str, event: Any) -> Any:
        with self._calls_of(handler):
            return getattr(self.app, handler)(event, self._context())

    @contextmanager
    def _calls_of(self, function: str) -> Iterator[None]:
        self.aws.caller = function
        try:
            yield
        finally:
            self.aws.caller = ""

    def http(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """A request as API Gateway sends it (Lambda Developer Guide, "Proxy integration", format 1.0)."""
        parts = urlsplit(path)
        resource, parameters, _ = self.route(method, parts.path)
        raw = body if isinstance(body, str) or body is None else json.dumps(body)
        query: dict[str, list[str]] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            query.setdefault(name, []).append(value)
        event = {
            "resource": resource,
            "path": parts.path,
            "httpMethod": method,
            "headers": {"Host": "api.example.com", "X-Forwarded-Proto": "https", **(headers or {})},
            "multiValueHeaders": {},
            "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
            "multiValueQueryStringParameters": query or None,
            "pathParameters": parameters or None,
            "stageVariables": None,
            "requestContext": {
                "resourcePath": resource,
                "path": parts.path,
                "httpMethod": method,
                "requestId": "request-1",
                "identity": {"sourceIp": "203.0.113.7"},
            },
            "body": raw,
            "isBase64Encoded": False,
        }
        return self.gateway(event)

    def gateway(self, event: Any) -> Answer:
        with self._calls_of("api_handler"):
            answer = self.app.app(event, self._context())
        return Answer(answer["statusCode"], answer["body"], answer["headers"])

    def route(self, method: str, path: str) -> tuple[str, dict[str, str], str]:
        """The resource that API Gateway would find, its parameters, and the name of its handler."""
        sent = path.split("/")
        for resource in sorted(self.app.app.routes, key=lambda r: r.count("{")):
            wanted = resource.split("/")
            if len(wanted) == len(sent) and method in self.app.app.routes[resource]:
                pairs = list(zip(wanted, sent, strict=True))
                if all(w == s or w.startswith("{") for w, s in pairs):
                    parameters = {w.strip("{}"): s for w, s in pairs if w.startswith("{")}
                    view = self.app.app.routes[resource][method].view_function
                    return resource, parameters, view.__name__
        raise LookupError(f"{method} {path}")

    # --- what AWS does

    def bring_objects(self, events: Iterable[Any] | None = None) -> None:
        """Tell of every object that was made; what could not be told is told again later."""
        records = self._take_objects() if events is None else list(events)
        for at, record in enumerate(records):
            key = record["s3"]["object"]["key"]
            handler = "on_upload" if key.startswith(self.settings.upload_prefix) else "on_incoming"
            try:
                self.invoke(handler, {"Records": [record]})
            except BaseException:
                self.aws.s3.events[:0] = records[at:]
                raise

    def _take_objects(self) -> list[Any]:
        records, self.aws.s3.events[:] = list(self.aws.s3.events), []
        return [
            record
            for record in records
            if record["s3"]["object"]["key"].startswith(self.settings.open_prefixes)
        ]

    def bring_scans(self, events: Iterable[Any] | None = None) -> None:
        """GuardDuty looks at what has no tag yet; whatever it told of in vain, it tells again."""
        if self.settings.scans_for_malware:
            self.scanned += self.scan() if events is None else list(events)
            while self.scanned:
                self.invoke("on_scan", self.scanned[0])
                del self.scanned[0]

    def scan(self) -> list[Any]:
        """The tags, and an event for each of them."""
        found: list[Any] = []
        where = {"Bucket": self.settings.bucket}
        for key, there in list(self.aws.s3.buckets[self.settings.bucket].items()):
            if there.tags or not key.startswith(self.settings.open_prefixes):
                continue
            verdict = {"TagSet": [{"Key": scans.TAG, "Value": self.verdict}]}
            self.aws.s3.put_object_tagging({**where, "Key": key, "Tagging": verdict})
            told = {"bucketName": self.settings.bucket, "objectKey": key, "eTag": there.etag}
            found.append(scheduled(self.settings.region, "aws.guardduty", {"s3ObjectDetails": told}))
        return found

    def bring_messages(self) -> bool:
        """One batch of the queue to the consumer; False where there is none."""
        return self._bring(self.settings.queue_url, "consume")

    def bring_deliveries(self) -> bool:
        return self._bring(self.settings.deliveries_queue_url, "deliver")

    def _bring(self, url: str, handler: str) -> bool:
        """Under either kind of mapping."""
        sqs = self.aws.sqs
        received = sqs.receive_message(
            {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 360}
        ).get("Messages", [])
        if not received:
            return False
        records = [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
            for message in received
        ]
        answer = self.invoke(handler, {"Records": records})
        failed = answer.get("batchItemFailures", []) if isinstance(answer, dict) else []
        again = {failure["itemIdentifier"] for failure in failed} if self.reports_failures else set()
        for record in records:
            if record["messageId"] not in again:
                sqs.delete_message({"QueueUrl": url, "ReceiptHandle": record["receiptHandle"]})
        return True

    def bring_announcements(self) -> None:
        while self.notified < len(self.aws.sns.published):
            request = self.aws.sns.published[self.notified]
            self.invoke("notify", {"Records": [self._announcement(request)]})
            self.notified += 1

    def _announcement(self, request: Mapping[str, Any]) -> dict[str, Any]:
        sent = {
            name: {"Type": value["DataType"], "Value": value["StringValue"]}
            for name, value in request.get("MessageAttributes", {}).items()
        }
        return {
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "Sns": {
                "Type": "Notification",
                "MessageId": "sns-1",
                "TopicArn": request["TopicArn"],
                "Subject": request.get("Subject"),
                "Message": request["Message"],
                "MessageAttributes": sent,
            },
        }

    def run_executions(self) -> None:
        """Bring every execution that is running to its end."""
        executions = self.aws.stepfunctions.executions
        for arn in executions:
            while executions[arn].status == "RUNNING":
                self.take_step(arn)

    def take_step(self, arn: str) -> None:
        """A step that was under way when another try of it got through moves nothing any more."""
        executions = self.aws.stepfunctions.executions
        before, listens = executions[arn], self.settings.transcriber == "amazon"
        after = machine.step(before, self.invoke, self._listen, listens=listens)
        if executions[arn] is before:
            executions[arn] = after

    def _listen(self, request: Mapping[str, Any]) -> str:
        word = {"type": "pronunciation", "start_time": "0.0", "end_time": "0.5"}
        answer = {"results": {"items": [{**word, "alternatives": [{"content": "word"}]}]}}
        where = {"Bucket": request["OutputBucketName"], "Key": request["OutputKey"]}
        self.aws.s3.put_object({**where, "Body": json.dumps(answer)})
        return "COMPLETED"

    def sweep(self) -> None:
        self.invoke("sweep", scheduled(self.settings.region, "aws.events", {}))

    def let_pass(self) -> None:
        """Long enough for any lease to run out, and for the sweep to look at what lies open."""
        self.aws.clock.advance(max(self.settings.sweep_after_seconds, self.settings.lease_seconds, 900) + 2)

    def settle(self) -> None:
        """Events and messages come, time passes, the sweep comes round, until nothing is left to do."""
        for _ in range(30):
            before = self._work()
            steps: tuple[Callable[[], object], ...] = (
                self.bring_objects,
                self.bring_scans,
                lambda: self._drain(self.bring_messages),
                self.run_executions,
                self.bring_announcements,
                lambda: self._drain(self.bring_deliveries),
            )
            for act in steps:
                with suppress(Exception):
                    act()
            self.let_pass()
            self.sweep()
            if not any(self._work()) and not any(before):
                return
        raise AssertionError(f"never comes to rest: {self._work()}")

    @staticmethod
    def _drain(bring: Callable[[], bool]) -> None:
        with suppress(Exception):
            while bring():
                pass

    def _work(self) -> tuple[list[str], int, int, int, int]:
        objects = self.aws.s3.buckets[self.settings.bucket]
        open_keys = [key for key in objects if key.startswith(self.settings.open_prefixes)]
        jobs, deliveries = (
            len(self.aws.sqs.queues[name].messages)
            for name in (self.settings.queue_name, self.settings.deliveries_queue_name)
        )
        running = [e for e in self.aws.stepfunctions.executions.values() if e.status == "RUNNING"]
        return open_keys, jobs, deliveries, len(running), len(self.aws.sns.published) - self.notified

    def lose_everything(self) -> None:
        """Every event and every message that the work on jobs goes by."""
        self.aws.s3.events.clear()
        self.scanned.clear()
        self.aws.sqs.purge_queue({"QueueUrl": self.settings.queue_url})

    def saved(self) -> Any:
        return self.aws.saved(), set(self.posted), self.notified, list(self.scanned)

    def restore(self, saved: Any) -> None:
        aws, posted, self.notified, scanned = saved
        self.scanned[:] = scanned
        self.aws.restore(aws)
        self.posted.clear()
        self.posted |= posted

    def _context(self) -> Any:
        return SimpleNamespace(
            get_remaining_time_in_millis=lambda: int(self.seconds * 1000),
            aws_request_id="invocation-1",
            function_name="waybill-test",
        )


def scheduled(region: str, source: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    """An event of EventBridge's."""
    return {
        "version": "0",
        "id": "1",
        "account": "123456789012",
        "region": region,
        "detail": dict(detail),
        "detail-type": "Scheduled Event",
        "source": source,
        "time": "2026-01-01T00:00:00Z",
        "resources": [],
    }


def process_here(family: str, source: Source, **_: Any) -> Result:
    """In the sandbox's place: what this is about is the calls around it."""
    if family in pipeline.HEAVY_FAMILIES:  # a codec takes longer than all of them
        return Result({"seconds": 1}, [Output("audio.m4a", "audio/mp4", b"sound")])
    return REGISTRY[family](source)


@contextmanager
def running(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    make_resources: Callable[[Settings], None],
    account: str,
) -> Iterator[Stage]:
    """A stage with its resources, one thread, and a clock that stands still."""
    aws = FakeAws(settings.region, account)
    with installed(aws, settings.region, monkeypatch):
        make_resources(settings)
        aws.made.clear()
        sys.modules.pop("app", None)
        app = importlib.import_module("app")
        modules = [module for module in _loaded() if module.__name__ not in REAL_TIME]
        for module in modules:
            if isinstance(getattr(module, "time", None), ModuleType):
                monkeypatch.setattr(module, "time", clocked(aws.clock))
        _forget_pools(modules)
        for module in modules:
            if hasattr(module, "ThreadPoolExecutor"):
                monkeypatch.setattr(module, "ThreadPoolExecutor", Inline)
        defaults: Any = Ledger.__init__.__kwdefaults__
        monkeypatch.setitem(defaults, "clock", aws.clock)
        by_default: Any = deliveries.deliver.__kwdefaults__
        monkeypatch.setitem(by_default, "clock", aws.clock)
        monkeypatch.setattr(sweeper, "in_any_order", list)
        monkeypatch.setattr(heavy, "find_spec", lambda name: name)
        monkeypatch.setattr(sandbox, "run", process_here)
        if Path("/dev/shm").is_dir():  # thousands of jobs make and delete directories
            monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")
        stage = Stage(settings, aws, app)

        def post(_: Any, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
            del body
            outcome = stage.post_outcome()
            if outcome.delivered:
                event_id = headers["webhook-id"]
                stage.posted.add((url, "test" if event_id.startswith("test-") else event_id))
            return outcome

        monkeypatch.setattr(Sender, "post", post)
        try:
            yield stage
        finally:
            _forget_pools(modules)
            sys.modules.pop("app", None)


def _loaded() -> list[ModuleType]:
    """All that app.py imports of ours; what it puts off until it is used would bring threads of its own."""
    while True:
        ours = [module for name, module in sys.modules.items() if name.split(".")[0] in ("app", "chalicelib")]
        named = [value for module in ours for value in vars(module).values()]
        put_off = {value._name for value in named if isinstance(value, lazy._Later)} - sys.modules.keys()
        if not put_off:
            return ours
        for name in put_off:
            importlib.import_module(name)


def _forget_pools(modules: Iterable[ModuleType]) -> None:
    """Executors that a process makes once: those of other tests are no use here, nor ours to them."""
    for module in modules:
        if hasattr(module, "ThreadPoolExecutor"):
            for made in vars(module).values():
                if hasattr(made, "cache_clear") and not isinstance(made, type):
                    made.cache_clear()
