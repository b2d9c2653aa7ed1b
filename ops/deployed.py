"""What Chalice notes of a deployment, put together again from what is there.

`.chalice/deployed/<stage>.json` is written when a `chalice deploy` has come to its end, and is not tracked.
Where it is missing, cut short or from another machine, Chalice updates the functions and roles, which it
finds by name, but takes all else for new: it would make a second API with another URL, and fail at the event
source mappings, as Lambda takes none twice. So the note is completed before each deployment.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.policies import APP, HTTP_HANDLER, function_name

Note = dict[str, Any]
Clients = Callable[[str], Any]


def path(project: Path, stage: str) -> Path:
    return project / ".chalice" / "deployed" / f"{stage}.json"


def read(project: Path, stage: str) -> list[Note]:
    """Empty where nothing is noted, or nothing that can be read."""
    try:
        resources: list[Note] = json.loads(path(project, stage).read_text())["resources"]
    except (OSError, ValueError, KeyError):
        return []
    return resources


def complete(project: Path, stage: str, client: Clients, *, to_delete: bool = False) -> list[Note]:
    """Note what is there; returns all that is noted then. What a former deployment noted beyond stays.

    Args:
        to_delete: of what today's functions have, nothing is noted that is gone: Chalice stops at it when it
            deletes, which it does not when it deploys.
    """
    noted = {one["name"]: one for one in read(project, stage)}
    handlers = tuple(_handlers(project))
    everything = {one["name"]: one for one in _found(stage, client, handlers, noted, roles=to_delete)}
    if to_delete:
        noted = {name: one for name, one in noted.items() if name in everything or not _is_of(name, handlers)}
    for name, found in everything.items():
        noted[name] = noted.get(name, {}) | found
    notes = sorted(noted.values(), key=lambda one: _ORDER.index(one["resource_type"]))
    if (notes or to_delete) and notes != read(project, stage):
        file = path(project, stage)
        file.parent.mkdir(exist_ok=True)
        beside = file.with_suffix(".new")
        beside.write_text(
            json.dumps({"resources": notes, "schema_version": "2.0", "backend": "api"}, indent=2) + "\n"
        )
        beside.replace(file)
    return notes


_ORDER = ("iam_role", "lambda_function", "s3_event", "sqs_event", "sns_event", "cloudwatch_event", "rest_api")
"""As Chalice deploys: it deletes in the opposite one."""


def _handlers(project: Path) -> list[str]:
    config = json.loads((project / ".chalice" / "config.json").read_text())
    return list(config["lambda_functions"])


def _is_of(name: str, handlers: tuple[str, ...]) -> bool:
    """Whether a note is about one of these handlers, its role or its trigger, or about their API."""
    ends = ("", "_role", "-s3event", "-sqs-event-source", "-sns-subscription", "-event")
    return name == "rest_api" or any(name == handler + end for handler in handlers for end in ends)


def _found(
    stage: str, client: Clients, handlers: tuple[str, ...], noted: Mapping[str, Note], *, roles: bool
) -> Iterator[Note]:
    there = _functions(stage, client, handlers)
    for handler in handlers:
        role = f"{APP}-{stage}-{handler}"
        if arn := _role(client, role) if there or noted or roles else None:
            yield _note("iam_role", f"{handler}_role", role_arn=arn, role_name=role)
    for handler, arn in there.items():
        yield _note("lambda_function", handler, lambda_arn=arn)
    for handler, arn in there.items():
        yield from _triggers(client, stage, handler, arn)
    if HTTP_HANDLER in there:
        yield from _api(client, there[HTTP_HANDLER], noted)


def _note(kind: str, name: str, **values: str) -> Note:
    return {"name": name, "resource_type": kind, **values}


def _functions(stage: str, client: Clients, handlers: tuple[str, ...]) -> dict[str, str]:
    """Handler to ARN, of those that exist."""
    names = {function_name(stage, handler): handler for handler in handlers}
    pages = client("lambda").get_paginator("list_functions").paginate()
    found = {one["FunctionName"]: one["FunctionArn"] for page in pages for one in page["Functions"]}
    return {handler: found[name] for name, handler in names.items() if name in found}


def _role(client: Clients, name: str) -> str | None:
    iam = client("iam")
    try:
        arn: str = iam.get_role(RoleName=name)["Role"]["Arn"]
    except iam.exceptions.NoSuchEntityException:
        return None
    return arn


def _triggers(client: Clients, stage: str, handler: str, arn: str) -> Iterator[Note]:
    """What has leave to call a function calls it: of that leave everything but the queues can be read."""
    functions = client("lambda")
    mappings = [
        one
        for one in functions.list_event_source_mappings(FunctionName=arn)["EventSourceMappings"]
        # What else it reads from is somebody else's decision.
        if one["EventSourceArn"].rpartition(":")[2].startswith(f"{APP}-{stage}-")
    ]
    # AWS takes no second one of a queue; elsewhere it is deleted, or each message would have two takers.
    for doubled in mappings[1:]:
        functions.delete_event_source_mapping(UUID=doubled["UUID"])
    for mapping in mappings[:1]:
        queue = mapping["EventSourceArn"].rpartition(":")[2]
        yield _note(
            "sqs_event",
            f"{handler}-sqs-event-source",
            queue_arn=mapping["EventSourceArn"],
            event_uuid=mapping["UUID"],
            queue=queue,
            lambda_arn=arn,
        )
    for source in _sources(functions, arn):
        service, resource = source.split(":")[2], source.split(":", 5)[5]
        if service == "s3":
            yield _note("s3_event", f"{handler}-s3event", bucket=resource, lambda_arn=arn)
        elif service == "events" and _is_rule(client, resource.partition("/")[2]):
            yield _note("cloudwatch_event", f"{handler}-event", rule_name=resource.partition("/")[2])
        elif service == "sns" and (subscription := _subscription(client, source, arn)):
            yield _note(
                "sns_event",
                f"{handler}-sns-subscription",
                topic=source,
                lambda_arn=arn,
                subscription_arn=subscription,
                topic_arn=source,
            )


def _sources(functions: Any, arn: str) -> list[str]:
    """Of the statements in a function's own policy."""
    try:
        policy = json.loads(functions.get_policy(FunctionName=arn)["Policy"])
    except functions.exceptions.ResourceNotFoundException:
        return []
    conditions = [statement.get("Condition", {}) for statement in policy["Statement"]]
    named = [test for one in conditions for test in one.values() if isinstance(test, dict)]
    sources = {str(value) for test in named for key, value in test.items() if key.lower() == "aws:sourcearn"}
    return sorted(sources)


