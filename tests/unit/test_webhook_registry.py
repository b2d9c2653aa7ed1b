"""Registering webhooks, listing and removing them."""

import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib import clients
from chalicelib.errors import BadRequest, Conflict, NotFound
from chalicelib.jobs import EVENT_TYPES
from chalicelib.settings import Settings
from chalicelib.webhooks import registry
from chalicelib.webhooks.webhook import OVERLAP
from tests.unit.flow import Calls

URL = "https://hooks.example.com/waybill?key=1"

Repeats = Callable[[str], None]


@pytest.fixture
def repeats(monkeypatch: pytest.MonkeyPatch) -> Repeats:
    """Has a method of the DynamoDB client send its call twice, as the SDK does where an answer is lost."""

    def repeat(method: str) -> None:
        dynamodb: Any = clients.dynamodb()
        once = getattr(dynamodb, method)

        def twice(**request: Any) -> Any:
            once(**request)
            try:
                return once(**request)
            except dynamodb.exceptions.ClientError as error:
                error.response["ResponseMetadata"]["RetryAttempts"] = 1
                raise

        monkeypatch.setattr(dynamodb, method, twice)

    return repeat


class TestRegistration:
    def test_the_answer_holds_all_there_is_to_know(self, aws: Settings) -> None:
        made = registry.register(aws, "alice", {"url": URL})
        assert set(made) == {"id", "url", "types", "secret", "createdAt"}
        assert made["url"] == URL
        assert made["types"] == list(EVENT_TYPES)
        assert datetime.fromisoformat(made["createdAt"]).tzinfo == UTC

    def test_every_webhook_has_a_secret_of_its_own(self, aws: Settings) -> None:
        made = [registry.register(aws, "alice", {"url": URL})["secret"] for _ in range(2)]
        assert made[0] != made[1]
        for secret in made:
            assert secret.startswith("whsec_")
            assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64

    def test_the_listing_shows_it_again_without_the_secret(self, aws: Settings) -> None:
        made = registry.register(aws, "alice", {"url": URL, "types": ["waybill.job.failed"]})
        secret = made.pop("secret")
        assert registry.listing(aws, "alice") == {"webhooks": [made]}
        assert secret not in str(registry.subscribed(aws, "alice", "waybill.job.failed"))

    def test_the_listing_is_in_the_order_of_registration(self, aws: Settings) -> None:
        made = [registry.register(aws, "alice", {"url": URL})["id"] for _ in range(4)]
        times = [webhook["createdAt"] for webhook in registry.listing(aws, "alice")["webhooks"]]
        assert times == sorted(times)
        assert {webhook["id"] for webhook in registry.listing(aws, "alice")["webhooks"]} == set(made)

    def test_owners_see_only_their_own(self, aws: Settings) -> None:
        mine = registry.register(aws, "alice", {"url": URL})["id"]
        theirs = registry.register(aws, "bob", {"url": URL})["id"]
        assert [w["id"] for w in registry.listing(aws, "alice")["webhooks"]] == [mine]
        assert [w["id"] for w in registry.listing(aws, "bob")["webhooks"]] == [theirs]
        assert registry.listing(aws, "carol") == {"webhooks": []}

    def test_the_types_decide_who_is_subscribed(self, aws: Settings) -> None:
        everything = registry.register(aws, "alice", {"url": URL})["id"]
        failures = registry.register(aws, "alice", {"url": URL, "types": ["waybill.job.failed"]})["id"]
        on_failure = {webhook.id for webhook in registry.subscribed(aws, "alice", "waybill.job.failed")}
        on_success = {webhook.id for webhook in registry.subscribed(aws, "alice", "waybill.job.completed")}
        assert (on_failure, on_success) == ({everything, failures}, {everything})

    def test_a_bad_url_leaves_nothing_behind(self, aws: Settings) -> None:
        with pytest.raises(BadRequest):
            registry.register(aws, "alice", {"url": "http://hooks.example.com/"})
        assert registry.listing(aws, "alice") == {"webhooks": []}

    def test_the_eleventh_is_refused_until_one_is_deleted(self, aws: Settings) -> None:
        made = [registry.register(aws, "alice", {"url": URL})["id"] for _ in range(10)]
        with pytest.raises(BadRequest) as caught:
            registry.register(aws, "alice", {"url": URL})
        assert caught.value.body()["error"] == "too_many_webhooks"
        assert {w["id"] for w in registry.listing(aws, "alice")["webhooks"]} == set(made)
        registry.register(aws, "bob", {"url": URL})
        registry.remove(aws, "alice", made[0])
        registry.register(aws, "alice", {"url": URL})

    def test_the_last_place_goes_to_one_at_most_when_many_reach_for_it(self, aws: Settings) -> None:
        for _ in range(9):
            registry.register(aws, "alice", {"url": URL})
        with ThreadPoolExecutor(4) as pool:
            tries = [pool.submit(registry.register, aws, "alice", {"url": URL}) for _ in range(4)]
        accepted = [attempt.result()["id"] for attempt in tries if attempt.exception() is None]
        kept = {webhook["id"] for webhook in registry.listing(aws, "alice")["webhooks"]}
        assert len(accepted) <= 1
        assert len(kept) == 9 + len(accepted)
        assert set(accepted) <= kept


