"""The no-op chain on a running stack: a bucket, a queue and two functions beside Waybill's own."""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.stack import LocalStack

CODE = Path(__file__).parent / "baselines" / "noop_chain.py"
NAME = "noop-chain"
BATCH = 10  # as Waybill's consumer has it


@dataclass(frozen=True, slots=True)
class Chain:
    bucket: str
    """Where to put files."""
    seen: Path
    """Gets a line for each file that has come to the end: its key, and when, as `time.time` gives it."""


@contextmanager
def deployed(stack: LocalStack, directory: Path) -> Iterator[Chain]:
    """The chain stays for as long as the stack does."""
    s3, sqs, functions = (stack.client(name) for name in ("s3", "sqs", "lambda"))
    s3.create_bucket(Bucket=NAME)
    queue_url = sqs.create_queue(QueueName=NAME, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    asked = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    queue_arn = asked["Attributes"]["QueueArn"]
    role = _role(stack, queue_arn)
    seen = directory / "noop-chain.txt"
    arns = [
        functions.create_function(
            FunctionName=f"{NAME}-{handler}",
            Runtime="python3.12",
            Role=role,
            Handler=f"noop_chain.{handler}",
            Code={"ZipFile": _zipped()},
            Timeout=30,
            MemorySize=512,
            Environment={"Variables": {"NEXT_QUEUE_URL": queue_url, "SEEN": str(seen)}},
        )["FunctionArn"]
        for handler in ("on_object", "on_message")
    ]
    functions.add_permission(
        FunctionName=arns[0],
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{NAME}",
    )
    s3.put_bucket_notification_configuration(
        Bucket=NAME,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": arns[0], "Events": ["s3:ObjectCreated:*"]},
            ]
        },
    )
    functions.create_event_source_mapping(EventSourceArn=queue_arn, FunctionName=arns[1], BatchSize=BATCH)
    yield Chain(NAME, seen)


def _role(stack: LocalStack, queue_arn: str) -> str:
    iam = stack.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    arn: str = iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    actions = ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    allowed = {"Effect": "Allow", "Action": actions, "Resource": queue_arn}
    iam.put_role_policy(RoleName=NAME, PolicyName="queue", PolicyDocument=_policy(allowed))
    return arn


def _policy(statement: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.write(CODE, CODE.name)
    return packed.getvalue()
