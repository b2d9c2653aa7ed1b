"""The same with the event handler of Powertools for AWS Lambda, and its logger."""

import os
import uuid
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from botocore.config import Config

BUCKET = os.environ["BUCKET_NAME"]
EXPIRES_IN = 900

s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))
logger = Logger(service="uploads")
app = APIGatewayRestResolver()


@app.post("/presign")
def presign() -> dict[str, object]:
    body = app.current_event.json_body or {}
    job_id = str(uuid.uuid4())
    key = f"uploads/{job_id}/{body.get('filename', 'file')}"
    params = {"Bucket": BUCKET, "Key": key}
    if "contentType" in body:
        params["ContentType"] = body["contentType"]
    url = s3.generate_presigned_url("put_object", Params=params, ExpiresIn=EXPIRES_IN)
    return {"uploadUrl": url, "s3Key": key, "jobId": job_id, "expiresIn": EXPIRES_IN}


def handler(event: Any, context: Any) -> Any:
    return app.resolve(event, context)
