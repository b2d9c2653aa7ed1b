"""Deliveries by the deployed functions, with IAM enforced: retries, dead letters, and what an owner sees."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook

from ops.load.journal import waiting
from ops.stack import LocalStack
from tests.stack.test_queue import mapping_reports
from tests.stack.user import User, eventually


@dataclass
class Receiver:
    """An endpoint that answers with these statuses in turn; the last one stays."""

    statuses: list[int]
    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@contextmanager
def receiving(*statuses: int, hold: threading.Event | None = None) -> Iterator[Receiver]:
    """With `hold`, no answer is given before it is set."""
    receiver, lock = Receiver(list(statuses)), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
            if hold is not None:
                hold.wait(30)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A sender that hangs up is expected here."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack whose retries come within seconds."""
    waits = {"WEBHOOK_RETRY_SECONDS": "1,1"}
    with LocalStack(state_dir=tmp_path_factory.mktemp("hurried-stack"), variables=waits) as running:
        yield running


@pytest.fixture
def user(hurried: LocalStack) -> Iterator[User]:
    user = User(hurried)
    yield user
    for known in user.call("GET", "/webhooks").json["webhooks"]:
        user.call("DELETE", f"/webhooks/{known['id']}")
    eventually(nothing_left(hurried), "what is left over is dropped")
    dead_letters(hurried)


def register(user: User, receiver: Receiver, **more: Any) -> Any:
    answer = user.call("POST", "/webhooks", {"url": receiver.url, **more})
    assert answer.status == 201, answer.body
    return answer.json


def log_of(user: User, hook: Any) -> list[Any]:
    """Oldest first."""
    page = user.call("GET", f"/webhooks/{hook['id']}/deliveries").json
    return list(reversed(page["deliveries"]))


def logged(user: User, hook: Any, count: int) -> list[Any]:
    def look() -> list[Any] | None:
        lines = log_of(user, hook)
        return lines if len(lines) >= count else None

    return eventually(look, f"{count} lines in the log")


def nothing_left(stack: LocalStack) -> Callable[[], bool]:
    return lambda: not waiting(stack, "DeliveriesQueueUrl")


def dead_letters(stack: LocalStack) -> list[Any]:
    sqs, url = stack.client("sqs"), stack.outputs["DeliveriesDeadLetterQueueUrl"]
    found: list[Any] = []
    while some := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in some:
            found.append(message)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


@pytest.mark.parametrize("reports", [False, True], ids=["plain mapping", "ReportBatchItemFailures"])
def test_one_that_fails_twice_gets_it_in_the_end_and_its_neighbours_once(
    hurried: LocalStack, user: User, reports: bool
) -> None:
    with (
        mapping_reports(hurried, "deliver", failures=reports),
        receiving(500, 503, 200) as shaky,
        receiving(200) as neighbour,
    ):
        hooks = [register(user, receiver) for receiver in (shaky, neighbour)]
        job = user.ended(user.upload(b"news")["jobId"])

        lines = logged(user, hooks[0], 3)

        eventually(nothing_left(hurried), "the queue is empty")
        event_id = f"{job['jobId']}-completed-1"
        assert shaky.ids == [event_id] * 3
        assert neighbour.ids == [event_id]
        assert [(line["status"], line["delivered"]) for line in lines] == [
            (500, False),
            (503, False),
            (200, True),
        ]
        assert [line["attempt"] for line in lines] == [1, 2, 3]
        assert all("nextAttemptAt" in line and not line["givenUp"] for line in lines[:2])
        times = [int(headers["webhook-timestamp"]) for headers, _ in shaky.got]
        assert times == sorted(times)
        assert times[0] < times[-1]
        for headers, body in shaky.got:
            assert Webhook(hooks[0]["secret"]).verify(body, headers)["id"] == event_id


def test_one_that_hangs_does_not_keep_the_others_from_theirs(user: User) -> None:
    """Over as many batches as there are jobs, in each of which it is tried as well."""
    free = threading.Event()
    with receiving(200, hold=free) as stuck, receiving(200) as quick:
        hooks = [register(user, receiver) for receiver in (stuck, quick)]
        jobs = {user.ended(user.upload(f"file {n}".encode())["jobId"])["jobId"] for n in range(6)}

        eventually(lambda: len(quick.got) == len(jobs), "all of them came")

        assert stuck.got  # and had no answer
        free.set()
        assert {line["subject"] for line in logged(user, hooks[1], len(jobs))} == jobs
        assert len(quick.got) == len(jobs)