def _is_rule(client: Clients, name: str) -> bool:
    events = client("events")
    try:
        events.describe_rule(Name=name)
    except events.exceptions.ResourceNotFoundException:
        return False
    return True


def _subscription(client: Clients, topic: str, arn: str) -> str | None:
    sns = client("sns")
    try:
        pages = list(sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic))
    except sns.exceptions.NotFoundException:
        return None
    found = [one for page in pages for one in page["Subscriptions"] if one["Endpoint"] == arn]
    return str(found[0]["SubscriptionArn"]) if found else None


def _api(client: Clients, arn: str, noted: Mapping[str, Note]) -> Iterator[Note]:
    """By the function behind it: the APIs of all stages have one name."""
    gateway = client("apigateway")
    pages = gateway.get_paginator("get_rest_apis").paginate()
    ours = [
        api["id"]
        for page in pages
        for api in page["items"]
        if api["name"] == APP and _calls(gateway, api["id"], arn)
    ]
    # Several, where one was made anew for want of a note: the one that is known is the one that clients know.
    known = str(noted.get("rest_api", {}).get("rest_api_id"))
    if ours:
        chosen = known if known in ours else ours[0]
        region = arn.split(":")[3]
        yield _note(
            "rest_api",
            "rest_api",
            rest_api_id=chosen,
            rest_api_url=noted.get("rest_api", {}).get("rest_api_url")
            or f"https://{chosen}.execute-api.{region}.amazonaws.com/api/",
        )


def _calls(gateway: Any, api: str, arn: str) -> bool:
    """Whether the first method that calls a function calls this one."""
    pages = gateway.get_paginator("get_resources").paginate(restApiId=api)
    for resource in (one for page in pages for one in page["items"]):
        for method in resource.get("resourceMethods", {}):
            if method == "OPTIONS":
                continue
            integration = gateway.get_integration(restApiId=api, resourceId=resource["id"], httpMethod=method)
            return f"/{arn}/" in integration.get("uri", "")
    return False
