"""Alarms and dashboard of infra/template.yaml, the metrics they look at, and docs/runbook.md."""

import argparse
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import designs
from chalicelib import metrics
from chalicelib.settings import RETRY_SECONDS, Settings
from chalicelib.webhooks.schedule import JITTER
from ops import __main__ as ops
from ops import template
from ops.policies import GRANTS, HTTP_HANDLER
from tests.unit.test_template import CONFIG, ROOT, Stack

STACK = Stack(Stage="dev", AlarmEmail="ops@example.com")
ALARMS: dict[str, Any] = {
    body["AlarmName"].removeprefix("waybill-dev-"): body
    for body in STACK.resources.values()
    if "AlarmName" in body
}
TOPIC = "arn:aws:sns:us-east-1:000000000000:waybill-dev-alarms"
FUNCTIONS = {f"waybill-dev-{name}" for name in GRANTS if name != HTTP_HANDLER} | {"waybill-dev"}
QUEUES = {body["QueueName"] for body in STACK.resources.values() if "QueueName" in body}
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")

OURS = {metric.name: {frozenset(names) for names in metric.dimensions} for metric in metrics.ALL}
THEIRS = {
    "AWS/SQS": {"QueueName": {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}},
    "AWS/Lambda": {"FunctionName": {"Errors", "Throttles"}},
    "AWS/States": {"StateMachineArn": {f"Executions{how}" for how in ("Started", "Succeeded", "Failed")}},
    "AWS/ApiGateway": {"ApiName Stage": {"Count", "4XXError", "5XXError", "Latency"}},
}
THEIRS["AWS/States"]["StateMachineArn"] |= {"ExecutionsTimedOut", "ExecutionsAborted"}
"""What the services themselves tell, by the dimensions it is told under (each one's Developer Guide)."""

VALUES: dict[str, set[str]] = {
    "Stage": {"dev", "api"},
    "Status": {"COMPLETED", "REJECTED", "FAILED"},
    "Outcome": set(metrics.OUTCOMES),
    "Function": FUNCTIONS,
    "FunctionName": FUNCTIONS,
    "QueueName": QUEUES,
    "StateMachineArn": {STACK.outputs["StateMachineArn"]},
    "ApiName": {CONFIG["app_name"]},
}


def check(namespace: str, name: str, dimensions: dict[str, str]) -> None:
    """That somebody tells of this metric."""
    if namespace == metrics.NAMESPACE:
        assert frozenset(dimensions) in OURS[name]
    else:
        assert name in THEIRS[namespace][" ".join(sorted(dimensions))]
    for dimension, value in dimensions.items():
        assert value in VALUES[dimension], f"{dimension} of {name}"


# --- Alarms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_looks_at_a_metric_that_there_is_and_tells_of_both_turns(name: str) -> None:
    alarm = ALARMS[name]

    check(
        alarm["Namespace"],
        alarm["MetricName"],
        {one["Name"]: one["Value"] for one in alarm["Dimensions"]},
    )
    assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
    assert alarm["Period"] % 60 == 0
    assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]
    # What can be looked back at with a period below an hour is a day (PutMetricAlarm).
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= 86_400
    assert "docs/runbook.md" in alarm["AlarmDescription"]


def test_silence_is_no_alarm_but_for_the_sweep() -> None:
    told = {name: alarm["TreatMissingData"] for name, alarm in ALARMS.items()}

    assert {name for name, missing in told.items() if missing != "notBreaching"} == {"sweep-silent"}
    assert told["sweep-silent"] == "breaching"


@pytest.mark.parametrize("kind", ["errors", "throttles"])
def test_every_function_has_its_alarm(kind: str) -> None:
    named = {name.removeprefix(f"{kind}-") for name in ALARMS if name.startswith(f"{kind}-")}

    assert named == set(GRANTS) - {HTTP_HANDLER} | {"api"}


