"""What the queue promises: a bad message hurts no neighbour, and no failed one is ever acknowledged."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ops.stack import LocalStack
from tests.stack.user import User, eventually


@contextmanager
def mapping_reports(stack: LocalStack, function: str, *, failures: bool) -> Iterator[None]:
    """Switch a function's event source mapping to reporting partial failures, or off it."""
    functions = stack.client("lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName=f"waybill-local-{function}")[
        "EventSourceMappings"
    ]
    wanted = ["ReportBatchItemFailures"] if failures else []
    functions.update_event_source_mapping(UUID=mapping["UUID"], FunctionResponseTypes=wanted)
    try:
        yield
    finally:
        functions.update_event_source_mapping(
            UUID=mapping["UUID"], FunctionResponseTypes=mapping.get("FunctionResponseTypes", [])
        )


def dead_letters(stack: LocalStack) -> list[str]:
    sqs, url = stack.client("sqs"), stack.outputs["DeadLetterQueueUrl"]
    bodies = []
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in found:
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


@pytest.mark.parametrize("reports", [False, True], ids=["plain mapping", "ReportBatchItemFailures"])
def test_bad_messages_end_in_the_dead_letter_queue_and_neighbours_are_done_once(
    stack: LocalStack, reports: bool
) -> None:
    user = User(stack)
    poison = [
        "not JSON",
        "[]",
        json.dumps({"v": 99, "owner": "_"}),
        json.dumps(
            {"v": 1, "bucket": "somebody-elses", "owner": "_", "jobId": "x", "key": "uploads/x", "etag": "e"}
        ),
    ]
    with mapping_reports(stack, "consume", failures=reports):
        stack.client("sqs").send_message_batch(
            QueueUrl=stack.outputs["QueueUrl"],
            Entries=[{"Id": str(n), "MessageBody": body} for n, body in enumerate(poison)],
        )
        signed = [user.upload(f"neighbour {n}".encode()) for n in range(12)]
        jobs = [user.ended(one["jobId"]) for one in signed]
        buried: list[str] = []

        def all_buried() -> bool:
            buried.extend(dead_letters(stack))
            return len(buried) >= len(poison)

        eventually(all_buried, "the bad messages are dead letters")

    assert {job["status"] for job in jobs} == {"COMPLETED"}
    assert {job["attempts"] for job in jobs} == {1}
    assert sorted(buried) == sorted(poison)


def test_a_redelivered_message_of_an_ended_job_changes_nothing(stack: LocalStack) -> None:
    user = User(stack)
    signed = user.upload(b"once")
    job = user.ended(signed["jobId"])
    before: Any = next(i for i in user.items("JobsTable") if i["jobId"]["S"] == job["jobId"])

    stack.client("sqs").send_message(
        QueueUrl=stack.outputs["QueueUrl"],
        MessageBody=json.dumps(
            {
                "v": 1,
                "bucket": user.bucket,
                "owner": "_",
                "jobId": job["jobId"],
                "key": signed["s3Key"],
                "etag": before["etag"]["S"],
                "size": 4,
                "sequencer": before["sequencer"]["S"],
            }
        ),
    )
    user.ended(user.upload(b"marker")["jobId"])

    after: Any = next(i for i in user.items("JobsTable") if i["jobId"]["S"] == job["jobId"])
    assert after == before
