"""The handler of the labs: a module-level client, and its `generate_presigned_url`."""

import json
import os
import uuid
from typing import Any

import boto3
from botocore.config import Config

BUCKET = os.environ["BUCKET_NAME"]
EXPIRES_IN = 900

s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))


def handler(event: Any, context: Any) -> Any:  # noqa: ARG001
    body = json.loads(event.get("body") or "{}")
    job_id = str(uuid.uuid4())
    key = f"uploads/{job_id}/{body.get('filename', 'file')}"
    params = {"Bucket": BUCKET, "Key": key}
    if "contentType" in body:
        params["ContentType"] = body["contentType"]
    url = s3.generate_presigned_url("put_object", Params=params, ExpiresIn=EXPIRES_IN)
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"},
        "body": json.dumps({"uploadUrl": url, "s3Key": key, "jobId": job_id, "expiresIn": EXPIRES_IN}),
    }