def test_every_queue_for_what_was_given_up_has_its_alarm() -> None:
    watched = {
        alarm["Dimensions"][0]["Value"]: alarm["Threshold"]
        for alarm in ALARMS.values()
        if alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    }

    assert watched == dict.fromkeys(QUEUES - {"waybill-dev-jobs", "waybill-dev-deliveries"}, 1)


def test_the_age_of_a_queue_is_beyond_what_a_retry_as_planned_gives_it(settings: Settings) -> None:
    """A message no longer counts from its third visit on (SQS Developer Guide)."""
    first, second = (int(wait) for wait in RETRY_SECONDS.split(",")[:2])

    assert (first + second) * (1 + JITTER) < ALARMS["deliveries-queue-age"]["Threshold"]
    assert settings.lease_seconds < ALARMS["jobs-queue-age"]["Threshold"] <= settings.sweep_after_seconds


def test_the_sweep_is_missed_after_some_that_did_not_come() -> None:
    every = 5 * 60
    assert "Rate(5, unit=Rate.MINUTES)" in (ROOT / "app.py").read_text(encoding="utf-8")
    silent, finds = ALARMS["sweep-silent"], ALARMS["sweep-finds"]

    assert silent["Period"] >= 3 * every
    assert finds["Period"] == every
    assert finds["DatapointsToAlarm"] == 3


def test_alarms_reach_a_topic_that_cloudwatch_may_publish_to() -> None:
    statements = STACK.statements("AlarmTopicPolicy")

    assert statements["AlarmsOfThisAccount"]["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statements["AlarmsOfThisAccount"]["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "000000000000"}
    }
    assert statements["TlsOnly"]["Effect"] == "Deny"
    assert STACK.resources["AlarmByEmail"] == {
        "TopicArn": TOPIC,
        "Protocol": "email",
        "Endpoint": "ops@example.com",
    }
    assert "AlarmByEmail" not in Stack(Stage="dev").resources


def test_a_stage_can_do_without() -> None:
    left = Stack(Stage="dev", Monitoring="false", AlarmEmail="ops@example.com").resources

    gone = STACK.resources.keys() - left.keys()
    assert {STACK.resources[name].get("AlarmName", name) for name in gone} == {
        *(f"waybill-dev-{name}" for name in ALARMS),
        *("AlarmTopic", "AlarmTopicPolicy", "AlarmByEmail", "Dashboard"),
    }


def test_the_price_that_the_template_names_is_about_right() -> None:
    """0.10 dollars a month for an alarm, 3 for a dashboard (Amazon CloudWatch pricing, us-east-1)."""
    said = template.load(template_path())["Parameters"]["Monitoring"]["Description"]
    found = re.search(r"about (\d+) dollars", said)

    assert found
    assert round(len(ALARMS) * 0.10 + 3) == int(found[1])


def test_the_cost_page_reckons_with_as_many_alarms() -> None:
    assert len(ALARMS) == designs.ALARMS


def template_path() -> Path:
    return ROOT / "infra" / "template.yaml"


# --- The dashboard ------------------------------------------------------------------------------------------


def widgets() -> list[Any]:
    body = json.loads(STACK.resources["Dashboard"]["DashboardBody"])
    assert body.keys() == {"widgets"}
    found: list[Any] = body["widgets"]
    return found


def spelled_out(rows: list[list[Any]]) -> Iterator[list[Any]]:
    """Metrics without their options and their `...`, which repeats how the metric before begins."""
    before: list[Any] = []
    for row in rows:
        names = [one for one in row if not isinstance(one, dict)]
        if names and names[0] == "...":
            own = names[1:]
            names = before[: len(before) - len(own)] + own
        before = names
        yield names


