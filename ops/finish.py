"""What Chalice has no setting for. A later `chalice deploy` leaves all of it as it is.

Each step says what it changed, in lines; none, where everything was so already.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from ops import throttle
from ops.policies import APP, ASYNCHRONOUS, GRANTS, function_name

Clients = Callable[[str], Any]

RESPONSE_TYPES = ["ReportBatchItemFailures"]

UNSETTLED_SECONDS = 120.0
"""For which what Chalice has just made may refuse a change: a role is not known everywhere (IAM User Guide,
"Changes that I make are not always immediately visible"), an event source mapping is still being created
(Lambda API reference, UpdateEventSourceMapping), a function is still being updated."""


def keep_logs(client: Clients, stage: str, days: int) -> Iterator[str]:
    """Logs are kept for ever unless somebody says otherwise; Chalice's setting misses the HTTP handler."""
    logs = client("logs")
    prefix = f"/aws/lambda/{APP}-{stage}"
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
    there = {group["logGroupName"]: group for page in pages for group in page["logGroups"]}
    for function in GRANTS:
        name = f"/aws/lambda/{function_name(stage, function)}"
        if name not in there:
            with suppress(logs.exceptions.ResourceAlreadyExistsException):  # the function has just begun to
                logs.create_log_group(logGroupName=name)
        if there.get(name, {}).get("retentionInDays") != days:
            logs.put_retention_policy(logGroupName=name, retentionInDays=days)
            yield f"{name} is kept for {days} days"


def report_failures_of_batches(client: Clients, stage: str, *, pause: float = 3.0) -> Iterator[str]:
    """So that a message which failed comes again alone, and is counted as failed."""
    functions = client("lambda")
    for function in ("consume", "deliver"):
        name = function_name(stage, function)
        for mapping in functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
            if mapping.get("FunctionResponseTypes") != RESPONSE_TYPES:
                change = partial(
                    functions.update_event_source_mapping,
                    UUID=mapping["UUID"],
                    FunctionResponseTypes=RESPONSE_TYPES,
                )
                _once_it_has_settled(change, pause)
                yield f"{function} reports which messages of a batch failed"


def keep_failed_events(client: Clients, stage: str, queue_arn: str, *, pause: float = 3.0) -> Iterator[str]:
    """What an asynchronous function was given three times in vain goes to the queue of failed events."""
    functions = client("lambda")
    wanted = {"OnSuccess": {}, "OnFailure": {"Destination": queue_arn}}
    for function in ASYNCHRONOUS:
        name = function_name(stage, function)
        try:
            found = functions.get_function_event_invoke_config(FunctionName=name)
        except functions.exceptions.ResourceNotFoundException:
            found = {}
        if found.get("DestinationConfig", {}).get("OnFailure") != wanted["OnFailure"]:
            change = partial(
                functions.put_function_event_invoke_config, FunctionName=name, DestinationConfig=wanted
            )
            _once_it_has_settled(change, pause)
            yield f"failed events of {function} go to {queue_arn.rpartition(':')[2]}"


def limit_requests(
    client: Clients, rest_api_id: str, gateway_stage: str, limits: tuple[float, int] | None
) -> Iterator[str]:
    """None leaves what is there: it may have been set by `python -m ops throttle`."""
    if limits and throttle.apply(client("apigateway"), rest_api_id, gateway_stage, *limits):
        rate, burst = limits
        yield f"the API takes {rate:g} requests a second, {burst} at once, for each method of each path"


def _once_it_has_settled(change: Callable[[], object], pause: float) -> None:
    until = time.monotonic() + UNSETTLED_SECONDS
    while True:
        try:
            change()
            return
        except ClientError as error:
            if not _is_unsettled(error) or time.monotonic() > until:
                raise
            time.sleep(pause)


def _is_unsettled(error: ClientError) -> bool:
    code = error.response["Error"]["Code"]
    if code in ("ResourceInUseException", "ResourceConflictException"):
        return True
    return code == "InvalidParameterValueException" and "role" in str(error)
