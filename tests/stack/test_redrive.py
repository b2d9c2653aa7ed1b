"""`python -m ops redrive` on a running stack: dead letters of the consumer, sent until their jobs end."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import pytest

from chalicelib.webhooks.delivery import Delivery
from ops import letters
from ops import redrive as command
from ops.stack import LocalStack
from tests.stack.test_webhooks import receiving
from tests.stack.user import User, eventually


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """One of its own: on a shared one, a message that another test has left comes due and dies here."""
    with LocalStack(state_dir=tmp_path_factory.mktemp("redrive")) as running:
        yield running


def redrive(stack: LocalStack, *arguments: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    out = StringIO()
    with redirect_stdout(out):
        code = command.run(parser.parse_args([*arguments, "--aws-port", str(stack.aws_port)]))
    return code, out.getvalue()


@contextmanager
def storage_closed_to_the_consumer(stack: LocalStack) -> Iterator[None]:
    """Every attempt fails, and the queue gives up after one of them."""
    iam, sqs = stack.client("iam"), stack.client("sqs")
    role = "waybill-local-consume"
    queue = stack.outputs["QueueUrl"]
    names = ["RedrivePolicy", "VisibilityTimeout"]
    before = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    impatient = json.loads(before["RedrivePolicy"]) | {"maxReceiveCount": 1}
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
    iam.put_role_policy(
        RoleName=role,
        PolicyName="closed",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [deny]}),
    )
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": json.dumps(impatient)})
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=before)
        iam.delete_role_policy(RoleName=role, PolicyName="closed")


def test_dead_letters_are_listed_and_sent_back_and_their_jobs_end(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "WAIT_SECONDS", 0)  # this queue is on one server
    user = User(stack)

    def listed() -> list[dict[str, str]]:
        return [json.loads(line) for line in redrive(stack, "list", "--json")[1].splitlines()]

    with storage_closed_to_the_consumer(stack):
        stuck, ended = (user.upload(b"text %d" % n)["jobId"] for n in range(2))
        stack.client("sqs").send_message(QueueUrl=stack.outputs["QueueUrl"], MessageBody="poison")
        dead = eventually(lambda: found if len(found := listed()) == 3 else None, "three dead letters")
    assert {letter["subject"]: letter["fate"] for letter in dead} == {
        stuck: "send",
        ended: "send",
        None: "stay",
    }

    before = user.job(stuck)
    code, out = redrive(stack, "send", "--all", "--dry-run")
    assert (code, out.splitlines()[-1]) == (1, "Nothing was changed: 1 left, 2 sent")
    assert user.job(stuck) == before

    assert redrive(stack, "send", ended)[0] == 0
    assert user.ended(ended)["status"] == "COMPLETED"
    item = next(i for i in user.items("JobsTable") if i["jobId"]["S"] == ended)
    letter = {
        "v": 1,
        "bucket": user.bucket,
        "owner": "_",
        "jobId": ended,
        "etag": item["etag"]["S"],
    }
    stack.client("sqs").send_message(
        QueueUrl=stack.outputs["DeadLetterQueueUrl"], MessageBody=json.dumps(letter)
    )
    code, out = redrive(stack, "send", "--all")
    assert (code, out.splitlines()[-1]) == (1, "1 dropped, 1 left, 1 sent")
    assert user.ended(stuck)["status"] == "COMPLETED"

    (poison,) = listed()
    code, out = redrive(stack, "show", poison["letter"][:8])
    assert (code, "poison" in out) == (0, True)
    assert redrive(stack, "drop", poison["letter"])[0] == 0
    assert redrive(stack, "list") == (0, "No dead letters.\n")


def test_a_dead_delivery_is_sent_back_and_reaches_its_webhook(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "WAIT_SECONDS", 0)
    user = User(stack)
    with receiving(200) as receiver:
        hook = user.call("POST", "/webhooks", {"url": receiver.url}).json
        going = Delivery("_", hook["id"], "job-completed-1", "waybill.job.completed", "job", b"{}")
        stack.client("sqs").send_message(
            QueueUrl=stack.outputs["DeliveriesDeadLetterQueueUrl"], MessageBody=going.message()
        )
        code, out = redrive(stack, "list", "--queue", "deliveries")
        assert (code, f"webhook {hook['id']} did not take it" in out) == (0, True)

        assert redrive(stack, "send", "job-completed-1")[0] == 0

        # The ends of the jobs of the test before may be announced to it as well.
        eventually(lambda: receiver.ids.count("job-completed-1") == 1, "it arrives")
        user.call("DELETE", f"/webhooks/{hook['id']}")
    assert redrive(stack, "list") == (0, "No dead letters.\n")
