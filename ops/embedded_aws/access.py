"""Bridges of IAM: the permissions that a request needs, and what of it has to be signed."""

import json
from collections.abc import Mapping
from typing import Any

from ops.embedded_aws.shapes import Response

RULE_NAMED_BY = {
    "PutRule": "Name",
    "DeleteRule": "Name",
    "DescribeRule": "Name",
    "PutTargets": "Rule",
    "RemoveTargets": "Rule",
    "ListTargetsByRule": "Rule",
}
"""Calls of EventBridge about one rule, and the field of each that names it."""


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


def name_functions_and_rules() -> None:
    """MiniStack asks for leave to create any function, and to change any rule, as only the body names them.

    On AWS the resource of `lambda:CreateFunction` is the function, and that of a call about a rule the rule
    (Service Authorization Reference, AWS Lambda and Amazon EventBridge): who deploys a stage need not be let
    near another's.
    """
    from ministack.core import iam_actions

    unbridged = iam_actions.extract_resource_arn

    def extract_resource_arn(
        service: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: dict[str, Any],
        region: str,
        account_id: str,
    ) -> str:
        if service == "lambda" and method == "POST" and path.rstrip("/").endswith("/functions"):
            name = json.loads(body).get("FunctionName", "*")
            return f"arn:aws:lambda:{region}:{account_id}:function:{name}"
        target = headers.get("x-amz-target", "").rpartition(".")[2]
        if service == "events" and target in RULE_NAMED_BY:
            name = json.loads(body).get(RULE_NAMED_BY[target], "*")
            return f"arn:aws:events:{region}:{account_id}:rule/{name}"
        arn: str = unbridged(service, method, path, headers, body, query, region, account_id)
        return arn

    iam_actions.extract_resource_arn = extract_resource_arn


def ask_for_leave_to_tag() -> None:
    """MiniStack lets whoever may write an object write its tags along.

    S3 asks for `s3:PutObjectTagging` where a PUT or the beginning of an upload in parts has tags, and where a
    copy takes those of its source, for `s3:GetObjectTagging` there as well (Amazon S3 API Reference,
    PutObject, CreateMultipartUpload and CopyObject, "Permissions").
    """
    from ministack.core import iam_actions
    from ministack.services import s3

    unbridged = iam_actions.s3_additional_checks

    def s3_additional_checks(
        method: str, path: str, headers: Mapping[str, str], body: bytes, query: dict[str, Any]
    ) -> list[tuple[str, str]]:
        checks: list[tuple[str, str]] = unbridged(method, path, headers, body, query)
        bucket, _, key = path.lstrip("/").partition("/")
        writes = iam_actions._s3_action(method, path, query) == "PutObject" and "uploadId" not in query
        if not (key and writes):
            return checks
        may_tag = ("s3:PutObjectTagging", f"arn:aws:s3:::{bucket}/{key}")
        source = iam_actions._s3_source_object(headers)
        if source and headers.get("x-amz-tagging-directive", "COPY").upper() == "COPY":
            source_bucket, _, source_key = source[0].removeprefix("arn:aws:s3:::").partition("/")
            if s3.object_tags_for_condition(source_bucket, source_key, {}):
                return [*checks, may_tag, ("s3:GetObjectTagging", source[0])]
        elif headers.get("x-amz-tagging"):
            return [*checks, may_tag]
        return checks

    iam_actions.s3_additional_checks = s3_additional_checks


def refuse_headers_that_were_not_signed() -> None:
    """MiniStack does whatever the headers of a presigned request say, also where nobody signed them.

    S3 wants every `x-amz-` header to be among the signed ones, and answers 403 (Amazon S3 API Reference,
    "Authenticating Requests: Using Query Parameters", X-Amz-SignedHeaders). Who holds a URL could else give
    the object tags, or another class of storage.
    """
    from ministack.services import s3

    unbridged = s3._verify_presigned_sigv4

    def verify_presigned(
        method: str, path: str, headers: Mapping[str, str], query: dict[str, Any]
    ) -> Response | None:
        if s3._qp(query, "X-Amz-Signature", ""):
            signed = s3._qp(query, "X-Amz-SignedHeaders", "").split(";")
            unsigned = [name for name in headers if name.startswith("x-amz-") and name not in signed]
            if set(unsigned) - {"x-amz-content-sha256"}:
                refusal = "There were headers present in the request which were not signed"
                return s3._error("AccessDenied", refusal, 403, path)  # type: ignore[no-any-return]
        return unbridged(method, path, headers, query)  # type: ignore[no-any-return]

    s3._verify_presigned_sigv4 = verify_presigned


def name_the_role_of_a_session() -> None:
    """MiniStack compares `aws:PrincipalArn` with the ARN of a role's session.

    On AWS it is the ARN of the role, whoever has taken it (IAM User Guide, "AWS global condition context
    keys").
    """
    from ministack.core import iam_evaluator

    unbridged = iam_evaluator._resolve_condition_key

    def resolve_condition_key(key: str, context: Any) -> Any:
        value = unbridged(key, context)
        if key.lower() == "aws:principalarn" and ":assumed-role/" in value:
            account, role = value.split(":")[4], value.split("/")[1]
            return f"arn:aws:iam::{account}:role/{role}"
        return value

    iam_evaluator._resolve_condition_key = resolve_condition_key
