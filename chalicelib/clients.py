"""AWS clients, made on first use and never at import: `/presign` needs none of them.

The only module that imports boto3, but for `items`, which needs its types of attributes.
"""

import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chalicelib.errors import Unavailable
from chalicelib.sigv4 import Credentials

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config
    from botocore.exceptions import ClientError
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

MAX_CONNECTIONS = 32
"""At least as many as there are threads that share a client, or they wait for each other's connections."""

_made: dict[str, Any] = {}
_making = threading.RLock()  # a boto3 session is not safe to make clients from side by side


@lru_cache(maxsize=1)
def _session() -> "Session":
    import boto3

    # By itself boto3 reads only AWS_DEFAULT_REGION, while `settings` takes AWS_REGION first, for signing.
    return boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)


def _config() -> "Config":
    from botocore import __version__
    from botocore.config import Config

    return Config(
        user_agent=f"Waybill Botocore/{__version__}",  # or the SDK puts a longer one together for every call
        connect_timeout=2,
        read_timeout=20,
        max_pool_connections=MAX_CONNECTIONS,
        retries={"mode": "standard", "max_attempts": 3},
        s3={"addressing_style": "path" if _has_endpoint() else "auto"},
    )


def _has_endpoint() -> bool:
    return bool(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))


def _client(service: str) -> Any:
    """One client a service, made by the first thread that asks for it, while the others wait."""
    if service not in _made:
        with _making:
            if service not in _made:
                session: Any = _session()
                _made[service] = session.client(service, config=_config())
    return _made[service]


def s3() -> "S3Client":
    client: S3Client = _client("s3")
    return client


def dynamodb() -> "DynamoDBClient":
    client: DynamoDBClient = _client("dynamodb")
    return client


def sqs() -> "SQSClient":
    client: SQSClient = _client("sqs")
    return client


def sns() -> "SNSClient":
    client: SNSClient = _client("sns")
    return client


def stepfunctions() -> "SFNClient":
    client: SFNClient = _client("stepfunctions")
    return client


def credentials() -> Credentials:
    """What signs URLs: from the environment, where Lambda puts it; else wherever the SDK finds some.

    Raises:
        Unavailable: there are none.
    """
    access_key, secret_key = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        return Credentials(access_key, secret_key, os.environ.get("AWS_SESSION_TOKEN") or None)
    with _making:
        found = _session().get_credentials()
    if found is None:
        raise Unavailable(
            "No AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
            code="no_credentials",
        )
    frozen = found.get_frozen_credentials()
    return Credentials(str(frozen.access_key), str(frozen.secret_key), frozen.token)


_SAID_LATE = {
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "ConditionalRequestConflict": 409,
    "PreconditionFailed": 412,
}
"""What S3 may find out after it has begun to answer with 200, as it does for copies and for what is put
together of parts (Amazon S3 API Reference, `CopyObject`): the SDK makes a 500 of any such error."""


def http_status(error: "ClientError") -> int:
    """The status that the service answered a failed call with."""
    status = int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return _SAID_LATE.get(error.response["Error"].get("Code", ""), status) if status == 500 else status


def was_repeated(error: "ClientError") -> bool:
    """Whether the SDK had sent a failed call before, and the answer to that one may have been lost."""
    return bool(error.response["ResponseMetadata"].get("RetryAttempts"))


def reset() -> None:
    """Forget every client: for tests that change the place they talk to."""
    _session.cache_clear()
    _made.clear()
