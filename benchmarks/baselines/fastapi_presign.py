"""The same with FastAPI, and Mangum between it and API Gateway."""

import os
import uuid

import boto3
from botocore.config import Config
from fastapi import FastAPI
from mangum import Mangum
from pydantic import BaseModel

BUCKET = os.environ["BUCKET_NAME"]
EXPIRES_IN = 900

s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))
app = FastAPI()


class Wish(BaseModel):
    filename: str = "file"
    contentType: str | None = None


class Upload(BaseModel):
    uploadUrl: str
    s3Key: str
    jobId: str
    expiresIn: int


@app.post("/presign")
def presign(wish: Wish) -> Upload:
    job_id = str(uuid.uuid4())
    key = f"uploads/{job_id}/{wish.filename}"
    params = {"Bucket": BUCKET, "Key": key}
    if wish.contentType:
        params["ContentType"] = wish.contentType
    url = s3.generate_presigned_url("put_object", Params=params, ExpiresIn=EXPIRES_IN)
    return Upload(uploadUrl=url, s3Key=key, jobId=job_id, expiresIn=EXPIRES_IN)


handler = Mangum(app, lifespan="off")
