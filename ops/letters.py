"""Dead letters: what they are about, and what may be done with each.

A queue of dead letters is a row of `KINDS`. Letters are received, which hides them for `HOLD_SECONDS`, and
whatever is not settled in the end is given back at once. A letter is sent to its source first and deleted
then: a crash in between leaves a message twice, which everything behind the queues takes.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

from chalicelib.jobs import Job, Status
from chalicelib.ledger import Ledger
from chalicelib.messages import BadMessage, Message
from chalicelib.telemetry import owner_hash
from chalicelib.webhooks.delivery import Delivery
from chalicelib.webhooks.webhook import Webhook
from ops.deployment import Deployment
from ops.failed_events import FailedEvent, NoRecord

T = TypeVar("T")

HOLD_SECONDS = 120
"""For which a received letter is nobody else's; it only matters to who is killed before giving it back."""

WAIT_SECONDS = 1
"""Of a receive. With none SQS asks some of the queue's servers only, and may overlook what lies on others."""

SIDE_BY_SIDE = 8


class Fate(StrEnum):
    """What `send` does with a letter."""

    SEND = "send"
    DROP = "drop"
    """There is nothing left to do for it."""
    STAY = "stay"
    """It is nothing that the queue should hold: sent again, it would come back."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, as it was received."""

    id: str
    body: str
    receipt: str = field(repr=False)
    sent_at: float
    """When its message was first sent, epoch seconds: a dead letter keeps the age that it had."""
    received: int
    """How often, by the consumer and by who looked at it here."""
    reason: str
    """Why it was made a dead letter, where that was done on purpose."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a letter is about, and why it is treated how."""

    fate: Fate
    reason: str
    owner: str = ""
    subject: str = ""
    """The job, or the event, that it is about."""
    status: str = ""
    job: Job | None = None


@dataclass(frozen=True)
class Kind:
    """A queue of dead letters, and the queue they come from: the names of outputs of infra/template.yaml."""

    name: str
    dead_output: str
    source_output: str | None
    """None where letters come from no queue: they are events of functions, which are called again."""
    judge: Callable[[Deployment, str], Verdict]
    fair: bool = False
    """Whether messages are in groups of their owners, as in `delivery.send`."""

    def is_of(self, deployment: Deployment) -> bool:
        """A deployment from before there was such a queue has none."""
        return {self.dead_output, self.source_output or self.dead_output} <= set(deployment.outputs)


def judge_job(deployment: Deployment, body: str) -> Verdict:
    """By what the ledger knows of the job now, however the letter came to be one."""
    settings, ledger = deployment.settings, deployment.ledger
    try:
        message = Message.parse(body, settings.bucket)
    except BadMessage as error:
        return Verdict(Fate.STAY, error.message)
    job = ledger.find(message.owner, message.job_id)
    fate, reason = _fate_of(job, message, settings.max_attempts)
    status = job.status if job else "-"
    return Verdict(fate, reason, message.owner, message.job_id, status, job)


def _fate_of(job: Job | None, message: Message, max_attempts: int) -> tuple[Fate, str]:
    if job is None:
        return Fate.DROP, "the ledger knows no such job; were its file still there, the sweep would enter it"
    if job.status is Status.DELETED:
        return Fate.DROP, "the job has been deleted"
    if job.etag != message.etag:
        return Fate.DROP, "a newer upload has taken its place"
    why = f"{job.error['code']}: {job.error['message']}" if job.error else ""
    if job.status.ended:
        return Fate.DROP, "the job has ended" + (f" ({why})" if why else "")
    if job.attempts >= max_attempts:
        return Fate.SEND, f"all {job.attempts} tries used up, and given anew" + (f" ({why})" if why else "")
    if job.lease_until > time.time():
        return Fate.SEND, "a worker is at it just now"
    return Fate.SEND, why or "it came too often without getting its turn, or its worker was lost"


def judge_delivery(deployment: Deployment, body: str) -> Verdict:
    """By whether there still is a webhook to deliver to."""
    try:
        going = Delivery.parse(body)
    except BadMessage as error:
        return Verdict(Fate.STAY, error.message)
    item = (
        deployment.client("dynamodb")
        .get_item(
            TableName=deployment.settings.webhooks_table,
            Key={"owner": {"S": going.owner}, "webhookId": {"S": going.webhook_id}},
            ConsistentRead=True,
        )
        .get("Item")
    )
    name = f"webhook {going.webhook_id}"
    if item is None:
        return Verdict(Fate.DROP, f"{name} is gone", going.owner, going.event_id)
    if Webhook.from_item(item).disabled:  # sent now, it would be lost
        why = f"{name} is disabled: its owner has to enable it first"
        return Verdict(Fate.STAY, why, going.owner, going.event_id)
    return Verdict(Fate.SEND, f"{name} did not take it", going.owner, going.event_id)


def judge_event(deployment: Deployment, body: str) -> Verdict:
    """By which function was called: all but the sweep are the only ones to know of what they were told."""
    try:
        event = FailedEvent.parse(deployment, body)
    except NoRecord as error:
        return Verdict(Fate.STAY, str(error))
    if event.function == "sweep":
        return Verdict(Fate.DROP, f"the sweep has been called again since ({event.why})")
    return Verdict(Fate.SEND, event.why, event.owner, event.subject)


