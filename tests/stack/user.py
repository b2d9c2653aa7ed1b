"""A user of a running stack, as the whole-stack tests play one: plain HTTP to the API and to S3."""

import http.client
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlsplit

from urllib3 import HTTPHeaderDict

from ops.stack import LocalStack

T = TypeVar("T")

ENDED = ("COMPLETED", "REJECTED", "FAILED")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Whatever the case of their names."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def http_call(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request, sent exactly so: no header of its own but Host and Content-Length."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target or "/", body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, HTTPHeaderDict(response.headers.items()), response.read())
    finally:
        connection.close()


def send_form(url: str, fields: Mapping[str, str], body: bytes) -> Answer:
    """A file, sent as browsers send a form (RFC 7578)."""
    boundary = "waybill-boundary-7MA4YWxkTrZu0gW"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="any"\r\n'
    parts += [f"{file}Content-Type: application/octet-stream\r\n\r\n".encode(), body]
    parts.append(f"\r\n--{boundary}--\r\n".encode())
    return http_call(
        "POST", url, b"".join(parts), {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )


def eventually(look: Callable[[], T | None], what: str, patience: float = 60.0) -> T:
    """What `look` finds, as soon as it finds something; fails when that takes too long."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {patience:.0f} s")


@contextmanager
def subscribed(stack: LocalStack, queue_name: str, **filters: list[str]) -> Iterator[Callable[[], list[Any]]]:
    """A queue that subscribes to the topic meanwhile; what is yielded takes the received events out."""
    sqs, sns = stack.client("sqs"), stack.client("sns")
    queue = sqs.create_queue(QueueName=queue_name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": stack.outputs["TopicArn"]}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    subscription = sns.subscribe(
        TopicArn=stack.outputs["TopicArn"],
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"RawMessageDelivery": "true"}
        | ({"FilterPolicy": json.dumps(filters)} if filters else {}),
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]

    def take() -> list[Any]:
        events: list[Any] = []
        while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
            "Messages"
        ):
            for message in found:
                events.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return events

    try:
        yield take
    finally:
        sns.unsubscribe(SubscriptionArn=subscription)
        sqs.delete_queue(QueueUrl=queue)


@dataclass
class User:
    """Talks to one of the stack's two HTTP front doors."""

    stack: LocalStack
    api_url: str = ""
    token: str = ""
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api_url = self.api_url or self.stack.api_url

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return http_call(method, self.api_url + path, raw, {**bearer, **headers})

    def presign(self, **wish: Any) -> Any:
        answer = self.call("POST", "/presign", wish)
        assert answer.status == 200, answer.body
        return answer.json

    def upload(self, body: bytes, **wish: Any) -> Any:
        """Presign and PUT; what /presign answered."""
        signed = self.presign(**wish)
        put = http_call("PUT", signed["uploadUrl"], body, signed["headers"])
        assert put.status == 200, put.body
        self.sent.append(signed["jobId"])
        return signed

    def job(self, job_id: str) -> Any:
        answer = self.call("GET", f"/jobs/{job_id}")
        return answer.json if answer.status == 200 else None

    def ended(self, job_id: str, patience: float = 60.0) -> Any:
        def look() -> Any:
            job = self.job(job_id)
            return job if job and job["status"] in ENDED else None

        return eventually(look, f"job {job_id} ended", patience)

    def retry(self, job_id: str) -> Answer:
        """What is answered as soon as the failed run has cleared up."""

        def look() -> Answer | None:
            answer = self.call("POST", f"/jobs/{job_id}/retry")
            return None if b"still_ending" in answer.body else answer

        return eventually(look, f"job {job_id} can be retried")

    def all_jobs(self) -> list[Any]:
        jobs: list[Any] = []
        cursor = ""
        while True:
            page = self.call("GET", f"/jobs?limit=100{cursor}").json
            jobs += page["jobs"]
            if page["cursor"] is None:
                return jobs
            cursor = f"&cursor={page['cursor']}"

    # --- What only the operator sees ----------------------------------------------------------------------

    def put(self, key: str, body: bytes) -> None:
        self.stack.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)

    def object(self, key: str) -> bytes:
        body: bytes = self.stack.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str) -> list[str]:
        pages = self.stack.client("s3").get_paginator("list_objects_v2")
        return [
            entry["Key"]
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix)
            for entry in page.get("Contents", [])
        ]

    def items(self, table: str) -> Iterable[Any]:
        pages = self.stack.client("dynamodb").get_paginator("scan")
        for page in pages.paginate(TableName=self.stack.outputs[table]):
            yield from page["Items"]

    def deliver_again(self, key: str, item: Mapping[str, Any]) -> None:
        """Have the event of an upload reach `on_upload` once more; `item` is its job as the ledger had it."""
        record = {
            "eventTime": item["uploadedAt"]["S"],
            "s3": {
                "bucket": {"name": self.bucket},
                "object": {
                    "key": quote_plus(key, safe="/"),
                    "size": int(item["size"]["N"]),
                    "eTag": item["etag"]["S"],
                    "sequencer": item["sequencer"]["S"],
                },
            },
        }
        answer = self.stack.client("lambda").invoke(
            FunctionName="waybill-local-on_upload", Payload=json.dumps({"Records": [record]}).encode()
        )
        assert "FunctionError" not in answer, answer["Payload"].read()

    @property
    def bucket(self) -> str:
        return self.stack.outputs["BucketName"]
