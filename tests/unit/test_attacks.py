"""What an attacker would try, one table a door: nobody gets in, nothing is written, nobody gets a 500."""

import base64
import json
import string
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chalicelib import endpoints, intake, keys
from chalicelib.batch import BatchIncomplete
from chalicelib.errors import BadRequest
from chalicelib.settings import Settings
from ops import tokens
from tests.unit.conftest import ACCOUNT, make_resources
from tests.unit.fake.stage import Answer, Stage, running

SECRET = "0123456789abcdef0123456789abcdef"
JOB = "01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071"
ALICES = f"uploads/alice/{JOB}/a.txt"

few = hypothesis_settings(
    max_examples=120,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def stage(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with running(settings, monkeypatch, make_resources, ACCOUNT) as stage:
        yield stage


@pytest.fixture
def guarded(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Another stage, which asks for tokens."""
    from chalicelib import settings as settings_module

    for name, value in (("AUTH_MODE", "jwt"), ("JWT_SECRET", SECRET)):
        monkeypatch.setenv(name, value)
    settings_module.get.cache_clear()
    settings = Settings.from_env(env | {"AUTH_MODE": "jwt", "JWT_SECRET": SECRET})
    with running(settings, monkeypatch, make_resources, ACCOUNT) as stage:
        yield stage
    settings_module.get.cache_clear()


def everything(stage: Stage) -> Any:
    """All that is stored or on its way."""
    aws = stage.aws
    return (
        {key: found.etag for key, found in aws.s3.buckets[stage.settings.bucket].items()},
        sorted(aws.s3.uploads),
        {name: sorted(map(str, table.items.values())) for name, table in aws.dynamodb.tables.items()},
        {name: [m.body for m in queue.messages] for name, queue in aws.sqs.queues.items()},
        len(aws.sns.published),
    )


def refused(answer: Answer, *, below: int = 500) -> None:
    assert 400 <= answer.status < below, answer
    body = answer.json
    assert isinstance(body["error"], str)
    assert isinstance(body["message"], str)
    assert set(body) <= {"error", "message", "field", "requestId"}


# --- HTTP, whatever is sent

texts = st.text(max_size=40) | st.sampled_from(
    ["", "\0", "..", "../../x", "%00", "%2e%2e", "a" * 5000, "\ud800", "__proto__", "1e999", "-1", "\r\nX: y"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        "filename",
        "contentType",
        "size",
        "sha256",
        "metadata",
        "method",
        "key",
        "uploadId",
        "partNumber",
        "parts",
        "url",
        "types",
        "type",
        "checksum",
        "limit",
        "cursor",
        "status",
        "partNumbers",
    ]
)


@few
@given(data=st.data())
def test_no_request_is_answered_with_a_500_nor_out_of_shape(stage: Stage, data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from(sorted(stage.app.app.routes)))
    method = data.draw(st.sampled_from([*stage.app.app.routes[resource], "PATCH", "TRACE", "get", ""]))
    names = [part[1:-1] for part in resource.split("/") if part.startswith("{")]
    query = data.draw(st.none() | st.dictionaries(fields | texts, texts, max_size=3))
    raw = data.draw(
        st.none()
        | texts
        | values.map(json.dumps)
        | st.dictionaries(fields, values, max_size=4).map(json.dumps)
    )
    headers = data.draw(
        st.dictionaries(
            st.sampled_from(
                ["Host", "Accept", "If-None-Match", "Content-Type", "X-Forwarded-Proto", "Authorization"]
            )
            | st.text(string.ascii_letters, min_size=1, max_size=8),
            texts,
            max_size=3,
        )
    )
    event: dict[str, Any] = {
        "resource": resource,
        "path": resource,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": query and {name: [value] for name, value in query.items()},
        "pathParameters": {name: data.draw(texts) for name in names} or None,
        "stageVariables": None,
        "requestContext": {"resourcePath": resource, "path": resource, "httpMethod": method, "identity": {}},
        "body": raw,
        "isBase64Encoded": data.draw(st.booleans()),
    }
    before = everything(stage)

    answer = stage.gateway(event)

    assert answer.status < 500, (event, answer)
    for name, value in answer.headers.items():
        assert not set(f"{name}{value}") & set("\r\n\0"), (name, value)
    if answer.status >= 400:
        refused(answer)
        assert everything(stage) == before


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"size": 1e400}',
        b'{"size": ' + b"9" * 5000 + b"}",
        b'{"filename": "\\ud800"}',
        b'{"filename": "' + b"a" * 70_000 + b'"}',
        b'{"metadata": {"__proto__": "x"}}',
        b'{"contentType": "text/html\\r\\nX-Evil: 1"}',
        b'{"metadata": {"a": "b\\r\\nx-amz-acl: public-read"}}',
        b'{"metadata": {"waybill-etag": "0"}}',
        b'{"metadata": {"waybill-size": "1"}}',
        b"\xff\xfe{",
        b"NaN",
    ],
    ids=lambda body: ascii(body[:30]),
)
def test_a_body_that_is_made_to_break_something_is_refused(stage: Stage, body: bytes) -> None:
    before = everything(stage)
    event_body = base64.b64encode(body).decode()

    answer = stage.gateway(http_event("POST", "/presign", event_body))

    if answer.status == 200:  # half a character is a name like any, once it is made safe
        assert b"ud800" in body
        answer.json["s3Key"].encode()
    else:
        refused(answer)
    assert everything(stage) == before


def http_event(method: str, path: str, body: str) -> dict[str, Any]:
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": {"Host": "api.example.com"},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"resourcePath": path, "path": path, "httpMethod": method, "identity": {}},
        "body": body,
        "isBase64Encoded": True,
    }


# --- keys and owners

SUBJECTS = [
    *(
        "alice",
        "alice/",
        "alice/..",
        "..",
        ".",
        "_",
        "=5F",
        "%5F",
        "a/b",
        "a%2Fb",
        "a=2Fb",
        "Alice",
        "alice ",
    ),
    *("\0", "\uff41lice", "a\u0301", "\u00e1", "uploads", "=", "=6", "*", "${aws:userid}", "?", "\ud800"),
]


def test_no_two_subjects_share_an_owner_and_none_leaves_its_folder() -> None:
    encoded = [keys.owner_segment(subject) for subject in SUBJECTS]

    assert len(set(encoded)) == len(SUBJECTS)
    for owner in encoded:
        assert keys.NOBODY != owner not in (".", "..")
        assert not set(owner) & set("/\\%*?$ \0")


@pytest.mark.parametrize(
    "key",
    [
        ALICES,
        f"uploads//alice/{JOB}/a.txt",
        f"uploads/mallory/../alice/{JOB}/a.txt",
        f"uploads/mallory%2F..%2Falice/{JOB}/a.txt",
        f"processed/mallory/{JOB}/a.txt",
        f"uploads/mallory/{JOB}/../../alice/{JOB}/a.txt",
        f"uploads/mallory/{JOB.upper()}/a.txt",
        f"uploads/mallory/{JOB}/a\0.txt",
        f"uploads/mallory/{JOB}/",
        f"UPLOADS/mallory/{JOB}/a.txt",
        f"uploads/MALLORY/{JOB}/a.txt",
        "incoming/mallory/a.json",
        "",
        "/",
        "x" * 1024,
    ],
)
def test_nobody_signs_a_part_for_a_key_that_is_not_theirs(guarded: Stage, key: str) -> None:
    """Mallory has a token, and knows ids and keys of others."""
    bearer = {"Authorization": f"Bearer {tokens.make('mallory', SECRET)}"}
    before = everything(guarded)
    told = {
        guarded.http(method, f"/s3/multipart/upload-1{rest}?key={quote(key)}{more}", body, bearer).body
        for method, rest, more, body in (
            ("GET", "", "", None),
            ("DELETE", "", "", None),
            ("GET", "/1", "", None),
            ("GET", "/batch", "&partNumbers=1", None),
            ("POST", "/complete", "", {"parts": [{"PartNumber": 1, "ETag": "e"}]}),
        )
    } | {
        guarded.http("POST", "/s3/sign", {"method": method, "key": key, "uploadId": "upload-1"}, bearer).body
        for method in ("GET", "POST", "DELETE")
    }

    (one,) = told
    assert json.loads(one)["error"] == "upload_not_found"
    assert everything(guarded) == before


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "!",
        "=" * 200,
        "a" * 201,
        base64.urlsafe_b64encode(b"{}").decode(),
        base64.urlsafe_b64encode(json.dumps({"owner": "alice", "jobId": JOB}).encode()).decode(),
        base64.urlsafe_b64encode(f"alice/{JOB}".encode()).decode(),
        base64.urlsafe_b64encode(JOB.encode() + b"\0").decode(),
        base64.urlsafe_b64encode(b"\xff" * 16).decode(),
    ],
)
def test_a_forged_cursor_leads_nowhere(guarded: Stage, cursor: str) -> None:
    """One that holds a job's id says no more than where to go on, in the caller's own list."""
    bearer = {"Authorization": f"Bearer {tokens.make('mallory', SECRET)}"}

    answer = guarded.http("GET", f"/jobs?cursor={cursor}", None, bearer)

    if cursor:
        refused(answer)
    else:
        assert answer.json["jobs"] == []


def test_a_good_cursor_of_somebody_else_shows_nothing_of_theirs(guarded: Stage) -> None:
    guarded.aws.s3.put_object({"Bucket": guarded.settings.bucket, "Key": ALICES, "Body": b"hers"})
    guarded.settle()
    cursor = base64.urlsafe_b64encode(("f" * 8 + JOB[8:]).encode()).decode().rstrip("=")
    bearer = {"Authorization": f"Bearer {tokens.make('mallory', SECRET)}"}

    assert guarded.http("GET", f"/jobs?cursor={cursor}", None, bearer).json["jobs"] == []


# --- what is forged behind the front door

records = st.dictionaries(
    st.sampled_from(
        ["s3", "Sns", "body", "messageId", "receiptHandle", "eventTime", "eventName", "attributes"]
    ),
    values
    | st.dictionaries(st.sampled_from(["bucket", "object", "Message", "name", "key"]), values, max_size=3),
    max_size=5,
)


@few
@given(record=records)
def test_an_s3_record_of_any_shape_is_passed_over(stage: Stage, record: Any) -> None:
    before = everything(stage)

    intake.on_objects_created(stage.settings, {"Records": [record]})

    assert everything(stage) == before


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("another-bucket", ALICES),
        ("", ALICES),
        (None, f"processed/alice/{JOB}/a.txt"),
        (None, f"failed/alice/{JOB}/a.txt"),
        (None, "uploads/"),
        (None, f"uploads/alice/{JOB}/"),
        (None, "somewhere/else.txt"),
    ],
)
def test_a_forged_event_of_another_place_is_no_work(stage: Stage, bucket: str | None, key: str) -> None:
    before = everything(stage)
    record = {
        "eventTime": "2026-01-01T00:00:00.000Z",
        "s3": {
            "bucket": {"name": stage.settings.bucket if bucket is None else bucket},
            "object": {"key": key, "size": 1, "eTag": "e", "sequencer": "1"},
        },
    }

    stage.invoke("on_upload", {"Records": [record]})

    assert everything(stage) == before


def test_an_event_of_a_file_that_is_not_there_makes_no_file(stage: Stage) -> None:
    """Who can invoke the function can make a job, and nothing comes of it."""
    record = {
        "eventTime": "2026-01-01T00:00:00.000Z",
        "s3": {
            "bucket": {"name": stage.settings.bucket},
            "object": {"key": ALICES, "size": 10**30, "eTag": "e", "sequencer": "1"},
        },
    }
    stage.invoke("on_upload", {"Records": [record]})
    stage.settle()

    (job,) = stage.aws.dynamodb.tables[stage.settings.jobs_table].items.values()
    assert job["status"] == {"S": "FAILED"}
    assert stage.aws.s3.buckets[stage.settings.bucket] == {}


@few
@given(body=texts | values.map(json.dumps))
def test_a_message_of_any_kind_changes_nothing(stage: Stage, body: str) -> None:
    before = everything(stage)
    record = {
        "messageId": "m",
        "receiptHandle": "r",
        "body": body,
        "attributes": {},
        "eventSource": "aws:sqs",
    }

    with pytest.raises(BatchIncomplete):
        stage.invoke("consume", {"Records": [record]})

    assert everything(stage) == before


@pytest.mark.parametrize(
    "change",
    [
        {"bucket": "another-bucket"},
        {"owner": "mallory"},
        {"owner": "alice/../mallory"},
        {"owner": {"S": "alice"}},
        {"jobId": "../x"},
        {"jobId": [JOB]},
        {"etag": "*"},
        {"etag": ""},
        {"v": 2},
        {"v": True, "owner": None},
    ],
    ids=str,
)
def test_a_message_that_names_something_else_does_nothing_to_a_job(stage: Stage, change: Any) -> None:
    stage.aws.s3.put_object({"Bucket": stage.settings.bucket, "Key": ALICES, "Body": b"hers"})
    stage.bring_objects()
    (queued,) = stage.aws.sqs.queues[stage.settings.queue_name].messages
    before = everything(stage)
    forged = json.dumps(json.loads(queued.body) | change)
    record = {
        "messageId": "m",
        "receiptHandle": "r",
        "body": forged,
        "attributes": {},
        "eventSource": "aws:sqs",
    }

    with suppress(BatchIncomplete):
        stage.invoke("consume", {"Records": [record]})

    assert everything(stage) == before


@few
@given(message=texts | values.map(json.dumps))
def test_a_notification_of_any_kind_is_sent_to_nobody(stage: Stage, message: str) -> None:
    stage.http("POST", "/webhooks", {"url": "https://hooks.example.com/a"})
    sns = {"Message": message, "Subject": "s", "TopicArn": "t", "MessageAttributes": {}, "MessageId": "m"}

    stage.invoke("notify", {"Records": [{"EventSource": "aws:sns", "Sns": sns}]})

    assert stage.posted == set()


@pytest.mark.parametrize("event_id", ["a\r\nX-Evil: 1", "a b", "a" * 300, "é", "\0", ""])
def test_a_forged_event_puts_nothing_into_a_webhooks_headers(stage: Stage, event_id: str) -> None:
    stage.http("POST", "/webhooks", {"url": "https://hooks.example.com/a"})
    event = {"id": event_id, "type": "waybill.job.completed", "data": {"owner": keys.NOBODY}}
    sns = {"Message": json.dumps(event), "Subject": "s", "TopicArn": "t", "MessageAttributes": {}}

    stage.invoke("notify", {"Records": [{"EventSource": "aws:sns", "Sns": {**sns, "MessageId": "m"}}]})

    assert stage.posted == set()


# --- names, logs and places to call

NAMES = [
    *(
        "a\r\nSet-Cookie: x.txt",
        'a"; filename="b.exe',
        "a\u2028b.txt",
        "a\u202etxt.exe",
        "..",
        "../../etc/passwd",
    ),
    *(
        "C:\\x\\y.txt",
        "%00.txt",
        "%2e%2e%2fx",
        "con.txt",
        "=cmd()",
        "<svg onload=x>.svg",
        "__proto__",
        "💥" * 80,
    ),
    *("a" * 300 + ".txt", "{{7*7}}", "${jndi:ldap://x}", "\ufffe.txt", "a\0b.txt", "\x1b[2J.txt"),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_goes_all_the_way_and_breaks_nothing(
    stage: Stage, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = stage.http("POST", "/presign", {"filename": name}).json
    stage.aws.s3.put_object({"Bucket": stage.settings.bucket, "Key": signed["s3Key"], "Body": b"x"})
    stage.settle()

    job = stage.http("GET", f"/jobs/{signed['jobId']}").json
    answer = stage.http("GET", f"/jobs/{signed['jobId']}/files/original")

    assert job["status"] == "COMPLETED"
    assert signed["s3Key"].count("/") == 3
    assert answer.status == 302
    assert answer.headers["Location"].isascii()
    assert not set(answer.headers["Location"]) & set('\r\n\0 "<>')
    for line in capsys.readouterr().out.splitlines():
        logged = json.loads(line)  # one object a line, whatever is in the name
        parts = [part for part in (name, job["filename"]) if len(part) > 3 and part != "file"]
        assert not any(part in str(logged) for part in parts), line


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://169.254.169.254/latest/meta-data",
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://0251.0376.0251.0376/",
        "https://127.1/",
        "https://0/",
        "https://localhost/",
        "https://metadata/",
        "https://a.example.com@127.0.0.1/",
        "https://127.0.0.1#@a.example.com/",
        "https://a.example.com\\@127.0.0.1/",
        "https://a.example.com:22/",
        "https://a.example.com:443@127.0.0.1/",
        "http://a.example.com/",
        "gopher://a.example.com/",
        "file:///etc/passwd",
        "https://a.example.com/\r\nX-Evil: 1",
        "https://①②⑦.0.0.1/",
        "https://a.example.com%00.127.0.0.1/",
        "https://[fe80::1%25eth0]/",
        "https://100.64.0.1/",
        "https://" + "a" * 3000 + ".com/",
        "//a.example.com/",
        "https:///x",
        "https://",
    ],
)
def test_a_webhook_knocks_at_no_door_inside(stage: Stage, url: str) -> None:
    with pytest.raises(BadRequest):
        endpoints.parse(url, allow_insecure=False)

    before = everything(stage)
    refused(stage.http("POST", "/webhooks", {"url": url}))
    assert everything(stage) == before


def test_a_host_header_does_not_split_the_answer(stage: Stage) -> None:
    answer = stage.http("POST", "/presign", {}, {"Host": "evil.example\r\nSet-Cookie: a=b", "Origin": "x"})

    assert answer.status == 200
    assert all("\r" not in value and "\n" not in value for value in answer.headers.values())
