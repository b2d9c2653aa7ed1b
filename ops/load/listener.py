"""Hears every end of a job: a queue that is subscribed to the topic for the time of the run."""

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from ops.stack import LocalStack

Heard = Callable[[Mapping[str, Any]], None]


class Listener:
    """Use it as a context manager. `payloads` holds, by event id, a digest of each differing payload."""

    def __init__(self, stack: LocalStack, heard: Heard) -> None:
        self.payloads: defaultdict[str, set[str]] = defaultdict(set)
        self.last = time.monotonic()
        self._stack = stack
        self._sqs = stack.client("sqs")
        self._heard = heard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listener")

    def __enter__(self) -> Self:
        self._queue = self._sqs.create_queue(QueueName="waybill-load-ends")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        topic = self._stack.outputs["TopicArn"]
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": policy})
        self._stack.client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        while True:
            stopping, heard = self._stop.is_set(), False
            with suppress(BotoCoreError, ClientError):  # a machine too busy to answer
                heard = self._take()
            if stopping and not heard:
                return
            if not heard:
                self._stop.wait(0.2)

    def _take(self) -> bool:
        """Hear what waits, ten events at most; whether there was anything."""
        messages = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            event = json.loads(message["Body"])
            canonical = json.dumps(event, sort_keys=True).encode()
            self.payloads[event["id"]].add(hashlib.sha256(canonical).hexdigest())
            self._heard(event)
            self.last = time.monotonic()
        if messages:
            self._sqs.delete_message_batch(
                QueueUrl=self._queue,
                Entries=[{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)],
            )
        return bool(messages)
