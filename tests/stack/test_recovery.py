"""Every function may do what it must where a crash has left a job: in each of the places that it can be in.

The sweeps of `tests/unit/test_crashes.py` show that a job then comes to its end; here IAM is asked as well.
Originals have a tag, as those that a scanner has looked at.
"""

import uuid
from typing import Any

import pytest

from chalicelib.jobs import Status
from ops.stack import LocalStack
from tests.stack.left import PREFIXES, invoke, leave, ledger
from tests.stack.user import User

SOMETHING = b"some text\n"

everywhere = pytest.mark.parametrize("prefix", PREFIXES)


@everywhere
@pytest.mark.parametrize("step", ["validate", "detect", "process"])
def test_a_step_refuses_a_file_wherever_it_lies(stack: LocalStack, step: str, prefix: str) -> None:
    left = leave(stack, prefix, b"")

    invoke(stack, step, left.task)

    verdict = left.now().verdict
    assert verdict
    assert (verdict["status"], verdict["error"]["code"]) == (Status.REJECTED, "empty_file")
    assert f"rejected/_/{left.job.job_id}/file" in left.objects()


@everywhere
def test_a_worker_finds_its_file_wherever_it_lies(stack: LocalStack, prefix: str) -> None:
    left = leave(stack, prefix, SOMETHING)

    assert invoke(stack, "process", left.task) == {"next": "finish"}

    assert f"processed/_/{left.job.job_id}/file" in left.objects()


@everywhere
@pytest.mark.parametrize("step", ["finish", "fail"])
def test_a_job_without_a_verdict_fails_wherever_its_file_lies(
    stack: LocalStack, step: str, prefix: str
) -> None:
    left = leave(stack, prefix, SOMETHING)

    assert invoke(stack, step, left.task) == {"next": "ended"}

    assert left.now().status is Status.FAILED
    assert f"failed/_/{left.job.job_id}/file" in left.objects()
    assert f"uploads/_/{left.job.job_id}/file" not in left.objects()


@pytest.mark.parametrize("body", [SOMETHING, b""])
@everywhere
def test_the_consumer_finds_its_file_wherever_it_lies(stack: LocalStack, prefix: str, body: bytes) -> None:
    left = leave(stack, prefix, body, claimed=False)

    invoke(stack, "consume", left.message)

    assert left.now().status is (Status.COMPLETED if body else Status.REJECTED)


@pytest.mark.parametrize("function", ["consume", "detect", "process"])
def test_a_job_that_has_no_tries_left_fails(stack: LocalStack, function: str) -> None:
    left = leave(stack, "rejected/", SOMETHING, claimed=function != "consume")
    stack.client("dynamodb").update_item(
        TableName=stack.outputs["JobsTable"],
        Key={"owner": {"S": "_"}, "jobId": {"S": left.job.job_id}},
        UpdateExpression="SET attempts = :many",
        ExpressionAttributeValues={":many": {"N": "99"}},
    )

    invoke(stack, function, left.message if function == "consume" else left.task)

    job = left.now()
    assert (job.verdict or {"status": job.status})["status"] == Status.FAILED
    assert f"failed/_/{job.job_id}/file" in left.objects()


@pytest.mark.parametrize(
    "function",
    ["validate", "detect", "process", "finish", "fail", "find_speech", "fetch_transcript", "consume"],
)
def test_what_is_left_of_a_deleted_job_goes_from_everywhere(stack: LocalStack, function: str) -> None:
    left = leave(stack, "processed/", SOMETHING)
    ledger(stack).delete(left.job)
    left.scatter()
    told: dict[str, Any] = left.message if function == "consume" else left.task
    told |= {"speech": {"request": {"OutputKey": f"processed/_/{left.job.job_id}/left"}}}

    invoke(stack, function, told)

    assert left.objects() == []


@pytest.mark.parametrize("prefix", ["uploads/", "incoming/"])
def test_a_job_is_deleted_wherever_its_files_lie(stack: LocalStack, prefix: str) -> None:
    left = leave(stack, prefix, SOMETHING)
    left.scatter()

    assert User(stack).call("DELETE", f"/jobs/{left.job.job_id}").status == 204

    assert left.objects() == []
    assert left.now().status is Status.DELETED


@pytest.mark.parametrize(
    ("function", "folder"), [("on_upload", "uploads/somebody/"), ("on_incoming", "incoming/")]
)
def test_the_event_of_a_file_that_is_gone_enters_nothing(
    stack: LocalStack, function: str, folder: str
) -> None:
    bucket, key = stack.outputs["BucketName"], f"{folder}{uuid.uuid4()}.json"
    told = {"key": key, "size": 1, "eTag": "e"}
    record = {"eventTime": "2026-01-01T00:00:00Z", "s3": {"bucket": {"name": bucket}, "object": told}}

    invoke(stack, function, {"Records": [record]})

    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stack.outputs["JobsTable"],
            FilterExpression="sourceKey = :key",
            ExpressionAttributeValues={":key": {"S": key}},
        )
    )
    assert [item for page in pages for item in page["Items"]] == []
