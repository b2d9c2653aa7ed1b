"""An event becomes a message for each webhook that wants it."""

import json
from typing import Any

import pytest

from chalicelib import clients, queues
from chalicelib.errors import Unavailable
from chalicelib.messages import BadMessage
from chalicelib.settings import Settings
from chalicelib.webhooks import fan_out, registry
from chalicelib.webhooks.delivery import Delivery
from tests.unit.flow import refusal
from tests.unit.post import JOB_ID, Post, an_event

URL = "https://hooks.example.com/"

GOOD: Any = {
    "v": 1,
    "owner": "alice",
    "webhookId": "wh_1",
    "eventId": "e-1",
    "eventType": "t",
    "subject": "s",
    "body": "{}",
}


@pytest.fixture
def post(aws: Settings) -> Post:
    return Post(aws)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(fan_out, "log", lambda event, **_: lines.append(event))
    return lines


def test_the_message_says_all_that_a_delivery_takes(post: Post) -> None:
    hook = post.register(URL)
    event = an_event(metadata={"title": "é ☃ \U0001f389"})
    post.publish(event)
    assert post.bodies() == [
        {
            "v": 1,
            "owner": "alice",
            "webhookId": hook["id"],
            "eventId": f"{JOB_ID}-completed-1",
            "eventType": "waybill.job.completed",
            "subject": JOB_ID,
            "body": event,
        }
    ]


def test_each_webhook_of_the_owner_gets_a_message_of_its_own(post: Post) -> None:
    hers = {post.register(URL)["id"] for _ in range(3)}
    post.register(URL, owner="bob")
    post.publish()
    assert {body["webhookId"] for body in post.bodies()} == hers


def test_only_events_of_the_wanted_types_are_queued(post: Post) -> None:
    post.register(URL, types=["waybill.job.failed"])
    post.publish(*(an_event(end=end) for end in ("completed", "failed", "rejected")))
    assert [body["eventType"] for body in post.bodies()] == ["waybill.job.failed"]


def test_a_disabled_webhook_gets_none(post: Post) -> None:
    hook = post.register(URL)
    registry.disable(post.settings, registry.get(post.settings, "alice", hook["id"]), "gone")
    post.publish()
    assert post.bodies() == []


def test_an_owner_without_webhooks_is_no_failure(post: Post) -> None:
    post.publish()
    assert "SendMessageBatch" not in post.calls.made


def test_a_queue_that_refuses_makes_the_platform_bring_the_event_again(post: Post) -> None:
    post.register(URL)
    clients.sqs().meta.events.register(
        "after-call.sqs.SendMessageBatch", lambda parsed, **_: parsed.update(Failed=[{"Id": "0"}])
    )
    with pytest.raises(Unavailable):
        post.publish()


def test_a_failing_call_is_an_error_too(post: Post) -> None:
    post.register(URL)
    clients.sqs().meta.events.register(
        "before-call.sqs.SendMessageBatch", lambda **_: refusal(500, "InternalError")
    )
    with pytest.raises(clients.sqs().exceptions.ClientError):
        post.publish()


@pytest.mark.parametrize("filler", ["é", '"', "\\", "\U0001f389", "x", "漢", "\x7f", "\ufffe", "\uffff"])
def test_whatever_fits_sns_fits_the_queue_ten_webhooks_at_a_time(post: Post, filler: str) -> None:
    for _ in range(registry.MAX_WEBHOOKS):
        post.register(URL)
    empty = len(an_event(text="").encode())
    event = an_event(
        text=filler * ((262_144 - empty) // len(json.dumps(filler, ensure_ascii=False)[1:-1].encode()))
    )
    assert 262_100 < len(event.encode()) <= 262_144
    post.publish(event)
    sent = [request for name, request in post.calls.requests if name == "SendMessageBatch"]
    bodies = [entry["MessageBody"] for request in sent for entry in request["Entries"]]
    assert len(bodies) == registry.MAX_WEBHOOKS
    assert max(len(body.encode()) for body in bodies) < queues.MAX_BYTES
    assert not any(refused in body for body in bodies for refused in "\ufffe\uffff")
    assert {Delivery.parse(body).body for body in bodies} == {event.encode()}


@pytest.mark.parametrize(
    "message",
    [
        "",
        "not JSON",
        "[]",
        "7",
        "null",
        "{}",
        '{"id": "1", "type": "t", "subject": "s"}',
        '{"id": "1", "type": "t", "data": {"owner": "alice"}}',
        '{"id": "1", "type": "t", "subject": "s", "data": null}',
        '{"id": "1", "type": "t", "subject": "s", "data": {}}',
        '{"id": "1", "type": "t", "subject": "s", "data": {"owner": ""}}',
        '{"id": "1", "type": "t", "subject": "s", "data": {"owner": 7}}',
        '{"id": "1", "type": 7, "subject": "s", "data": {"owner": "alice"}}',
        '{"id": 1, "type": "t", "subject": "s", "data": {"owner": "alice"}}',
        '{"id": "", "type": "t", "subject": "s", "data": {"owner": "alice"}}',
        '{"id": "1\\r\\nX-Injected: 1", "type": "t", "subject": "s", "data": {"owner": "alice"}}',
        '{"id": "1", "type": "t", "subject": "s", "data": {"owner": "alice"}, "x": "\ud800"}',
        "[" * 100_000,
        None,
        7,
    ],
)
def test_a_message_that_is_no_event_is_skipped_and_logged(
    post: Post, logged: list[str], message: object
) -> None:
    post.register(URL)
    post.publish(message, an_event())
    assert len(post.bodies()) == 1
    assert logged == ["event.bad", "event.fanned_out"]


def test_a_record_of_another_service_is_skipped(aws: Settings, logged: list[str]) -> None:
    fan_out.notify(aws, {"Records": [{"eventSource": "aws:s3"}]})
    assert logged == ["event.bad"]


class TestParsing:
    def test_what_was_queued_is_what_parses(self) -> None:
        delivery = Delivery("alice", "wh_1", "e-1", "t", "s", '{"a": "é"}'.encode())
        assert Delivery.parse(delivery.message()) == delivery

    @pytest.mark.parametrize(
        "message",
        [
            "",
            "not json",
            "[" * 100_000,
            "null",
            "[]",
            *(json.dumps({k: v for k, v in GOOD.items() if k != name}) for name in GOOD),
            *(json.dumps(GOOD | {name: ""}) for name in GOOD),
            *(json.dumps(GOOD | {name: 7}) for name in GOOD),
            json.dumps(GOOD | {"v": 2}),
            json.dumps(GOOD | {"eventId": "a b"}),
            json.dumps(GOOD | {"body": "\ud800"}),
        ],
        ids=lambda message: message[:60],
    )
    def test_anything_else_is_refused(self, message: str) -> None:
        with pytest.raises(BadMessage):
            Delivery.parse(message)
