"""Events that a function was given in vain: what Lambda says of them, and giving them to it again.

Lambda sends an invocation record to the on-failure destination when it has given up on an asynchronous event
(Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations").
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote_plus

from ops.deployment import Deployment
from ops.policies import ASYNCHRONOUS


class NoRecord(ValueError):
    """It is no invocation record of one of ours; the message says what it is instead."""


@dataclass(frozen=True, slots=True)
class FailedEvent:
    function: str
    """The handler's name, such as `notify`."""
    payload: Any
    """What it was called with."""
    why: str
    owner: str = ""
    subject: str = ""
    """The event of a job, or the key of an object, where it is about one."""

    @classmethod
    def parse(cls, deployment: Deployment, body: str) -> Self:
        """
        Raises:
            NoRecord
        """
        try:
            record = json.loads(body)
            context, payload = record["requestContext"], record["requestPayload"]
            name = context["functionArn"].split(":")[6]
        except (ValueError, LookupError, TypeError, AttributeError):
            raise NoRecord("The message is no record of an invocation.") from None
        ours = {deployment.function_name(function): function for function in ASYNCHRONOUS}
        if name not in ours:
            raise NoRecord(f"The record is of {name}, which is none of the functions that nobody waits for.")
        answer = record.get("responsePayload")
        said = answer.get("errorMessage", "") if isinstance(answer, dict) else ""
        condition = str(context.get("condition", "failed"))
        owner, subject = _about(payload)
        why = f"{ours[name]}: {condition}" + (f" ({' '.join(str(said).split())[:200]})" if said else "")
        return cls(ours[name], payload, why, owner, subject)

    def send(self, deployment: Deployment) -> bool:
        """Whether Lambda took it: from then on it is tried as it was the first time."""
        answer = deployment.client("lambda").invoke(
            FunctionName=deployment.function_name(self.function),
            InvocationType="Event",
            Payload=json.dumps(self.payload).encode(),
        )
        return bool(answer["StatusCode"] == 202)


def _about(payload: Any) -> tuple[str, str]:
    """Owner and subject of what SNS, S3 or EventBridge told; empty where neither is known."""
    try:
        first: Mapping[str, Any] = payload["Records"][0] if "Records" in payload else payload
        if "Sns" in first:
            event = json.loads(first["Sns"]["Message"])
            return str(event["data"]["owner"]), str(event["id"])
        if "s3" in first:
            return "", unquote_plus(first["s3"]["object"]["key"])
        return "", str(first["detail"]["s3ObjectDetails"]["objectKey"])
    except (LookupError, TypeError, ValueError):
        return "", ""
