"""S3 → function → queue → function, and no work at all: what the way costs without anybody on it."""

import json
import os
import time
from pathlib import Path
from typing import Any

import boto3

sqs = boto3.client("sqs")
QUEUE_URL = os.environ["NEXT_QUEUE_URL"]


def on_object(event: Any, context: Any) -> Any:  # noqa: ARG001
    for record in event["Records"]:
        body = {"key": record["s3"]["object"]["key"], "size": record["s3"]["object"]["size"]}
        sqs.send_message(QueueUrl=QUEUE_URL, MessageBody=json.dumps(body))
    print(len(event["Records"]))


def on_message(event: Any, context: Any) -> Any:  # noqa: ARG001
    with Path(os.environ["SEEN"]).open("a") as seen:  # which tells the benchmark, and costs next to nothing
        for record in event["Records"]:
            seen.write(f"{json.loads(record['body'])['key']} {time.time()}\n")
    print(len(event["Records"]))
