"""A file goes all the way: through both front doors, by event alone, with IAM enforced."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from boto3.dynamodb.types import TypeDeserializer
from standardwebhooks import Webhook

from ops import demo
from ops.stack import LocalStack
from tests.stack.user import User, eventually, http_call, subscribed


@pytest.fixture(params=["chalice local", "API Gateway"])
def user(request: pytest.FixtureRequest, stack: LocalStack) -> User:
    """A user at either front door; the second has no part in it that is not deployed."""
    return User(stack, stack.gateway_url if request.param == "API Gateway" else "")


def event_of(user: User, owner: str, pk: str) -> Any:
    found = user.stack.client("dynamodb").get_item(
        TableName=user.stack.outputs["EventsTable"], Key={"owner": {"S": owner}, "pk": {"S": pk}}
    )
    return {name: TypeDeserializer().deserialize(value) for name, value in found["Item"].items()}


def test_an_order_becomes_an_event_with_its_numbers_exact(user: User) -> None:
    signed = user.upload(b'{"id": "order-77", "total": 12.50, "rate": 0.1234567890123456789012345678}')

    job = user.ended(signed["jobId"])

    assert job["status"] == "COMPLETED"
    assert job["key"] == signed["s3Key"].replace("uploads/", "processed/", 1)
    event = event_of(user, "_", "order-77")
    assert event["data"]["total"] == Decimal("12.50")
    assert event["data"]["rate"] == Decimal("0.1234567890123456789012345678")
    assert event["jobId"] == signed["jobId"]
    eventually(lambda: not user.keys(f"uploads/_/{signed['jobId']}"), "nothing is left under uploads/")


@pytest.mark.parametrize(
    "name",
    [
        "plain.txt",
        "with spaces and + and %.txt",
        "100%25 sure.txt",
        "Fête à café.txt",
        "🎉👩‍👩‍👧.txt",
        "a&b=c;d?e#f.txt",
    ],
)
def test_a_hard_name_goes_round_unharmed(user: User, name: str) -> None:
    signed = user.upload(b"the same bytes\n", filename=name)

    job = user.ended(signed["jobId"])

    assert (job["status"], job["filename"]) == ("COMPLETED", name)
    assert user.object(f"processed/_/{signed['jobId']}/{name}") == b"the same bytes\n"
    assert user.object(job["outputs"][0]["key"]) == b"the same bytes\n"


def test_a_broken_document_is_rejected_with_the_place_where_it_broke(user: User) -> None:
    signed = user.upload(b'{"id": 1,\n "total": }', filename="order.json")

    job = user.ended(signed["jobId"])

    assert job["status"] == "REJECTED"
    assert job["error"]["code"] == "invalid_json"
    assert "line 2, column 11" in job["error"]["message"]
    assert user.object(f"rejected/_/{signed['jobId']}/order.json").startswith(b'{"id"')
    eventually(lambda: not user.keys(f"uploads/_/{signed['jobId']}"), "nothing is left under uploads/")


def test_a_drop_into_incoming_belongs_to_the_source_that_its_folder_names(user: User) -> None:
    source = f"shop-{uuid4().hex[:8]}"

    user.put(f"incoming/{source}/day.json", b'[{"id": "a", "n": 1}, {"id": "b", "n": 2}]')

    eventually(lambda: not user.keys(f"incoming/{source}/"), "the drop is done with")
    (key,) = user.keys(f"processed/{source}/")
    assert key.endswith("/day.json")
    assert event_of(user, source, "b")["data"] == {"id": "b", "n": Decimal(2)}
    assert {job["owner"] for job in user.all_jobs()} <= {"_"}


def test_a_drop_that_is_no_json_file_is_left_alone_by_the_incoming_handler(user: User) -> None:
    user.put("incoming/readme.txt", b"not for the pipeline")
    marker = user.upload(b"marker")

    user.ended(marker["jobId"])

    assert user.keys("incoming/") == ["incoming/readme.txt"]
    user.stack.client("s3").delete_object(Bucket=user.bucket, Key="incoming/readme.txt")


def test_a_file_copied_straight_into_uploads_is_work_too(user: User) -> None:
    key = f"uploads/{uuid4().hex}.txt"
    user.put("uploads/folder/", b"")
    user.put(key, b"dropped by hand")

    def job() -> Any:
        return next((j for j in user.all_jobs() if j["sourceKey"] == key), None)

    found = user.ended(eventually(job, "the loose file has a job")["jobId"])

    assert found["status"] == "COMPLETED"
    eventually(lambda: user.keys("uploads/") == ["uploads/folder/"], "only the folder marker is left")
    user.stack.client("s3").delete_object(Bucket=user.bucket, Key="uploads/folder/")


def test_a_second_put_on_the_same_url_is_a_second_run_of_the_same_job(user: User) -> None:
    signed = user.upload(b"first", filename="twice.txt")
    user.ended(signed["jobId"])

    assert http_call("PUT", signed["uploadUrl"], b"second, and longer").status == 200

    def second_run() -> Any:
        job = user.ended(signed["jobId"])
        return job if job["size"] == len(b"second, and longer") else None

    job = eventually(second_run, "the second run has ended")
    assert job["status"] == "COMPLETED"
    assert user.object(job["key"]) == b"second, and longer"
    assert user.object(job["outputs"][0]["key"]) == b"second, and longer"


def test_what_was_declared_is_what_s3_accepts(user: User) -> None:
    signed = user.presign(filename="x.txt", size=5, contentType="text/plain", metadata={"order": "7"})
    url, headers = signed["uploadUrl"], signed["headers"]

    assert http_call("PUT", url, b"longer than five", headers).status == 403
    assert http_call("PUT", url, b"12345", headers | {"Content-Type": "text/html"}).status == 403
    assert http_call("PUT", url, b"12345", {"Content-Type": "text/plain"}).status == 403
    assert http_call("PUT", url, b"12345", headers).status == 200
    assert user.ended(signed["jobId"])["contentType"] == "text/plain"


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    received: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", received
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_hears_of_every_end_signed(user: User) -> None:
    with receiver() as (url, received):
        hook = user.call("POST", "/webhooks", {"url": url, "types": ["waybill.job.rejected"]})
        assert hook.status == 201
        good = user.upload(b"fine")
        bad = user.upload(b"{", filename="bad.json")
        user.ended(good["jobId"])
        user.ended(bad["jobId"])

        eventually(lambda: received, "the webhook was called")

        headers, body = received[0]
        event = Webhook(hook.json["secret"]).verify(body, headers)
        assert event["type"] == "waybill.job.rejected"
        assert event["id"] == headers["webhook-id"] == f"{bad['jobId']}-rejected-1"
        assert event["data"]["error"]["code"] == "invalid_json"
        assert json.loads(body)["data"]["jobId"] == bad["jobId"]
        assert "secret" not in user.call("GET", "/webhooks").body.decode()
        assert user.call("DELETE", f"/webhooks/{hook.json['id']}").status == 204
        assert user.call("DELETE", f"/webhooks/{hook.json['id']}").status == 404


def test_a_queue_that_subscribes_to_the_topic_can_filter_without_parsing(stack: LocalStack) -> None:
    user = User(stack)
    rejected_json = {"type": ["waybill.job.rejected"], "mediaType": ["application/json"]}
    with subscribed(stack, "audit", **rejected_json) as take:
        user.ended(user.upload(b"fine")["jobId"])
        bad = user.upload(b"[1", filename="bad.json")

        (event,) = eventually(take, "the event reached the queue")

    assert event["data"]["jobId"] == bad["jobId"]


def test_preflight_lets_a_page_of_another_origin_call(user: User) -> None:
    answer = user.call("OPTIONS", "/presign", Origin="https://app.example.com")

    assert answer.status == 200
    allowed = {name.lower(): value for name, value in answer.headers.items()}
    assert allowed["access-control-allow-origin"] == "*"
    assert "POST" in allowed["access-control-allow-methods"]


def test_the_demo_finds_everything_as_it_must_be() -> None:
    said: list[str] = []

    assert demo.run(said.append), "\n".join(said)