class TestRemoval:
    def test_a_removed_webhook_is_gone(self, aws: Settings) -> None:
        made = registry.register(aws, "alice", {"url": URL})["id"]
        registry.remove(aws, "alice", made)
        assert registry.listing(aws, "alice") == {"webhooks": []}

    def test_absent_foreign_and_impossible_ids_are_the_same_404(self, aws: Settings) -> None:
        theirs = registry.register(aws, "bob", {"url": URL})["id"]
        answers = []
        for webhook_id in (theirs, "wh_" + "0" * 24, "", "no-id", "wh_" + "0" * 3000, theirs + "\n"):
            with pytest.raises(NotFound) as caught:
                registry.remove(aws, "alice", webhook_id)
            answers.append((caught.value.status, caught.value.body()))
        status, body = answers[0]
        assert answers == [(status, body)] * len(answers)
        assert (status, body["error"]) == (404, "webhook_not_found")
        assert set(body) == {"error", "message"}
        assert [w["id"] for w in registry.listing(aws, "bob")["webhooks"]] == [theirs]

    @pytest.mark.parametrize("webhook_id", ["", "no-id", "wh_" + "0" * 3000, "wh_" + "0" * 24 + "\n"])
    def test_an_id_that_cannot_be_is_not_asked_for(
        self, aws: Settings, monkeypatch: pytest.MonkeyPatch, webhook_id: str
    ) -> None:
        """DynamoDB would refuse an empty key, or one of over 1,024 bytes, with an error of its own."""
        calls: list[object] = []
        monkeypatch.setattr(clients.dynamodb(), "delete_item", lambda **call: calls.append(call))
        with pytest.raises(NotFound):
            registry.remove(aws, "alice", webhook_id)
        assert calls == []

    def test_a_second_removal_is_a_404(self, aws: Settings) -> None:
        made = registry.register(aws, "alice", {"url": URL})["id"]
        registry.remove(aws, "alice", made)
        with pytest.raises(NotFound):
            registry.remove(aws, "alice", made)


def test_a_removal_that_the_sdk_repeats_has_removed(aws: Settings, repeats: Repeats) -> None:
    made = registry.register(aws, "alice", {"url": URL})
    repeats("delete_item")
    registry.remove(aws, "alice", made["id"])
    assert registry.listing(aws, "alice") == {"webhooks": []}