def test_what_stays_undelivered_is_a_dead_letter_that_can_be_sent_again(
    hurried: LocalStack, user: User
) -> None:
    with receiving(500, 500, 500, 200) as receiver:
        hook = register(user, receiver)
        job = user.ended(user.upload(b"news")["jobId"])

        (letter,) = eventually(lambda: dead_letters(hurried), "there is a dead letter")

        assert len(receiver.got) == 3
        assert letter["MessageAttributes"]["reason"]["StringValue"] == "500"
        body = json.loads(letter["Body"])
        assert (body["v"], body["owner"], body["webhookId"]) == (1, "_", hook["id"])
        assert body["eventId"] == f"{job['jobId']}-completed-1"
        assert json.loads(body["body"])["data"]["jobId"] == job["jobId"]
        assert [line["givenUp"] for line in logged(user, hook, 3)] == [False, False, True]

        hurried.client("sqs").send_message(
            QueueUrl=hurried.outputs["DeliveriesQueueUrl"], MessageBody=letter["Body"]
        )
        assert [line["delivered"] for line in logged(user, hook, 4)] == [False, False, False, True]
        assert len(set(receiver.ids)) == 1
        eventually(nothing_left(hurried), "the queue is empty")


def test_a_bad_message_is_a_dead_letter_at_once(hurried: LocalStack) -> None:
    hurried.client("sqs").send_message(
        QueueUrl=hurried.outputs["DeliveriesQueueUrl"], MessageBody="not a delivery"
    )
    (letter,) = eventually(lambda: dead_letters(hurried), "there is a dead letter")
    assert letter["Body"] == "not a delivery"
    eventually(nothing_left(hurried), "the queue is empty")


def test_410_disables_and_enabling_brings_the_next_event(hurried: LocalStack, user: User) -> None:
    with receiving(410, 200) as receiver:
        hook = register(user, receiver)
        user.ended(user.upload(b"one")["jobId"])

        def disabled() -> Any:
            (shown,) = user.call("GET", "/webhooks").json["webhooks"]
            return shown.get("disabled")

        assert eventually(disabled, "it is disabled")["reason"] == "gone"
        eventually(nothing_left(hurried), "the queue is empty")
        enabled = user.call("POST", f"/webhooks/{hook['id']}/enable")
        assert (enabled.status, "disabled" in enabled.json) == (200, False)
        job = user.ended(user.upload(b"two")["jobId"])
        eventually(lambda: len(receiver.got) == 2, "the next event came")
        assert receiver.ids[1].startswith(job["jobId"])


def test_a_delivery_that_waits_is_dropped_when_its_webhook_is_removed(
    hurried: LocalStack, user: User
) -> None:
    with receiving(500) as receiver:
        hook = register(user, receiver)
        user.ended(user.upload(b"news")["jobId"])
        eventually(lambda: receiver.got, "it was tried once")
        user.call("DELETE", f"/webhooks/{hook['id']}")

        eventually(nothing_left(hurried), "the queue is empty")

        assert dead_letters(hurried) == []


def test_a_rotated_secret_signs_beside_the_old_one(user: User) -> None:
    with receiving(200) as receiver:
        hook = register(user, receiver)
        rotated = user.call("POST", f"/webhooks/{hook['id']}/rotate")
        assert rotated.status == 200
        outcome = user.call("POST", f"/webhooks/{hook['id']}/test")

        ((headers, body),) = receiver.got
        for secret in (hook["secret"], rotated.json["secret"]):
            assert Webhook(secret).verify(body, headers)["type"] == "waybill.webhook.test"
        assert outcome.json.pop("eventId") == headers["webhook-id"]


@pytest.mark.parametrize("front_door", ["chalice local", "API Gateway"])
def test_a_test_tells_what_came_of_it(hurried: LocalStack, user: User, front_door: str) -> None:
    caller = User(hurried, hurried.gateway_url if front_door == "API Gateway" else "")
    with receiving(204, 500) as receiver:
        hook = register(caller, receiver)
        good, bad = (caller.call("POST", f"/webhooks/{hook['id']}/test").json for _ in range(2))
        assert [(one["delivered"], one["status"]) for one in (good, bad)] == [(True, 204), (False, 500)]
        assert [line["eventId"] for line in log_of(user, hook)] == [good["eventId"], bad["eventId"]]
        first = caller.call("GET", f"/webhooks/{hook['id']}/deliveries?limit=1").json
        assert [line["status"] for line in first["deliveries"]] == [500]
        rest = caller.call("GET", f"/webhooks/{hook['id']}/deliveries?limit=9&cursor={first['cursor']}").json
        assert ([line["status"] for line in rest["deliveries"]], rest["cursor"]) == ([204], None)


def test_a_function_that_is_killed_behind_the_post_sends_it_again_under_the_same_id(
    hurried: LocalStack, user: User
) -> None:
    """Its time runs out while the receiver keeps it waiting: the message was not deleted, and comes again."""
    functions, sqs = hurried.client("lambda"), hurried.client("sqs")
    queue = hurried.outputs["DeliveriesQueueUrl"]
    free = threading.Event()
    functions.update_function_configuration(FunctionName="waybill-local-deliver", Timeout=1)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "2"})
    try:
        with receiving(200, hold=free) as receiver:
            register(user, receiver)
            user.upload(b"news")
            eventually(lambda: len(receiver.got) >= 2, "it was sent again")
            free.set()
            eventually(nothing_left(hurried), "the queue is empty")
            assert len(set(receiver.ids)) == 1
            assert dead_letters(hurried) == []
    finally:
        functions.update_function_configuration(FunctionName="waybill-local-deliver", Timeout=30)
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "180"})
