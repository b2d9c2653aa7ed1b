"""What deployed functions tell of themselves: lines that say whose they are, metrics, and who watches."""

import json
from typing import Any

from ops.stack import STAGE, LocalStack
from tests.stack.quiet import function_logs
from tests.stack.user import User, eventually
from tests.unit.emf import data

WAY = ("on_upload", "consume")
"""The functions that tell of every job."""


def lines_of(logs: dict[str, str], job_id: str) -> dict[str, list[Any]]:
    """Function to the lines that carry the job's id."""
    found: dict[str, list[Any]] = {}
    for group, text in logs.items():
        for line in text.splitlines():
            if line.startswith("{") and (fields := json.loads(line)).get("jobId") == job_id:
                found.setdefault(group.removeprefix("/aws/lambda/"), []).append(fields)
    return found


def test_a_job_is_followed_by_its_id_through_every_function(stack: LocalStack) -> None:
    user = User(stack, stack.gateway_url)
    signed = user.upload(b'{"id": "order-1"}', filename="order.json")
    job_id = signed["jobId"]
    assert user.ended(job_id)["status"] == "COMPLETED"
    functions = {f"waybill-{STAGE}-{name}" for name in WAY}

    def told() -> dict[str, list[Any]] | None:
        found = lines_of(function_logs(stack), job_id)
        return found if found.keys() >= functions else None

    found = eventually(told, "the functions' logs tell of it")

    for function, lines in found.items():
        for line in lines:
            assert line["function"] == function
            assert line["requestId"]
            assert len(line["owner"]) == 12
    ends = [line for lines in found.values() for line in lines if line["event"] == "job.ended"]
    (end,) = ends
    counted = {(one.name, *one.dimensions.values()): one.value for one in data([json.dumps(end)])}
    assert counted[("FilesEnded", STAGE, "COMPLETED", "data")] == 1
    assert counted[("UploadToEnd", STAGE, "data")] >= 0


def test_the_alarms_and_the_dashboard_are_made(stack: LocalStack) -> None:
    watch = stack.client("cloudwatch")
    pages = watch.get_paginator("describe_alarms").paginate()
    alarms = {one["AlarmName"]: one for page in pages for one in page["MetricAlarms"]}

    ours = {name for name in alarms if name.startswith(f"waybill-{STAGE}-")}
    assert {f"waybill-{STAGE}-errors-on_upload", f"waybill-{STAGE}-sweep-silent"} <= ours
    assert alarms[f"waybill-{STAGE}-errors-on_upload"]["Dimensions"] == [
        {"Name": "FunctionName", "Value": f"waybill-{STAGE}-on_upload"}
    ]
    body = watch.get_dashboard(DashboardName=f"waybill-{STAGE}")["DashboardBody"]
    assert json.loads(body)["widgets"]
