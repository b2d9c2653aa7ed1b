"""SQS and SNS, as far as anything here uses them: visibility, dead letters, and what was published."""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.unit.fake.errors import Refused

VISIBILITY = 30.0


@dataclass
class Message:
    id: str
    body: str
    visible_at: float
    sent_at: float
    receives: int = 0
    receipts: tuple[str, ...] = ()


@dataclass
class Queue:
    attributes: dict[str, str]
    messages: list[Message] = field(default_factory=list)


class Sqs:
    def __init__(self, clock: Callable[[], float], account: str, region: str) -> None:
        self._clock = clock
        self._account = account
        self._region = region
        self._numbers = itertools.count(1)
        self.queues: dict[str, Queue] = {}
        """By name."""

    def copy(self) -> "Sqs":
        made = Sqs(self._clock, self._account, self._region)
        made._numbers = self._numbers
        made.queues = {
            name: Queue(dict(queue.attributes), [replace(message) for message in queue.messages])
            for name, queue in self.queues.items()
        }
        return made

    def create_queue(self, request: Any) -> Any:
        name = request["QueueName"]
        self.queues.setdefault(name, Queue({**request.get("Attributes", {})}))
        return {"QueueUrl": self._url(name)}

    def get_queue_url(self, request: Any) -> Any:
        return {"QueueUrl": self._url(request["QueueName"])}

    def get_queue_attributes(self, request: Any) -> Any:
        queue = self._queue(request)
        waiting = sum(message.visible_at <= self._clock() for message in queue.messages)
        own = {
            "QueueArn": self._arn(request["QueueUrl"].rsplit("/", 1)[-1]),
            "ApproximateNumberOfMessages": str(waiting),
            "ApproximateNumberOfMessagesNotVisible": str(len(queue.messages) - waiting),
        }
        return {"Attributes": {**queue.attributes, **own}}

    def send_message(self, request: Any) -> Any:
        return {"MessageId": self._send(self._queue(request), request)}

    def send_message_batch(self, request: Any) -> Any:
        queue = self._queue(request)
        return {
            "Successful": [{"Id": e["Id"], "MessageId": self._send(queue, e)} for e in request["Entries"]]
        }

    def receive_message(self, request: Any) -> Any:
        queue, now = self._queue(request), self._clock()
        default = float(queue.attributes.get("VisibilityTimeout", VISIBILITY))
        taken: list[Message] = []
        for message in list(queue.messages):
            if message.visible_at > now or len(taken) == request.get("MaxNumberOfMessages", 1):
                continue
            if self._is_dead(queue, message):
                continue
            message.receives += 1
            message.receipts += (f"receipt-{next(self._numbers)}",)
            message.visible_at = now + request.get("VisibilityTimeout", default)
            taken.append(message)
        found = [
            {
                "MessageId": message.id,
                "ReceiptHandle": message.receipts[-1],
                "Body": message.body,
                "Attributes": {
                    "ApproximateReceiveCount": str(message.receives),
                    "SentTimestamp": str(int(message.sent_at * 1000)),
                },
            }
            for message in taken
        ]
        return {"Messages": found} if found else {}

    def delete_message(self, request: Any) -> Any:
        queue = self._queue(request)
        queue.messages = [m for m in queue.messages if request["ReceiptHandle"] not in m.receipts]
        return {}

    def delete_message_batch(self, request: Any) -> Any:
        for entry in request["Entries"]:
            self.delete_message({"QueueUrl": request["QueueUrl"], **entry})
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]}

    def change_message_visibility(self, request: Any) -> Any:
        for message in self._queue(request).messages:
            if request["ReceiptHandle"] in message.receipts:
                message.visible_at = self._clock() + request["VisibilityTimeout"]
        return {}

    def change_message_visibility_batch(self, request: Any) -> Any:
        for entry in request["Entries"]:
            self.change_message_visibility({"QueueUrl": request["QueueUrl"], **entry})
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]}

    def purge_queue(self, request: Any) -> Any:
        self._queue(request).messages.clear()
        return {}

    def _send(self, queue: Queue, entry: Any) -> str:
        made = f"message-{next(self._numbers)}"
        delay = entry.get("DelaySeconds", 0)
        queue.messages.append(Message(made, entry["MessageBody"], self._clock() + delay, self._clock()))
        return made

    def _is_dead(self, queue: Queue, message: Message) -> bool:
        redrive = json.loads(queue.attributes.get("RedrivePolicy", "{}"))
        if not redrive or message.receives < int(redrive["maxReceiveCount"]):
            return False
        queue.messages.remove(message)
        self.queues[redrive["deadLetterTargetArn"].rsplit(":", 1)[-1]].messages.append(message)
        return True

    def _queue(self, request: Any) -> Queue:
        try:
            return self.queues[request["QueueUrl"].rsplit("/", 1)[-1]]
        except KeyError:
            raise Refused(400, "AWS.SimpleQueueService.NonExistentQueue") from None

    def _url(self, name: str) -> str:
        return f"https://sqs.{self._region}.amazonaws.com/{self._account}/{name}"

    def _arn(self, name: str) -> str:
        return f"arn:aws:sqs:{self._region}:{self._account}:{name}"


class Sns:
    def __init__(self, account: str, region: str) -> None:
        self._account = account
        self._region = region
        self._numbers = itertools.count(1)
        self.topics: set[str] = set()
        self.published: list[dict[str, Any]] = []
        """Requests, in order; nobody takes them out but a test."""

    def copy(self) -> "Sns":
        made = Sns(self._account, self._region)
        made.topics = set(self.topics)
        made.published = list(self.published)
        return made

    def create_topic(self, request: Any) -> Any:
        arn = f"arn:aws:sns:{self._region}:{self._account}:{request['Name']}"
        self.topics.add(arn)
        return {"TopicArn": arn}

    def publish(self, request: Any) -> Any:
        if request["TopicArn"] not in self.topics:
            raise Refused(404, "NotFound")
        self.published.append(dict(request))
        return {"MessageId": f"sns-{next(self._numbers)}"}
