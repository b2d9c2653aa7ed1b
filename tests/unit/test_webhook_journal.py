"""The log of deliveries, page by page, and the test event."""

import json
from typing import Any

import pytest
from standardwebhooks import Webhook as ReferenceWebhook

from chalicelib import cursors, items, jobs, keys
from chalicelib.errors import BadRequest, NotFound
from chalicelib.settings import Settings
from chalicelib.webhooks import journal, registry, trial
from chalicelib.webhooks.attempt import Attempt
from chalicelib.webhooks.delivery import Delivery
from chalicelib.webhooks.journal import Entry
from chalicelib.webhooks.sender import Outcome
from tests.unit.post import Post
from tests.unit.receivers import Start, status

URL = "https://hooks.example.com/"


def hook(settings: Settings, owner: str = "alice") -> str:
    return str(registry.register(settings, owner, {"url": URL})["id"])


def entry(owner: str, webhook_id: str, event_id: str, **more: Any) -> Entry:
    delivery = Delivery(owner, webhook_id, event_id, "waybill.job.completed", "job", b"{}")
    return Entry(delivery, Attempt(1_000_000.0, Outcome(status=200), 7), 1, **more)


def all_pages(settings: Settings, webhook_id: str, limit: int) -> list[list[str]]:
    pages, query = [], {"limit": str(limit)}
    while True:
        page = journal.page(settings, "alice", webhook_id, query)
        pages.append([line["eventId"] for line in page["deliveries"]])
        if page["cursor"] is None:
            return pages
        query["cursor"] = page["cursor"]


class TestPages:
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    def test_they_show_every_attempt_once_the_newest_first(self, aws: Settings, limit: int) -> None:
        made, other = hook(aws), hook(aws)
        for n in range(7):
            journal.record(aws, [entry("alice", made, f"e{n}"), entry("alice", other, f"other{n}")])
        pages = all_pages(aws, made, limit)
        assert [event_id for page in pages for event_id in page] == [f"e{n}" for n in reversed(range(7))]
        assert max(map(len, pages)) <= limit

    def test_nobody_sees_another_s(self, aws: Settings) -> None:
        theirs = hook(aws, "bob")
        journal.record(aws, [entry("bob", theirs, "e1")])
        for webhook_id in (theirs, "wh_" + "0" * 24, "", "x#y"):
            with pytest.raises(NotFound):
                journal.page(aws, "alice", webhook_id, {})

    def test_a_cursor_of_another_list_is_refused_or_leads_nowhere_else(self, aws: Settings) -> None:
        made, theirs = hook(aws), hook(aws, "bob")
        journal.record(aws, [entry("bob", theirs, f"e{n}") for n in range(2)])
        cursor = journal.page(aws, "bob", theirs, {"limit": "1"})["cursor"]
        assert journal.page(aws, "alice", made, {"cursor": cursor})["deliveries"] == []
        for wrong in (cursors.encode(f"{theirs}#x"), cursors.encode("bob"), "%"):
            with pytest.raises(BadRequest) as caught:
                journal.page(aws, "alice", made, {"cursor": wrong})
            assert caught.value.code == "bad_cursor"

    def test_a_webhook_that_was_sent_nothing_has_an_empty_log(self, aws: Settings) -> None:
        assert journal.page(aws, "alice", hook(aws), {}) == {"deliveries": [], "cursor": None}


