"""Deliveries from the queue to real HTTP servers on this machine, until they arrive or are given up."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest
from standardwebhooks import Webhook as ReferenceWebhook

from chalicelib import clients, metrics
from chalicelib.settings import Settings
from chalicelib.telemetry import noted, owner_hash
from chalicelib.webhooks import attempt, deliveries, journal, registry
from chalicelib.webhooks.sender import Sender, Timeouts
from chalicelib.webhooks.webhook import OVERLAP
from tests.unit.emf import data
from tests.unit.flow import Killed
from tests.unit.post import JOB_ID, Post, an_event
from tests.unit.receivers import OK, Start, after_a_pause, in_turn, status

Told = Callable[[], list[str]]

QUICK = Timeouts(connect=1.0, total=0.8)
BAD = status(500)


@pytest.fixture
def post(aws: Settings) -> Post:
    return Post(aws)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []

    def keep(event: str, **fields: Any) -> None:
        lines.append({"event": event, **noted(), **fields})

    for module in (attempt, deliveries):
        monkeypatch.setattr(module, "log", keep)
    return lines


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """The outcomes that were counted, in their order."""

    def read() -> list[str]:
        counted = data(capsys.readouterr().out.splitlines())
        assert {(one.name, one.value) for one in counted} == {("WebhookDeliveries", 1)}
        return [one.dimensions["Outcome"] for one in counted]

    return read


class TestOneThatArrives:
    def test_the_event_arrives_as_published_and_verifies(self, post: Post, start: Start) -> None:
        receiver = start()
        secret = post.register(receiver.url)["secret"]
        published = an_event(metadata={"total": Decimal("19.90"), "title": "é ☃"})
        post.publish(published)
        assert post.deliver() == 0
        (request,) = receiver.got
        assert request.body == published.encode()
        assert request.path == "/hook?key=hidden"
        assert request.headers["content-type"] == "application/cloudevents+json"
        assert request.headers["webhook-id"] == json.loads(published)["id"]
        assert ReferenceWebhook(secret).verify(request.body, request.headers) == json.loads(published)
        assert post.records() == []

    @pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
    def test_any_2xx_is_a_delivery(self, post: Post, start: Start, code: int) -> None:
        receiver = start(status(code))
        post.register(receiver.url)
        post.publish()
        assert post.deliver() == 0
        assert len(receiver.got) == 1

    def test_a_batch_is_sent_side_by_side(self, post: Post, start: Start) -> None:
        meeting = threading.Barrier(10, timeout=20)

        def all_at_once(handler: Any) -> None:
            meeting.wait()
            OK(handler)

        receiver = start(all_at_once)
        post.register(receiver.url)
        post.publish(*(an_event(run=run) for run in range(10)))
        assert post.deliver() == 0
        assert len({request.headers["webhook-id"] for request in receiver.got}) == 10

    def test_it_is_deleted_before_it_is_logged(self, post: Post, start: Start) -> None:
        """So that a log that hangs until the function is cut off does not have it sent again."""
        post.register(start().url)
        post.publish()
        post.deliver()
        made = post.calls.made
        assert made.index("DeleteMessageBatch") < made.index("BatchWriteItem")


class TestOneThatFails:
    @pytest.mark.parametrize("code", [302, 304, 400, 404, 429, 500, 503])
    def test_any_other_status_brings_it_again(self, post: Post, start: Start, code: int) -> None:
        receiver = start(in_turn(status(code), OK))
        post.register(receiver.url)
        post.publish()
        assert post.deliver() == 1
        assert 5 <= post.wait() <= 6
        assert post.deliver() == 0
        assert len(receiver.got) == 2
        assert post.records() == []

    def test_every_attempt_keeps_the_id_and_renews_time_and_signature(self, post: Post, start: Start) -> None:
        receiver = start(in_turn(BAD, BAD, OK))
        secret = post.register(receiver.url)["secret"]
        post.publish()
        waits = []
        while post.deliver():
            waits.append(post.wait())
        headers = [request.headers for request in receiver.got]
        assert len({h["webhook-id"] for h in headers}) == 1
        assert len({h["webhook-signature"] for h in headers}) == 3
        times = [int(h["webhook-timestamp"]) for h in headers]
        assert [later - earlier for earlier, later in pairwise(times)] == waits
        verifier = ReferenceWebhook(secret)
        for request in receiver.got[:1]:  # the library also looks at the time, which these tests invent
            verifier.verify(request.body, request.headers)

    def test_it_is_tried_as_often_as_the_schedule_says_and_then_a_dead_letter(
        self, post: Post, start: Start
    ) -> None:
        receiver = start(BAD)
        hook = post.register(receiver.url)
        post.publish()
        (message,) = [record["body"] for record in post.records()]
        waits = []
        while post.deliver():
            waits.append(post.wait())
        assert len(receiver.got) == 3
        assert 5 <= waits[0] <= 6
        assert 300 <= waits[1] <= 300 * 1.15 + 1
        assert post.records() == []
        assert post.dead_letters() == [(message, "500")]
        shown = post.log(hook["id"])["deliveries"]
        assert [(entry["attempt"], entry["givenUp"]) for entry in shown] == [
            (3, True),
            (2, False),
            (1, False),
        ]

    def test_a_dead_letter_that_is_sent_again_has_all_its_attempts(self, post: Post, start: Start) -> None:
        receiver = start(in_turn(BAD, BAD, BAD, BAD, OK))
        post.register(receiver.url)
        post.publish()
        while post.deliver():
            post.wait()
        ((letter, _),) = post.dead_letters()
        clients.sqs().send_message(QueueUrl=post.settings.deliveries_queue_url, MessageBody=letter)
        assert post.deliver() == 1
        post.wait()
        assert post.deliver() == 0
        assert len({request.headers["webhook-id"] for request in receiver.got}) == 1

    @pytest.mark.parametrize(
        ("said", "low", "high"),
        [
            ("120", 120, 139),
            ("1", 5, 6),
            ("999999999", 43_000, 43_000),
            ("nonsense", 5, 6),
            ("in an hour", 3500, 4200),
        ],
    )
    def test_retry_after_is_honoured_within_bounds(
        self, post: Post, start: Start, said: str, low: int, high: int
    ) -> None:
        said = formatdate(time.time() + 3600, usegmt=True) if said == "in an hour" else said
        post.register(start(status(503, **{"Retry-After": said})).url)
        post.publish()
        post.deliver()
        assert low <= post.wait() <= high

    def test_visits_that_came_to_nothing_use_no_attempt_up(self, post: Post, start: Start) -> None:
        receiver = start(BAD)
        post.register(receiver.url)
        post.publish()
        (record,) = post.records()
        record["attributes"]["ApproximateReceiveCount"] = "40"
        post.deliver()
        assert post.dead_letters() == []
        assert 299 <= post.wait() <= 300 * 1.15 + 1

    def test_the_address_is_checked_again_at_each_attempt(self, post: Post, start: Start) -> None:
        """As deployed, where a registration of laxer days is not served."""
        receiver = start()
        post.register(receiver.url)
        post.publish()
        post.settings = replace(post.settings, webhook_allow_insecure=False)
        assert post.deliver() == 1
        assert receiver.got == []


class TestNeighbours:
    def test_one_that_fails_comes_again_alone(self, post: Post, start: Start) -> None:
        good, bad = start(), start(in_turn(BAD, OK))
        for receiver in (good, bad, good):
            post.register(receiver.url)
        post.publish()
        assert post.deliver() == 1
        assert (len(good.got), len(bad.got)) == (2, 1)
        post.wait()
        assert post.deliver() == 0
        assert (len(good.got), len(bad.got)) == (2, 2)

    def test_one_that_hangs_is_given_up_while_the_others_are_served(self, post: Post, start: Start) -> None:
        hanging, neighbour = start(after_a_pause), start()
        for receiver in (hanging, neighbour):
            post.register(receiver.url)
        post.publish()
        assert post.deliver(Sender(allow_insecure=True, timeouts=QUICK)) == 1
        assert len(neighbour.got) == 1
        (left,) = post.bodies()
        assert left["webhookId"] != registry.listing(post.settings, "alice")["webhooks"][1]["id"]

    def test_one_that_our_own_table_keeps_waiting_is_left_behind(
        self, post: Post, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        receiver, find, go_on = start(), registry.find, threading.Event()
        slow, quick = (post.register(receiver.url)["id"] for _ in range(2))

        def hang_for_one(settings: Settings, owner: str, webhook_id: str) -> Any:
            if webhook_id == slow:
                go_on.wait(20)
                return None
            return find(settings, owner, webhook_id)

        monkeypatch.setattr(registry, "find", hang_for_one)
        post.publish()
        assert post.deliver(seconds_left=lambda: deliveries.MARGIN + 1) == 1
        go_on.set()
        assert len(receiver.got) == 1
        assert [body["webhookId"] for body in post.bodies()] == [slow]
        assert quick != slow
        assert post.wait() == deliveries.UNEXPECTED

    def test_a_bad_message_is_a_dead_letter_at_once_and_its_neighbours_are_served(
        self, post: Post, start: Start, logged: list[dict[str, Any]]
    ) -> None:
        receiver = start()
        post.register(receiver.url)
        post.publish()
        for body in ("not json", '{"v": 2}'):
            clients.sqs().send_message(QueueUrl=post.settings.deliveries_queue_url, MessageBody=body)
        assert post.deliver() == 0
        assert len(receiver.got) == 1
        assert sorted(post.dead_letters()) == [("not json", "bad_message"), ('{"v": 2}', "bad_message")]
        assert sorted(line["event"] for line in logged) == ["message.bad", "message.bad", "webhook.delivered"]


class TestWebhooksThatAreNoMore:
    def test_a_queued_delivery_of_a_removed_webhook_is_dropped(
        self, post: Post, start: Start, logged: list[dict[str, Any]]
    ) -> None:
        receiver = start()
        registry.remove(post.settings, "alice", self.queued(post, receiver.url))
        assert post.deliver() == 0
        assert (receiver.got, post.records(), post.dead_letters(), logged) == ([], [], [], [])

    def test_a_queued_delivery_of_a_disabled_webhook_is_dropped(self, post: Post, start: Start) -> None:
        receiver = start()
        webhook = registry.get(post.settings, "alice", self.queued(post, receiver.url))
        registry.disable(post.settings, webhook, "gone")
        assert post.deliver() == 0
        assert (receiver.got, post.records(), post.dead_letters()) == ([], [], [])

    def test_410_disables_it_until_it_is_enabled(self, post: Post, start: Start) -> None:
        receiver = start(in_turn(status(410), OK))
        hook = self.queued(post, receiver.url)
        assert post.deliver() == 0
        (shown,) = registry.listing(post.settings, "alice")["webhooks"]
        assert shown["disabled"].keys() == {"at", "reason"}
        assert shown["disabled"]["reason"] == "gone"
        assert post.dead_letters() == []
        (entry,) = post.log(hook)["deliveries"]
        assert (entry["status"], entry["delivered"], entry["givenUp"]) == (410, False, True)
        assert "nextAttemptAt" not in entry
        post.publish()
        assert post.records() == []
        assert "disabled" not in registry.enable(post.settings, "alice", hook)
        post.publish()
        assert post.deliver() == 0
        assert len(receiver.got) == 2

    def test_410_to_one_that_was_removed_meanwhile_does_not_bring_it_back(
        self, post: Post, start: Start
    ) -> None:
        receiver = start(status(410))
        hook = self.queued(post, receiver.url)
        post.calls.meanwhile("before", "UpdateItem", lambda: registry.remove(post.settings, "alice", hook))
        assert post.deliver() == 0
        assert registry.listing(post.settings, "alice") == {"webhooks": []}

    @staticmethod
    def queued(post: Post, url: str) -> str:
        hook = post.register(url)
        post.publish()
        return str(hook["id"])


class TestRotation:
    def test_both_secrets_sign_for_a_day_and_then_the_new_one_alone(self, post: Post, start: Start) -> None:
        receiver = start(in_turn(BAD, OK))
        made = post.register(receiver.url)
        post.publish()
        rotated = registry.rotate(post.settings, "alice", made["id"])
        assert post.deliver() == 1
        (during,) = receiver.got
        assert during.headers["webhook-signature"].count("v1,") == 2
        for secret in (made["secret"], rotated["secret"]):
            ReferenceWebhook(secret).verify(during.body, during.headers)
        post.clock.advance(OVERLAP + 60)  # the rotation is by the real clock, which goes on
        assert post.deliver() == 0
        assert receiver.got[1].headers["webhook-signature"].count("v1,") == 1


class TestLog:
    def test_each_attempt_has_its_line(self, post: Post, start: Start) -> None:
        hook = post.register(start(in_turn(status(503), OK)).url)
        post.publish()
        post.deliver()
        wait = post.wait()
        post.deliver()
        second, first = post.log(hook["id"])["deliveries"]
        assert first.pop("durationMs") >= 0
        assert first.pop("nextAttemptAt") > first.pop("at")
        assert first == {
            "eventId": f"{JOB_ID}-completed-1",
            "eventType": "waybill.job.completed",
            "subject": JOB_ID,
            "attempt": 1,
            "delivered": False,
            "status": 503,
            "givenUp": False,
        }
        assert wait >= 5
        assert (second["attempt"], second["delivered"], second["givenUp"]) == (2, True, False)
        assert "nextAttemptAt" not in second

    def test_what_brought_no_answer_has_a_reason(self, post: Post) -> None:
        hook = post.register("http://127.0.0.1:1/")
        post.publish()
        post.deliver()
        (entry,) = post.log(hook["id"])["deliveries"]
        assert entry["reason"] == "connection"
        assert "status" not in entry

    @pytest.mark.parametrize("fault", ["throttled", "server error", "answer lost"])
    def test_a_log_that_fails_neither_loses_nor_repeats_a_delivery(
        self, post: Post, start: Start, fault: str
    ) -> None:
        good, bad = start(), start(in_turn(BAD, OK))
        for receiver in (good, bad):
            post.register(receiver.url)
        post.publish()
        post.calls.fail_next("BatchWriteItem", fault)
        assert post.deliver() == 1
        post.wait()
        assert post.deliver() == 0
        assert (len(good.got), len(bad.got)) == (1, 2)

    def test_what_the_table_leaves_over_is_told_and_not_raised(
        self, post: Post, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[Any] = []
        monkeypatch.setattr(journal, "log", lambda event, **fields: told.append((event, fields["count"])))
        clients.dynamodb().meta.events.register(
            "after-call.dynamodb.BatchWriteItem",
            lambda parsed, **_: parsed.update(UnprocessedItems={post.settings.deliveries_table: [{}, {}]}),
        )
        post.register(start().url)
        post.publish()
        assert post.deliver() == 0
        assert told == [("deliveries.unlogged", 2)]

    def test_our_own_log_tells_the_outcome_and_no_secrets(
        self, post: Post, start: Start, logged: list[dict[str, Any]]
    ) -> None:
        good, bad = start(), start(BAD)
        made = [post.register(receiver.url) for receiver in (good, bad)]
        post.publish(an_event(filename="private.txt"))
        post.deliver()
        outcomes = {line["webhookId"]: (line["event"], line["status"]) for line in logged}
        assert outcomes == {
            made[0]["id"]: ("webhook.delivered", 200),
            made[1]["id"]: ("webhook.failed", 500),
        }
        assert {(line["jobId"], line["owner"]) for line in logged} == {(JOB_ID, owner_hash("alice"))}
        text = str(logged)
        for secret in ("hidden", "alice", "private.txt", *(webhook["secret"] for webhook in made)):
            assert secret not in text


class TestMetrics:
    @pytest.mark.parametrize(
        ("answers", "outcomes"),
        [
            ([OK], [metrics.DELIVERED]),
            ([BAD, OK], [metrics.RETRIED, metrics.DELIVERED]),
            ([BAD, BAD, BAD], [metrics.RETRIED, metrics.RETRIED, metrics.DEAD]),
            ([status(410)], [metrics.DISABLED]),
        ],
        ids=["taken", "taken the second time", "never taken", "gone"],
    )
    def test_each_attempt_counts_as_what_became_of_the_delivery(
        self, post: Post, start: Start, told: Told, answers: list[Any], outcomes: list[str]
    ) -> None:
        post.register(start(in_turn(*answers)).url)
        post.publish()
        while post.deliver():
            post.wait()

        assert told() == outcomes

    def test_what_is_no_delivery_counts_as_a_dead_letter(self, post: Post, told: Told) -> None:
        clients.sqs().send_message(QueueUrl=post.settings.deliveries_queue_url, MessageBody="not json")
        post.deliver()

        assert told() == [metrics.DEAD]


class TestFaults:
    """At least once, and always under the same id."""

    def test_killed_between_the_post_and_the_deletion_it_is_sent_again(
        self, post: Post, start: Start
    ) -> None:
        receiver = start()
        post.register(receiver.url)
        post.publish()
        before = len(post.calls.made)
        post.calls.kill("before", 1)  # the first call reads the webhook
        with pytest.raises(Killed):
            post.deliver()
        post.calls.revive()
        assert post.calls.made[before:] == ["GetItem", "DeleteMessageBatch"]
        assert post.deliver() == 0
        assert len(receiver.got) == 2
        assert len({request.headers["webhook-id"] for request in receiver.got}) == 1
        assert post.records() == []

    def test_a_delivery_that_cannot_be_looked_up_comes_again(
        self, post: Post, start: Start, logged: list[dict[str, Any]]
    ) -> None:
        receiver = start()
        post.register(receiver.url)
        post.publish()
        post.calls.fail_next("GetItem")
        assert post.deliver() == 1
        assert receiver.got == []
        assert [line["event"] for line in logged] == ["delivery.failed"]
        assert post.wait() == deliveries.UNEXPECTED
        assert post.deliver() == 0
