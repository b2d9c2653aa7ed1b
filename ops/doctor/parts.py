"""Whether the parts of a deployment are there, switched on, and told of what happens."""

import re
import time
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from ops import sweep
from ops.columns import age
from ops.deployment import Deployment
from ops.doctor.findings import Finding, Level
from ops.letters import KINDS

PERIOD = 300.0
"""Seconds between two sweeps, where the schedule does not tell."""

DEPLOY = "deploy again: `make run` for the local stack, `make deploy` for one on AWS"


def functions(deployment: Deployment) -> Iterator[Finding]:
    client = deployment.client("lambda")
    missing: list[str] = []
    for function in deployment.functions:
        try:
            found = client.get_function_configuration(FunctionName=deployment.function_name(function))
        except client.exceptions.ResourceNotFoundException:
            missing.append(function)
            continue
        state = (found.get("State", "Active"), found.get("LastUpdateStatus", "Successful"))
        if state != ("Active", "Successful"):
            why = found.get("StateReason") or found.get("LastUpdateStatusReason") or "it may be in a change"
            what = f"{function} is {state[0]}, its last change {state[1]}"
            yield Finding(Level.BAD, "functions", what, why=why, do=DEPLOY)
    if missing:
        why = "the deployment was cut short, or is of another version"
        yield Finding(Level.BAD, "functions", f"missing: {', '.join(missing)}", why=why, do=DEPLOY)
    else:
        yield Finding(Level.WELL, "functions", f"{len(deployment.functions)} are there")


def queues(deployment: Deployment) -> Iterator[Finding]:
    """How much waits, and whether anybody takes it."""
    for kind in KINDS:
        if kind.source_output is not None and kind.is_of(deployment):
            yield from _queue(deployment, kind.name, deployment.outputs[kind.source_output])


def _queue(deployment: Deployment, name: str, url: str) -> Iterator[Finding]:
    found = deployment.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    waiting = int(found["ApproximateNumberOfMessages"])
    in_hand, delayed = (int(found[f"ApproximateNumberOfMessages{n}"]) for n in ("NotVisible", "Delayed"))
    what = f"{name}: {waiting} waiting, {in_hand} in hand, {delayed} for later"
    oldest = _age_of_oldest(deployment, url.rpartition("/")[2])
    since = age(oldest) if oldest and waiting else ""
    mappings = deployment.client("lambda").list_event_source_mappings(EventSourceArn=found["QueueArn"])
    enabled = [
        m for m in mappings["EventSourceMappings"] if m["State"] in ("Enabled", "Enabling", "Creating")
    ]
    if enabled:
        late = bool(waiting) and oldest > int(found["VisibilityTimeout"])
        why = "more comes in than is worked off, or every attempt fails" if late else ""
        do = f"look at the log of the function: {deployment.aws} logs tail /aws/lambda/" if late else ""
        do += enabled[0]["FunctionArn"].rpartition(":")[2] if late else ""
        yield Finding(Level.NOTE if late else Level.WELL, "queue", what, since, why, do)
        return
    off = mappings["EventSourceMappings"]
    if off:
        why = f"the event source mapping of the function is {off[0]['State']}"
        do = f"{deployment.aws} lambda update-event-source-mapping --uuid {off[0]['UUID']} --enabled"
    else:
        why, do = "no function is mapped to the queue", DEPLOY
    yield Finding(Level.BAD, "queue", f"{what}; nobody takes from it", since, why, do)


def _age_of_oldest(deployment: Deployment, queue: str) -> float:
    """Seconds, as CloudWatch has them; 0 where it knows nothing, which is so locally."""
    if deployment.endpoint_url is not None:
        return 0.0
    now = time.time()
    points = deployment.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": queue}],
        StartTime=now - 600,
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    latest = max(points, key=lambda point: point["Timestamp"], default={"Maximum": 0.0})
    return float(latest["Maximum"])