class TestEntries:
    def test_they_are_gone_after_a_week(self) -> None:
        item = items.from_item(entry("alice", "wh_1", "e").item())
        assert item["expiresAt"] == 1_000_000 + 7 * 86_400

    def test_the_next_attempt_is_told_from_the_end_of_this_one(self) -> None:
        attempt = Attempt(1_000_000.0, Outcome(reason="timeout"), 10_000)
        failed = Entry(entry("alice", "wh_1", "e").delivery, attempt, 2, 300)
        item = items.from_item(failed.item())
        assert item["nextAttemptAt"] == jobs.timestamp(1_000_310.0)
        assert (item["attempt"], item["givenUp"], item["reason"]) == (2, False, "timeout")

    def test_they_are_small_whatever_was_sent(self) -> None:
        """An item holds no content: names and codes of bounded length alone."""
        large = Delivery("a" * 128, "wh_" + "0" * 24, "e" * 256, "t" * 64, "s" * 64, b"x" * 1_000_000)
        made = Entry(large, Attempt(0.0, Outcome(status=503, retry_after="9" * 60_000), 1), 1)
        assert len(json.dumps(made.item())) < 2000

    def test_their_ids_sort_by_time(self) -> None:
        ids = [entry("alice", "wh_1", "e").item()["attemptId"]["S"].partition("#")[2] for _ in range(50)]
        assert all(map(keys.is_job_id, ids))
        milliseconds = [made[:13] for made in ids]
        assert milliseconds == sorted(milliseconds)


class TestTrials:
    @pytest.fixture
    def post(self, aws: Settings) -> Post:
        return Post(aws)

    def test_a_test_event_is_sent_at_once_signed_and_logged(self, post: Post, start: Start) -> None:
        receiver = start(status(204))
        made = post.register(receiver.url, types=["waybill.job.failed"])
        outcome = trial.send(post.settings, "alice", made["id"])
        (request,) = receiver.got
        event = ReferenceWebhook(made["secret"]).verify(request.body, request.headers)
        assert event["type"] == "waybill.webhook.test"
        assert event["id"] == request.headers["webhook-id"] == outcome["eventId"]
        assert event["data"] == {"owner": "alice", "webhookId": made["id"]}
        assert outcome.pop("durationMs") >= 0
        assert outcome == {"delivered": True, "status": 204, "eventId": event["id"]}
        (line,) = post.log(made["id"])["deliveries"]
        assert (line["eventType"], line["status"], line["attempt"]) == ("waybill.webhook.test", 204, 1)

    def test_one_request_is_one_attempt_and_none_follows(self, post: Post, start: Start) -> None:
        receiver = start(status(503))
        made = post.register(receiver.url)
        outcome = trial.send(post.settings, "alice", made["id"])
        assert (outcome["delivered"], outcome["status"]) == (False, 503)
        assert len(receiver.got) == 1
        assert post.records() == []
        (line,) = post.log(made["id"])["deliveries"]
        assert line["givenUp"]

    def test_without_an_answer_there_is_a_reason(self, post: Post) -> None:
        made = post.register("http://127.0.0.1:1/")
        outcome = trial.send(post.settings, "alice", made["id"])
        assert (outcome["delivered"], outcome["reason"]) == (False, "connection")
        assert "status" not in outcome

    def test_a_disabled_webhook_can_be_tested_and_stays_disabled(self, post: Post, start: Start) -> None:
        made = post.register(start().url)
        registry.disable(post.settings, registry.get(post.settings, "alice", made["id"]), "gone")
        assert trial.send(post.settings, "alice", made["id"])["delivered"]
        assert registry.get(post.settings, "alice", made["id"]).disabled

    def test_410_disables_here_too(self, post: Post, start: Start) -> None:
        made = post.register(start(status(410)).url)
        assert trial.send(post.settings, "alice", made["id"])["status"] == 410
        assert registry.get(post.settings, "alice", made["id"]).disabled

    def test_a_log_that_fails_is_no_failure_of_the_test(self, post: Post, start: Start) -> None:
        made = post.register(start().url)
        post.calls.fail_next("BatchWriteItem")
        assert trial.send(post.settings, "alice", made["id"])["delivered"]

    def test_somebody_else_s_is_a_404_and_gets_nothing(self, post: Post, start: Start) -> None:
        receiver = start()
        theirs = post.register(receiver.url, owner="bob")["id"]
        with pytest.raises(NotFound):
            trial.send(post.settings, "alice", theirs)
        assert receiver.got == []
