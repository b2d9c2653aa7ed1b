"""Deliveries to webhooks, played by hand: SNS and the deliveries queue, when a test says so."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chalicelib import clients
from chalicelib.batch import BatchIncomplete
from chalicelib.jsontext import to_json
from chalicelib.settings import Settings
from chalicelib.webhooks import deliveries, fan_out, journal, registry
from chalicelib.webhooks.sender import Sender
from tests.unit.flow import Calls, Clock, bystander

JOB_ID = "01936b2e-7c1a-7d3e-8f00-0123456789ab"


def an_event(owner: str = "alice", end: str = "completed", run: int = 1, **data: Any) -> str:
    return to_json(
        {
            "specversion": "1.0",
            "id": f"{JOB_ID}-{end}-{run}",
            "type": f"waybill.job.{end}",
            "subject": JOB_ID,
            "data": {"owner": owner, **data},
        }
    )


def invocation(*messages: object) -> dict[str, Any]:
    """What Lambda gets from SNS (AWS Lambda Developer Guide, "Using AWS Lambda with Amazon SNS")."""
    return {
        "Records": [
            {
                "EventVersion": "1.0",
                "EventSource": "aws:sns",
                "Sns": {"Type": "Notification", "Subject": "s", "Message": message, "MessageAttributes": {}},
            }
            for message in messages
        ]
    }


class Post:
    """The way of events to webhooks, of a stack on one's own machine, under a plain event source mapping."""

    def __init__(self, aws: Settings, waits: tuple[int, ...] = (5, 300)) -> None:
        self.settings = replace(aws, webhook_allow_insecure=True, webhook_retry_seconds=waits)
        self._deleted: set[str] = set()
        self._deleting: list[str] = []
        hooks = clients.sqs().meta.events
        hooks.register("provide-client-params.sqs.DeleteMessageBatch", self._asked_to_delete)
        hooks.register("after-call.sqs.DeleteMessageBatch", self._has_deleted)
        self.calls = Calls(self.settings)  # behind these, as it may kill the process
        self.clock = Clock()
        self._sqs = bystander("sqs", aws.region)
        self._waiting: dict[str, dict[str, Any]] = {}

    def register(self, url: str, owner: str = "alice", **more: Any) -> dict[str, Any]:
        return registry.register(self.settings, owner, {"url": url, **more})

    def publish(self, *events: object) -> None:
        fan_out.notify(self.settings, invocation(*events or (an_event(),)))

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(record["body"]) for record in self.records()]

    def records(self) -> list[dict[str, Any]]:
        """All that waits, as the records of an SQS event; a message stays until it is deleted."""
        while found := self._receive(self.settings.deliveries_queue_url):
            for message in found:
                self._waiting[message["MessageId"]] = {
                    "messageId": message["MessageId"],
                    "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"],
                    "attributes": {},
                }
        self._waiting = {k: r for k, r in self._waiting.items() if r["receiptHandle"] not in self._deleted}
        return list(self._waiting.values())

    def deliver(
        self,
        sender: Sender | None = None,
        seconds_left: Callable[[], float] = lambda: 30.0,
        records: list[dict[str, Any]] | None = None,
    ) -> int:
        """One batch; how many of it have to come again."""
        batch = self.records() if records is None else records
        for record in batch:
            attributes = record["attributes"]
            attributes["ApproximateReceiveCount"] = str(int(attributes.get("ApproximateReceiveCount", 0)) + 1)
            attributes.setdefault("SentTimestamp", str(int(self.clock() * 1000)))
        try:
            deliveries.deliver(
                self.settings, {"Records": batch}, seconds_left, sender=sender, clock=self.clock
            )
        except BatchIncomplete as error:
            return int(error.message.split()[0])
        for record in batch:
            self._sqs.delete_message(
                QueueUrl=self.settings.deliveries_queue_url, ReceiptHandle=record["receiptHandle"]
            )
            self._waiting.pop(record["messageId"], None)
        return 0

    def wait(self) -> int:
        """Let the seconds pass for which the one delivery has to wait; how many that were."""
        (record,) = self.records()
        asked = {
            entry["ReceiptHandle"]: entry["VisibilityTimeout"]
            for name, request in self.calls.requests
            if name == "ChangeMessageVisibilityBatch"
            for entry in request["Entries"]
        }
        seconds: int = asked[record["receiptHandle"]]
        self.clock.advance(seconds)
        return seconds

    def dead_letters(self) -> list[tuple[str, str]]:
        """Body and reason of each."""
        found = self._receive(self.settings.deliveries_dead_letter_queue_url)
        return [
            (message["Body"], message.get("MessageAttributes", {}).get("reason", {}).get("StringValue"))
            for message in found
        ]

    def log(self, webhook_id: str, owner: str = "alice", **query: str) -> Any:
        return journal.page(self.settings, owner, webhook_id, query)

    def _asked_to_delete(self, params: Any, **_: Any) -> None:
        self._deleting = [entry["ReceiptHandle"] for entry in params["Entries"]]

    def _has_deleted(self, **_: Any) -> None:
        self._deleted.update(self._deleting)

    def _receive(self, url: str) -> list[Any]:
        answer = self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=3600, MessageAttributeNames=["All"]
        )
        found: list[Any] = answer.get("Messages", [])
        return found
