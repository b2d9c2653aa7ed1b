"""What IAM would want a caller to have leave for, call by call.

Each is an action and a place, as `ops.policies.Place` writes it. By the Service Authorization Reference, and
for S3 the section "Permissions" of each operation.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.unit.fake.s3 import S3

Leave = tuple[str, str]

WRITES = (
    "PutObject",
    "CopyObject",
    "CreateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
)
OTHERWISE = {
    "HeadObject": "GetObject",
    "ListParts": "ListMultipartUploadParts",
    **dict.fromkeys(WRITES, "PutObject"),
}


def needed(service: str, operation: str, request: Mapping[str, Any], s3: S3) -> Iterator[Leave]:
    if service == "s3":
        yield from _of_s3(operation, request, s3)
    elif service == "dynamodb":
        index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
        for table in request.get("RequestItems", [request.get("TableName")]):
            yield f"dynamodb:{operation}", f"table/{table}{index}"
    elif service == "sqs":
        yield f"sqs:{operation.removesuffix('Batch')}", request["QueueUrl"].rsplit("/", 1)[-1]
    elif service == "sns":
        yield f"sns:{operation}", request["TopicArn"].rsplit(":", 1)[-1]
    else:
        kind, name = (request.get("stateMachineArn") or request["executionArn"]).split(":")[5:7]
        yield f"states:{operation}", f"{kind}:{name}{':*' if kind == 'execution' else ''}"


def _of_s3(operation: str, request: Mapping[str, Any], s3: S3) -> Iterator[Leave]:
    bucket = request["Bucket"]

    def under(key: str) -> str:
        return f"{bucket}/{key.partition('/')[0]}/*"

    if operation == "ListObjectsV2":
        yield "s3:ListBucket", bucket
    elif operation == "DeleteObjects":
        yield from (("s3:DeleteObject", under(entry["Key"])) for entry in request["Delete"]["Objects"])
    else:
        yield f"s3:{OTHERWISE.get(operation, operation)}", under(request["Key"])
    if operation in ("GetObject", "HeadObject") and request["Key"] not in s3.buckets[bucket]:
        yield "s3:ListBucket", bucket  # to be told 404, and not 403
    if operation == "DeleteObject" and "IfMatch" in request:
        yield "s3:GetObject", under(request["Key"])
    if operation in WRITES and request.get("Tagging"):
        yield "s3:PutObjectTagging", under(request["Key"])
    if source := request.get("CopySource"):
        yield "s3:GetObject", under(source["Key"])
        there = s3.buckets[bucket].get(source["Key"])
        if there is None:
            yield "s3:ListBucket", bucket
        elif there.tags and operation == "CopyObject" and request.get("TaggingDirective") != "REPLACE":
            yield "s3:GetObjectTagging", under(source["Key"])
            yield "s3:PutObjectTagging", under(request["Key"])
