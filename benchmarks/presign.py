"""Signing an upload: the signature alone, and the whole request from API Gateway's event to the answer."""

import importlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from types import SimpleNamespace
from typing import Any

from benchmarks import cpu
from benchmarks.bench import Bench
from benchmarks.comparison import CPU, Comparison, Rounds, by_turns
from ops.state import CHECKOUT

BUCKET, REGION = "waybill-bench-000000000000", "eu-central-1"
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjEXAMPLE" * 20,  # as long as that of a role
}
WISH = {"filename": "holiday.jpg", "contentType": "image/jpeg"}

EVENT = {
    "resource": "/presign",
    "path": "/presign",
    "httpMethod": "POST",
    "headers": {"Host": "abc.execute-api.eu-central-1.amazonaws.com", "Content-Type": "application/json"},
    "multiValueHeaders": {
        "Host": ["abc.execute-api.eu-central-1.amazonaws.com"],
        "Content-Type": ["application/json"],
    },
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "pathParameters": None,
    "stageVariables": None,
    "requestContext": {
        "resourcePath": "/presign",
        "httpMethod": "POST",
        "path": "/api/presign",
        "stage": "api",
        "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
        "identity": {"sourceIp": "127.0.0.1", "userAgent": "curl/8"},
        "requestTime": "21/Nov/2026:10:00:00 +0000",
    },
    "body": json.dumps(WISH),
    "isBase64Encoded": False,
}
"""A request as API Gateway's REST API gives it to Lambda (payload version 1.0)."""

CONTEXT = SimpleNamespace(
    function_name="api",
    function_version="$LATEST",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:000000000000:function:api",
    aws_request_id="c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
    get_remaining_time_in_millis=lambda: 29_000,
)

CALLS, REQUESTS = 400, 200


def variables() -> dict[str, str]:
    """What the functions find in their environment: the local stage, with a bucket and keys as on AWS.

    Of this stage no token is asked, as of the others.
    """
    stage = json.loads((CHECKOUT / ".chalice" / "config.json").read_text())["stages"]["local"]
    known: dict[str, str] = stage["environment_variables"]
    return known | KEYS | {"BUCKET_NAME": BUCKET, "AWS_DEFAULT_REGION": REGION}


@contextmanager
def environment() -> Iterator[None]:
    """This process's own, with the variables of the functions in it."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(variables())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _call(bench: Bench) -> Rounds:
    with environment():
        import boto3
        from botocore.config import Config

        from chalicelib import clients, sigv4

        location = sigv4.bucket_location(BUCKET, REGION)
        keys = cycle([f"uploads/_/{uuid.uuid4()}/holiday.jpg" for _ in range(CALLS)])
        config = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
        s3: Any = boto3.client("s3", region_name=REGION, config=config)

        def ours() -> str:
            return sigv4.presign(
                "PUT",
                location,
                next(keys),
                credentials=clients.credentials(),
                expires_in=900,
                headers={"Content-Type": "image/jpeg"},
            )

        def theirs() -> str:
            wish = {"Bucket": BUCKET, "Key": next(keys), "ContentType": "image/jpeg"}
            url: str = s3.generate_presigned_url("put_object", Params=wish, ExpiresIn=900)
            return url

        assert ours().count("&") == theirs().count("&")
        return by_turns(bench, cpu.of_calls(ours, CALLS), cpu.of_calls(theirs, CALLS), rounds=15)


def _request(baseline: str, bench: Bench) -> Rounds:
    with environment():
        theirs = importlib.import_module(f"benchmarks.baselines.{baseline}").handler
        ours: Any = importlib.import_module("app").app
        return by_turns(
            bench,
            cpu.of_calls(_answering(ours), REQUESTS),
            cpu.of_calls(_answering(theirs), REQUESTS),
            rounds=15,
        )


def _answering(handler: Callable[[Any, Any], Any]) -> Callable[[], Any]:
    """The handler on the event, after a look at whether it answers what it should."""
    answer = handler(EVENT, CONTEXT)
    assert answer["statusCode"] == 200, answer
    assert "X-Amz-Signature" in json.loads(answer["body"])["uploadUrl"]
    return partial(handler, EVENT, CONTEXT)


def _whole_request(name: str, baseline: str, theirs: str, goal: str | None = None) -> Comparison:
    return Comparison(
        name,
        ours="POST /presign, from the event to the answer",
        theirs=theirs,
        unit=CPU,
        compare=partial(_request, baseline),
        goal=goal,
    )


COMPARISONS = (
    Comparison(
        "presign_call",
        ours="signing one PUT URL",
        theirs="boto3's generate_presigned_url (s3v4)",
        unit=CPU,
        compare=_call,
        goal="≤ 1/15",
    ),
    _whole_request("presign_request", "boto3_presign", "the usual handler, boto3 at module level", "≤ 1/3"),
    _whole_request("presign_request_fastapi", "fastapi_presign", "FastAPI with Mangum, and boto3"),
    _whole_request("presign_request_powertools", "powertools_presign", "Powertools' resolver, and boto3"),
)
