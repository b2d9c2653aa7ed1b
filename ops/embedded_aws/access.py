"""Bridge of IAM: the permissions that a request needs."""

from typing import Any


def authorize_batches_as_single_calls() -> None:
    """MiniStack asks for leave to do `sqs:SendMessageBatch` and the like, which are no actions of IAM.

    On AWS the permission for the single call covers the batch call (Amazon SQS Developer Guide, "Amazon SQS
    API permissions"; the Service Authorization Reference lists no batch actions).
    """
    from ministack.core import iam_actions

    unbridged = iam_actions.extract_iam_action

    def extract_iam_action(service: str, *request: Any) -> str | None:
        action: str | None = unbridged(service, *request)
        return action.removesuffix("Batch") if action and service in ("sqs", "sns") else action

    iam_actions.extract_iam_action = extract_iam_action
