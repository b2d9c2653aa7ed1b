"""The event of an ended job, and what subscribers of the topic receive."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from chalicelib import clients, notifications
from chalicelib.jobs import EVENT_TYPES, Job, Status
from chalicelib.jsontext import to_json
from chalicelib.notifications import MESSAGE_LIMIT
from chalicelib.settings import Settings

JOB_ID = "01936b2e-7c1a-7d3e-8f00-0123456789ab"

COMPLETED = Job(
    owner="alice",
    job_id=JOB_ID,
    status=Status.COMPLETED,
    run=2,
    key=f"processed/alice/{JOB_ID}/order.json",
    source_key=f"uploads/alice/{JOB_ID}/order.json",
    filename="order.json",
    etag="d41d8cd98f00b204e9800998ecf8427e",
    size=42,
    uploaded_at="2026-01-02T03:04:00.000Z",
    created_at="2026-01-02T03:04:05.000Z",
    updated_at="2026-01-02T03:04:09.000Z",
    finished_at="2026-01-02T03:04:06.000Z",
    content_type="application/json; charset=utf-8",
    detected_type="application/json",
    outputs=[{"name": "events.json", "size": 7}],
    declared={"order": "7"},
    metadata={"events": 3, "total": Decimal("19.90")},
)


@pytest.fixture
def subscriber(aws: Settings) -> str:
    """A queue that the topic delivers to, message and attributes as they were published."""
    queue = clients.sqs().create_queue(QueueName="subscriber")["QueueUrl"]
    arn = clients.sqs().get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    clients.sns().subscribe(
        TopicArn=aws.topic_arn,
        Protocol="sqs",
        Endpoint=arn["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )
    return queue


def received(queue: str) -> tuple[str, dict[str, str]]:
    answer = clients.sqs().receive_message(QueueUrl=queue, MessageAttributeNames=["All"])
    (message,) = answer["Messages"]
    attributes = message.get("MessageAttributes", {})
    return message["Body"], {name: value["StringValue"] for name, value in attributes.items()}


def test_an_event_is_a_cloudevent_that_carries_the_job(settings: Settings) -> None:
    assert notifications.event(settings, COMPLETED) == {
        "specversion": "1.0",
        "id": f"{JOB_ID}-completed-2",
        "source": f"/waybill/{settings.bucket}",
        "type": "waybill.job.completed",
        "subject": JOB_ID,
        "time": "2026-01-02T03:04:06.000Z",
        "datacontenttype": "application/json",
        "data": COMPLETED.view(),
    }


def test_the_id_stays_when_the_job_is_touched_and_changes_with_the_run(settings: Settings) -> None:
    first = notifications.event(settings, COMPLETED)
    touched = notifications.event(settings, replace(COMPLETED, updated_at="2026-01-09T00:00:00.000Z"))
    assert (touched["id"], touched["time"]) == (first["id"], first["time"])
    assert notifications.event(settings, replace(COMPLETED, run=3))["id"] != first["id"]


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.REJECTED, Status.FAILED])
def test_every_end_has_its_type(settings: Settings, status: Status) -> None:
    event = notifications.event(settings, replace(COMPLETED, status=status))
    assert event["type"] == f"waybill.job.{status.lower()}"
    assert event["type"] in EVENT_TYPES


@pytest.mark.parametrize("status", [Status.QUEUED, Status.PROCESSING])
def test_a_job_that_has_not_ended_is_no_event(settings: Settings, status: Status) -> None:
    with pytest.raises(ValueError, match=JOB_ID):
        notifications.event(settings, replace(COMPLETED, status=status))


def test_subscribers_get_the_event_and_attributes_to_filter_by(aws: Settings, subscriber: str) -> None:
    notifications.publish(aws, COMPLETED)
    body, attributes = received(subscriber)
    assert json.loads(body, parse_float=Decimal) == notifications.event(aws, COMPLETED)
    assert attributes == {
        "type": "waybill.job.completed",
        "owner": "alice",
        "mediaType": "application/json",
    }


@pytest.mark.parametrize(
    ("detected", "declared", "expected"),
    [
        ("image/png", "text/plain", "image/png"),
        (None, "Text/CSV; charset=utf-8", "text/csv"),
        (None, None, "application/octet-stream"),
        ("", "", "application/octet-stream"),
        (None, " ;x=y", "application/octet-stream"),
    ],
)
def test_the_media_type_is_the_best_known_and_never_empty(
    aws: Settings, subscriber: str, detected: str | None, declared: str | None, expected: str
) -> None:
    notifications.publish(aws, replace(COMPLETED, detected_type=detected, content_type=declared))
    assert received(subscriber)[1]["mediaType"] == expected


def test_the_subject_is_plain_text_for_every_end(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(clients.sns(), "publish", lambda **call: sent.append(call))
    for status in (Status.COMPLETED, Status.REJECTED, Status.FAILED):
        notifications.publish(aws, replace(COMPLETED, status=status, filename="né\n☃.json"))
    for call in sent:
        assert call["Subject"].isascii()
        assert call["Subject"].isprintable()
        assert 0 < len(call["Subject"]) <= 100
    assert len(sent) == 3


def test_the_longest_field_goes_first_when_an_event_is_too_long(aws: Settings, subscriber: str) -> None:
    job = replace(COMPLETED, metadata={"title": "é" * (MESSAGE_LIMIT * 3 // 4)})
    notifications.publish(aws, job)
    data = json.loads(received(subscriber)[0])["data"]
    assert data["omitted"] == ["metadata"]
    assert "metadata" not in data
    assert (data["outputs"], data["declared"]) == (job.outputs, {"order": "7"})


def test_every_open_ended_field_goes_when_all_are_too_long(aws: Settings, subscriber: str) -> None:
    long = "x" * MESSAGE_LIMIT
    job = replace(
        COMPLETED,
        status=Status.FAILED,
        metadata={"a": long + "x" * 100},
        outputs=[{"name": long}],
        error={"code": "bad", "message": long},
    )
    notifications.publish(aws, job)
    data = json.loads(received(subscriber)[0])["data"]
    assert sorted(data["omitted"]) == ["error", "metadata", "outputs"]
    assert data["omitted"][0] == "metadata"
    assert (data["jobId"], data["declared"]) == (JOB_ID, {"order": "7"})


@pytest.mark.parametrize("spare", [0, 1])
def test_attributes_and_subject_count_towards_the_limit(
    aws: Settings, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(clients.sns(), "publish", lambda **call: sent.append(call))

    def published(padding: int) -> tuple[int, str]:
        notifications.publish(aws, replace(COMPLETED, metadata={"pad": "x" * padding}))
        call = sent[-1]
        beside = sum(
            len(name) + len(value["DataType"]) + len(value["StringValue"])
            for name, value in call["MessageAttributes"].items()
        )
        return len(call["Message"].encode()) + beside + len(call["Subject"]), call["Message"]

    overhead, _ = published(0)
    size, message = published(MESSAGE_LIMIT - overhead + spare)
    assert size <= MESSAGE_LIMIT
    assert ("omitted" in json.loads(message)["data"]) is bool(spare)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("19.90"), "19.90"),
        (Decimal("0.1000000000000000055511151231257827"), "0.1000000000000000055511151231257827"),
        (Decimal("1E+30"), "1E+30"),
        (Decimal("-1E-7"), "-1E-7"),
        (12345678901234567890, "12345678901234567890"),
        (0.1, "0.1"),
        (True, "true"),
        (None, "null"),
        (Status.FAILED, '"FAILED"'),
        ('say "é"\n', '"say \\"é\\"\\n"'),
        ("half \ud83d", '"half \\ud83d"'),
        ({"a": [1, (2, {})], "b": []}, '{"a":[1,[2,{}]],"b":[]}'),
    ],
)
def test_json_text_is_exact_compact_and_fit_for_utf_8(value: object, text: str) -> None:
    assert to_json(value) == text
    assert json.loads(to_json(value).encode(), parse_float=Decimal) == json.loads(text, parse_float=Decimal)


@pytest.mark.parametrize(
    "value", [Decimal("NaN"), Decimal("Infinity"), float("nan"), float("-inf"), [float("inf")]]
)
def test_json_text_refuses_numbers_that_json_has_not(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json(value)


def test_json_text_refuses_what_is_no_json_value() -> None:
    with pytest.raises(TypeError):
        to_json({"a": object()})