KINDS = (
    Kind("jobs", "DeadLetterQueueUrl", "QueueUrl", judge_job),
    Kind("deliveries", "DeliveriesDeadLetterQueueUrl", "DeliveriesQueueUrl", judge_delivery, fair=True),
    Kind("events", "FailedEventsQueueUrl", None, judge_event),
)


class Box:
    """The dead letters of one kind; use it as a context manager, which gives back what is left."""

    def __init__(self, deployment: Deployment, kind: Kind) -> None:
        self.kind = kind
        self._deployment = deployment
        self._sqs = deployment.client("sqs")
        self._dead = deployment.outputs[kind.dead_output]
        self._held: dict[str, Letter] = {}
        self._seen: set[str] = set()

    def __enter__(self) -> "Box":
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever is still held can be received again at once."""
        for some in _by_ten(self._held.values()):
            self._sqs.change_message_visibility_batch(
                QueueUrl=self._dead,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": letter.receipt, "VisibilityTimeout": 0}
                    for n, letter in enumerate(some)
                ],
            )

    def count(self) -> tuple[int, int]:
        """About how many letters can be received, and how many somebody else looks at."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=self._dead, AttributeNames=names)["Attributes"]
        waiting, hidden = (int(found.get(name, 0)) for name in names)
        return waiting, max(0, hidden - len(self._held))

    def judged(self, limit: int) -> Iterator[list[tuple[Letter, Verdict]]]:
        """Every letter once, `limit` at most, ten at a time."""
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for letters in self._receive(limit):
                verdicts = pool.map(lambda one: self.kind.judge(self._deployment, one.body), letters)
                yield [
                    (letter, _with_reason(letter, verdict))
                    for letter, verdict in zip(letters, verdicts, strict=True)
                ]

    def send(self, judged: Sequence[tuple[Letter, Verdict]]) -> list[Letter]:
        """To the queue or the function they come from; returns those that it did not take."""
        refused: list[Letter] = []
        if self.kind.source_output is None:
            for letter, _ in judged:
                if FailedEvent.parse(self._deployment, letter.body).send(self._deployment):
                    self.drop([letter])
                else:
                    refused.append(letter)
            return refused
        source = self._deployment.outputs[self.kind.source_output]
        for some in _by_ten(judged):
            entries = [
                {
                    "Id": str(n),
                    "MessageBody": letter.body,
                    **({"MessageGroupId": owner_hash(verdict.owner)} if self.kind.fair else {}),
                }
                for n, (letter, verdict) in enumerate(some)
            ]
            answer = self._sqs.send_message_batch(QueueUrl=source, Entries=entries)
            failed = {int(failure["Id"]) for failure in answer.get("Failed", [])}
            refused += [letter for n, (letter, _) in enumerate(some) if n in failed]
            self.drop([letter for n, (letter, _) in enumerate(some) if n not in failed])
        return refused

    def drop(self, letters: Iterable[Letter]) -> None:
        for some in _by_ten(letters):
            answer = self._sqs.delete_message_batch(
                QueueUrl=self._dead,
                Entries=[{"Id": str(n), "ReceiptHandle": letter.receipt} for n, letter in enumerate(some)],
            )
            failed = {int(failure["Id"]) for failure in answer.get("Failed", [])}
            for n, letter in enumerate(some):
                if n not in failed:
                    del self._held[letter.id]

    def _receive(self, limit: int) -> Iterator[list[Letter]]:
        while len(self._seen) < limit:
            found = self._sqs.receive_message(
                QueueUrl=self._dead,
                MaxNumberOfMessages=min(10, limit - len(self._seen)),
                VisibilityTimeout=HOLD_SECONDS,
                WaitTimeSeconds=WAIT_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=["reason"],
            ).get("Messages", [])
            letters = [_letter(message) for message in found]
            self._held |= {letter.id: letter for letter in letters}
            new = [letter for letter in letters if letter.id not in self._seen]
            if not new:  # none is left, or they begin to come again
                return
            self._seen |= {letter.id for letter in new}
            yield new


def renew(ledger: Ledger, verdict: Verdict, max_attempts: int) -> None:
    """Give a job whose tries are used up all of them again: or else its letter would only end it FAILED."""
    if verdict.job is not None and verdict.job.attempts >= max_attempts:
        ledger.renew(verdict.job)


def _with_reason(letter: Letter, verdict: Verdict) -> Verdict:
    return replace(verdict, reason=f"{verdict.reason} ({letter.reason})") if letter.reason else verdict


def _by_ten(those: Iterable[T]) -> Iterator[list[T]]:
    """As many as SQS takes in one call."""
    left = iter(list(those))
    while some := list(islice(left, 10)):
        yield some


def _letter(message: Mapping[str, Any]) -> Letter:
    system = message.get("Attributes", {})
    return Letter(
        id=message["MessageId"],
        body=message["Body"],
        receipt=message["ReceiptHandle"],
        sent_at=int(system.get("SentTimestamp", 0)) / 1000,
        received=int(system.get("ApproximateReceiveCount", 0)),
        reason=message.get("MessageAttributes", {}).get("reason", {}).get("StringValue", ""),
    )