class TestRotation:
    def test_the_new_secret_is_shown_this_once_and_the_old_one_signs_for_a_day(self, aws: Settings) -> None:
        made = registry.register(aws, "alice", {"url": URL})
        rotated = registry.rotate(aws, "alice", made["id"])
        assert rotated["secret"] != made["secret"]
        until = datetime.fromisoformat(rotated["previousSecretUntil"]).timestamp()
        assert until == pytest.approx(time.time() + OVERLAP, abs=5)
        webhook = registry.get(aws, "alice", made["id"])
        assert webhook.signing(until - 1) == (rotated["secret"], made["secret"])
        assert webhook.signing(until) == (rotated["secret"],)
        assert "previousSecretUntil" not in webhook.view(until)
        shown = str(registry.listing(aws, "alice"))
        assert made["secret"] not in shown
        assert rotated["secret"] not in shown

    def test_no_more_than_two_secrets_sign(self, aws: Settings) -> None:
        made = registry.register(aws, "alice", {"url": URL})
        _, second, third = (registry.rotate(aws, "alice", made["id"])["secret"] for _ in range(3))
        assert registry.get(aws, "alice", made["id"]).signing(0) == (third, second)

    def test_before_the_first_rotation_one_signs(self, aws: Settings) -> None:
        made = registry.register(aws, "alice", {"url": URL})
        assert registry.get(aws, "alice", made["id"]).signing(time.time()) == (made["secret"],)

    def test_of_two_at_once_one_is_told_to_try_again(self, aws: Settings) -> None:
        """Or both would be shown a secret, and one of these would never sign."""
        made = registry.register(aws, "alice", {"url": URL})
        calls, won = Calls(aws), []
        calls.meanwhile("after", "GetItem", lambda: won.append(registry.rotate(aws, "alice", made["id"])))
        with pytest.raises(Conflict) as caught:
            registry.rotate(aws, "alice", made["id"])
        assert caught.value.code == "rotated_meanwhile"
        signing = registry.get(aws, "alice", made["id"]).signing(0)
        assert signing == (won[0]["secret"], made["secret"])

    def test_one_that_the_sdk_repeats_is_no_other_one(self, aws: Settings, repeats: Repeats) -> None:
        made = registry.register(aws, "alice", {"url": URL})
        repeats("update_item")
        rotated = registry.rotate(aws, "alice", made["id"])
        assert registry.get(aws, "alice", made["id"]).signing(0) == (rotated["secret"], made["secret"])

    def test_one_that_is_removed_meanwhile_is_a_404_and_stays_away(self, aws: Settings) -> None:
        made = registry.register(aws, "alice", {"url": URL})
        Calls(aws).meanwhile("after", "GetItem", lambda: registry.remove(aws, "alice", made["id"]))
        with pytest.raises(NotFound):
            registry.rotate(aws, "alice", made["id"])
        assert registry.listing(aws, "alice") == {"webhooks": []}


class TestDisabling:
    def test_the_owner_sees_when_and_why_and_can_enable_it(self, aws: Settings) -> None:
        made = registry.register(aws, "alice", {"url": URL})["id"]
        registry.disable(aws, registry.get(aws, "alice", made), "gone")
        (shown,) = registry.listing(aws, "alice")["webhooks"]
        assert shown["disabled"]["reason"] == "gone"
        assert datetime.fromisoformat(shown["disabled"]["at"]).tzinfo == UTC
        assert registry.subscribed(aws, "alice", "waybill.job.failed") == []
        for _ in range(2):
            assert "disabled" not in registry.enable(aws, "alice", made)
        assert len(registry.subscribed(aws, "alice", "waybill.job.failed")) == 1

    def test_the_first_reason_stays(self, aws: Settings) -> None:
        made = registry.get(aws, "alice", registry.register(aws, "alice", {"url": URL})["id"])
        registry.disable(aws, made, "gone")
        registry.disable(aws, made, "another")
        assert registry.get(aws, "alice", made.id).disabled == {
            "at": registry.listing(aws, "alice")["webhooks"][0]["disabled"]["at"],
            "reason": "gone",
        }

    @pytest.mark.parametrize("change", [registry.rotate, registry.enable, registry.get, registry.remove])
    def test_absent_foreign_and_impossible_ids_are_the_same_404(self, aws: Settings, change: Any) -> None:
        theirs = registry.register(aws, "bob", {"url": URL})["id"]
        before = registry.get(aws, "bob", theirs)
        answers = []
        for webhook_id in (theirs, "wh_" + "0" * 24, "", "no-id", "wh_" + "0" * 3000, theirs + "\n"):
            with pytest.raises(NotFound) as caught:
                change(aws, "alice", webhook_id)
            answers.append(caught.value.body())
        assert answers == [answers[0]] * len(answers)
        assert registry.get(aws, "bob", theirs) == before


def test_settings_decide_what_registration_takes(aws: Settings) -> None:
    own = replace(aws, webhook_allow_insecure=True)
    made = registry.register(own, "alice", {"url": "http://127.0.0.1:9000/"})
    assert made["url"] == "http://127.0.0.1:9000/"
    assert clients.dynamodb().scan(TableName=aws.webhooks_table)["Count"] == 1