@pytest.mark.parametrize("widget", widgets(), ids=lambda widget: widget["properties"]["title"])
def test_a_widget_shows_what_somebody_tells(widget: Any) -> None:
    properties = widget["properties"]
    assert widget.keys() == {"type", "properties"}
    assert widget["type"] == "metric"
    assert properties.keys() <= {"title", "region", "stat", "period", "stacked", "metrics"}
    assert properties["region"] == "us-east-1"
    assert re.fullmatch(r"Sum|Average|Maximum|Minimum|SampleCount|p\d+(\.\d+)?", properties["stat"])
    for row, names in zip(properties["metrics"], spelled_out(properties["metrics"]), strict=True):
        if not names:
            (option,) = row
            check_search(option["expression"])
        else:
            namespace, name, *pairs = names
            assert len(pairs) % 2 == 0
            check(namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True)))


def check_search(expression: str) -> None:
    """CloudWatch User Guide, "CloudWatch search expression syntax"."""
    form = r"SEARCH\('\{Waybill,([\w,]+)\} MetricName=\"(\w+)\" Stage=\"dev\"', '(Sum|p95)', 300\)"
    found = re.fullmatch(form, expression)
    assert found, expression
    assert frozenset(found[1].split(",")) in OURS[found[2]]


def test_every_metric_of_ours_is_shown() -> None:
    body = STACK.resources["Dashboard"]["DashboardBody"]

    assert [metric.name for metric in metrics.ALL if f'"{metric.name}' not in body.replace("\\", "")] == []


def test_a_dashboard_has_at_most_500_metrics_and_a_widget_as_many() -> None:
    assert sum(len(widget["properties"]["metrics"]) for widget in widgets()) <= 500


# --- The runbook --------------------------------------------------------------------------------------------


def sections() -> dict[str, str]:
    """Heading of each alarm to what is under it."""
    _, *parts = re.split(r"^### ", RUNBOOK, flags=re.MULTILINE)
    return {
        part.partition("\n")[0].strip("` "): re.split(r"^## ", part, flags=re.MULTILINE)[0] for part in parts
    }


def heading_of(alarm: str) -> str:
    """Alarms that differ in the function alone share a section."""
    return re.sub(r"^(errors|throttles)-.*", r"\1-<function>", alarm)


def test_every_alarm_has_its_section_and_every_section_its_alarm() -> None:
    assert set(sections()) == {heading_of(alarm) for alarm in ALARMS}


@pytest.mark.parametrize("alarm", sorted({heading_of(alarm) for alarm in ALARMS}))
def test_a_section_says_what_it_means_and_what_to_type(alarm: str) -> None:
    said = sections()[alarm]

    assert "**Means**" in said
    assert "**Do**" in said
    assert ".venv/bin/python -m ops " in said or "aws " in said


BLOCKS = re.findall(r"^```sh\n(.*?)^```", RUNBOOK, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_what_is_to_be_typed_needs_no_filling_in(block: str) -> None:
    left_open = set(re.findall(r"(?<![\w$=])[A-Z_]{2,}(?=\s)", block)) - {"FAILED", "TIMED_OUT"}

    assert left_open == set()
    for variable in re.findall(r"\$([A-Z_]+)", block):
        assert f"{variable}=$(" in block


def test_the_logs_that_are_looked_at_are_there_however_heavy_work_is_done() -> None:
    groups = {group for block in BLOCKS for group in re.findall(r"aws logs tail (\S+)", block)}

    assert groups
    assert groups <= {f"/aws/lambda/{name}" for name in FUNCTIONS}


COMMANDS = sorted(
    {
        line.strip().removeprefix("$ ")
        for page in ("runbook.md", "operations.md")
        for line in re.findall(
            r"^\s*(?:\$ )?(\.venv/bin/python -m ops .*)$",
            (ROOT / "docs" / page).read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_there_is(command: str) -> None:
    assert len(COMMANDS) > 5
    _, _, _, name, *arguments = shlex.split(command, comments=True)
    parser = argparse.ArgumentParser(exit_on_error=False)
    if name in ops.ELSEWHERE:
        importlib.import_module(f"ops.{name}").add_arguments(parser)
        parser.parse_args(arguments)
    else:
        assert name in ("run", "token", "demo", "ls", "throttle")
