"""Registering webhooks, listing and removing them."""

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chalicelib import clients, webhooks
from chalicelib.errors import BadRequest, NotFound
from chalicelib.jobs import EVENT_TYPES
from chalicelib.settings import Settings

URL = "https://hooks.example.com/waybill?key=1"


class TestRegistration:
    def test_the_answer_holds_all_there_is_to_know(self, aws: Settings) -> None:
        made = webhooks.register(aws, "alice", {"url": URL})
        assert set(made) == {"id", "url", "types", "secret", "createdAt"}
        assert made["url"] == URL
        assert made["types"] == list(EVENT_TYPES)
        assert datetime.fromisoformat(made["createdAt"]).tzinfo == UTC

    def test_every_webhook_has_a_secret_of_its_own(self, aws: Settings) -> None:
        made = [webhooks.register(aws, "alice", {"url": URL})["secret"] for _ in range(2)]
        assert made[0] != made[1]
        for secret in made:
            assert secret.startswith("whsec_")
            assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64

    def test_the_listing_shows_it_again_without_the_secret(self, aws: Settings) -> None:
        made = webhooks.register(aws, "alice", {"url": URL, "types": ["waybill.job.failed"]})
        secret = made.pop("secret")
        assert webhooks.listing(aws, "alice") == {"webhooks": [made]}
        assert secret not in str(webhooks.subscribed(aws, "alice", "waybill.job.failed"))

    def test_the_listing_is_in_the_order_of_registration(self, aws: Settings) -> None:
        made = [webhooks.register(aws, "alice", {"url": URL})["id"] for _ in range(4)]
        times = [webhook["createdAt"] for webhook in webhooks.listing(aws, "alice")["webhooks"]]
        assert times == sorted(times)
        assert {webhook["id"] for webhook in webhooks.listing(aws, "alice")["webhooks"]} == set(made)

    def test_owners_see_only_their_own(self, aws: Settings) -> None:
        mine = webhooks.register(aws, "alice", {"url": URL})["id"]
        theirs = webhooks.register(aws, "bob", {"url": URL})["id"]
        assert [w["id"] for w in webhooks.listing(aws, "alice")["webhooks"]] == [mine]
        assert [w["id"] for w in webhooks.listing(aws, "bob")["webhooks"]] == [theirs]
        assert webhooks.listing(aws, "carol") == {"webhooks": []}

    def test_the_types_decide_who_is_subscribed(self, aws: Settings) -> None:
        everything = webhooks.register(aws, "alice", {"url": URL})["id"]
        failures = webhooks.register(aws, "alice", {"url": URL, "types": ["waybill.job.failed"]})["id"]
        on_failure = {webhook.id for webhook in webhooks.subscribed(aws, "alice", "waybill.job.failed")}
        on_success = {webhook.id for webhook in webhooks.subscribed(aws, "alice", "waybill.job.completed")}
        assert (on_failure, on_success) == ({everything, failures}, {everything})

    def test_a_bad_url_leaves_nothing_behind(self, aws: Settings) -> None:
        with pytest.raises(BadRequest):
            webhooks.register(aws, "alice", {"url": "http://hooks.example.com/"})
        assert webhooks.listing(aws, "alice") == {"webhooks": []}

    def test_the_eleventh_is_refused_until_one_is_deleted(self, aws: Settings) -> None:
        made = [webhooks.register(aws, "alice", {"url": URL})["id"] for _ in range(10)]
        with pytest.raises(BadRequest) as caught:
            webhooks.register(aws, "alice", {"url": URL})
        assert caught.value.body()["error"] == "too_many_webhooks"
        assert {w["id"] for w in webhooks.listing(aws, "alice")["webhooks"]} == set(made)
        webhooks.register(aws, "bob", {"url": URL})
        webhooks.remove(aws, "alice", made[0])
        webhooks.register(aws, "alice", {"url": URL})

    def test_the_last_place_goes_to_one_at_most_when_many_reach_for_it(self, aws: Settings) -> None:
        for _ in range(9):
            webhooks.register(aws, "alice", {"url": URL})
        with ThreadPoolExecutor(4) as pool:
            tries = [pool.submit(webhooks.register, aws, "alice", {"url": URL}) for _ in range(4)]
        accepted = [attempt.result()["id"] for attempt in tries if attempt.exception() is None]
        kept = {webhook["id"] for webhook in webhooks.listing(aws, "alice")["webhooks"]}
        assert len(accepted) <= 1
        assert len(kept) == 9 + len(accepted)
        assert set(accepted) <= kept


class TestRemoval:
    def test_a_removed_webhook_is_gone(self, aws: Settings) -> None:
        made = webhooks.register(aws, "alice", {"url": URL})["id"]
        webhooks.remove(aws, "alice", made)
        assert webhooks.listing(aws, "alice") == {"webhooks": []}

    def test_absent_foreign_and_impossible_ids_are_the_same_404(self, aws: Settings) -> None:
        theirs = webhooks.register(aws, "bob", {"url": URL})["id"]
        answers = []
        for webhook_id in (theirs, "wh_" + "0" * 24, "", "no-id", "wh_" + "0" * 3000, theirs + "\n"):
            with pytest.raises(NotFound) as caught:
                webhooks.remove(aws, "alice", webhook_id)
            answers.append((caught.value.status, caught.value.body()))
        status, body = answers[0]
        assert answers == [(status, body)] * len(answers)
        assert (status, body["error"]) == (404, "webhook_not_found")
        assert set(body) == {"error", "message"}
        assert [w["id"] for w in webhooks.listing(aws, "bob")["webhooks"]] == [theirs]

    @pytest.mark.parametrize("webhook_id", ["", "no-id", "wh_" + "0" * 3000, "wh_" + "0" * 24 + "\n"])
    def test_an_id_that_cannot_be_is_not_asked_for(
        self, aws: Settings, monkeypatch: pytest.MonkeyPatch, webhook_id: str
    ) -> None:
        """DynamoDB would refuse an empty key, or one of over 1,024 bytes, with an error of its own."""
        calls: list[object] = []
        monkeypatch.setattr(clients.dynamodb(), "delete_item", lambda **call: calls.append(call))
        with pytest.raises(NotFound):
            webhooks.remove(aws, "alice", webhook_id)
        assert calls == []

    def test_a_second_removal_is_a_404(self, aws: Settings) -> None:
        made = webhooks.register(aws, "alice", {"url": URL})["id"]
        webhooks.remove(aws, "alice", made)
        with pytest.raises(NotFound):
            webhooks.remove(aws, "alice", made)


def test_settings_decide_what_registration_takes(aws: Settings) -> None:
    own = replace(aws, webhook_allow_insecure=True)
    made = webhooks.register(own, "alice", {"url": "http://127.0.0.1:9000/"})
    assert made["url"] == "http://127.0.0.1:9000/"
    assert clients.dynamodb().scan(TableName=aws.webhooks_table)["Count"] == 1