def events(deployment: Deployment) -> Iterator[Finding]:
    """Whether S3 and SNS tell their functions of anything."""
    settings = deployment.settings
    told = deployment.client("s3").get_bucket_notification_configuration(Bucket=settings.bucket)
    heard = {
        (configuration["LambdaFunctionArn"].rpartition(":")[2], _prefix(configuration))
        for configuration in told.get("LambdaFunctionConfigurations", [])
    }
    must = (("on_upload", settings.upload_prefix), ("on_incoming", settings.incoming_prefix))
    deaf = [prefix for name, prefix in must if (deployment.function_name(name), prefix) not in heard]
    if deaf:
        what, why = (
            f"S3 tells nobody of {' and '.join(deaf)}",
            "the bucket's notifications have been replaced",
        )
        yield Finding(Level.BAD, "events", what, why=f"{why}; the sweep finds files until then", do=DEPLOY)
    rules = _rules(deployment, "on_scan") if settings.scans_for_malware else []
    if settings.scans_for_malware and not any(rule["State"] == "ENABLED" for rule in rules):
        why = "its rule is disabled, or deleted; the sweep reads verdicts until then"
        yield Finding(Level.BAD, "events", "nobody is told of scans for malware", why=why, do=DEPLOY)
    topic = deployment.outputs["TopicArn"]
    pages = deployment.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    endpoints = {entry["Endpoint"].rpartition(":")[2] for page in pages for entry in page["Subscriptions"]}
    if deployment.function_name("notify") not in endpoints:
        what = "the topic does not tell notify: no webhook gets anything"
        yield Finding(Level.BAD, "events", what, why="the subscription has been deleted", do=DEPLOY)
    elif not deaf:
        yield Finding(Level.WELL, "events", "S3 and the topic tell their functions")


def _prefix(configuration: dict[str, Any]) -> str:
    rules = configuration.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return next((rule["Value"] for rule in rules if rule["Name"].lower() == "prefix"), "")


def schedule(deployment: Deployment) -> Iterator[Finding]:
    rules = _rules(deployment, "sweep")
    on = [rule for rule in rules if rule["State"] == "ENABLED"]
    if on:
        heard = _last_sweep(deployment)
        said = f"; {heard}" if heard else ""
        yield Finding(Level.WELL, "sweep", f"called at {on[0]['ScheduleExpression']}{said}")
    elif rules:
        yield Finding(
            Level.BAD,
            "sweep",
            "never called: what gets stuck stays so",
            why=f"the rule {rules[0]['Name']} is disabled",
            do=f"{deployment.aws} events enable-rule --name {rules[0]['Name']}",
        )
    else:
        what = "never called: what gets stuck stays so"
        yield Finding(Level.BAD, "sweep", what, why="no schedule has it for a target", do=DEPLOY)


def _rules(deployment: Deployment, function: str) -> list[dict[str, Any]]:
    functions, events = deployment.client("lambda"), deployment.client("events")
    try:
        target = functions.get_function_configuration(FunctionName=deployment.function_name(function))
    except functions.exceptions.ResourceNotFoundException:
        return []
    names = events.list_rule_names_by_target(TargetArn=target["FunctionArn"])["RuleNames"]
    return [events.describe_rule(Name=name) for name in names]


def _last_sweep(deployment: Deployment) -> str:
    """What the latest sweep has found, where its log can be read; the looks of one call of CloudWatch."""
    logs = deployment.client("logs")
    try:
        found = logs.filter_log_events(
            logGroupName=f"/aws/lambda/{deployment.function_name('sweep')}",
            filterPattern='"sweep.done"',
            startTime=int((time.time() - 4 * PERIOD) * 1000),
        )["events"]
    except logs.exceptions.ClientError:
        return ""
    if not found:
        return ""
    ago = age(time.time() - found[-1]["timestamp"] / 1000)
    return f"{ago} ago it found {sweep.found(found[-1]['message'])}"


def period(deployment: Deployment) -> float | None:
    """Seconds between two sweeps; None where there is none. The usual, to who may not look at schedules."""
    try:
        rules = _rules(deployment, "sweep")
    except ClientError:
        return PERIOD
    for rule in rules:
        if rule["State"] == "ENABLED":
            found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", rule.get("ScheduleExpression", ""))
            units = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}
            return int(found[1]) * units[found[2]] if found else PERIOD
    return None
