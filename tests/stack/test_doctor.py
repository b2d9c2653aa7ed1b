"""`python -m ops doctor` on a running stack: well, and with one part after the other out of order."""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ops import deployment as deployments
from ops import doctor, sweep
from ops.doctor.findings import Finding, Level, exit_code
from ops.stack import LocalStack
from ops.state import CHECKOUT
from tests.stack.user import User, eventually


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """One of its own, in which nothing is out of order but by what happens here."""
    with LocalStack(state_dir=tmp_path_factory.mktemp("doctor")) as running:
        yield running


def command(stack: LocalStack, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops", "doctor", "--aws-port", str(stack.aws_port), *options],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def bad(stack: LocalStack) -> list[Finding]:
    found = doctor.examine(deployments.local(stack.endpoint_url))
    return [finding for finding in found if finding.level is not Level.WELL]


def test_a_stack_that_works_is_well(stack: LocalStack) -> None:
    user = User(stack)
    user.ended(user.upload(b"text")["jobId"])
    eventually(lambda: not user.keys("uploads/"), "the file is moved")

    done = command(stack)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1] == "All is well."
    assert {line[0] for line in done.stdout.splitlines()[1:-1]} == {"✓"}


def test_its_json(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(argparse.Namespace(stage=None, aws_port=stack.aws_port, json=True)) == 0

    found = json.loads(capsys.readouterr().out)["findings"]
    assert {finding["level"] for finding in found} == {"well"}
    assert {*doctor.CHECKS} == {finding["check"] for finding in found}


def test_no_stack_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(argparse.Namespace(stage=None, aws_port=9, json=False)) == 2

    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert "make run" in said.err


def test_a_queue_that_nobody_takes_from(stack: LocalStack) -> None:
    functions = stack.client("lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName="waybill-local-consume")[
        "EventSourceMappings"
    ]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        signed = User(stack).upload(b"waits")
        (finding,) = eventually(
            lambda: found if "jobs: 1 waiting" in (found := bad(stack))[0].what else None, "it waits"
        )
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    assert (finding.level, finding.check) == (Level.BAD, "queue")
    assert "nobody takes from it" in finding.what
    assert mapping["UUID"] in finding.do
    User(stack).ended(signed["jobId"])


def test_a_file_that_nothing_moves(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its event got lost, and the sweep is switched off as well."""
    s3, events, bucket = stack.client("s3"), stack.client("events"), stack.outputs["BucketName"]
    told = s3.get_bucket_notification_configuration(Bucket=bucket)
    told.pop("ResponseMetadata")
    (rule,) = [rule["Name"] for rule in events.list_rules()["Rules"] if "sweep" in rule["Name"]]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    events.disable_rule(Name=rule)
    try:
        User(stack).put("uploads/_/forgotten.txt", b"forgotten")
        deployment = deployments.local(stack.endpoint_url)
        at_once = replace(deployment.settings, sweep_after_seconds=-1)
        monkeypatch.setitem(deployment.__dict__, "settings", at_once)
        found = [finding for finding in doctor.examine(deployment) if finding.level is Level.BAD]
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)
        events.enable_rule(Name=rule)
        s3.delete_object(Bucket=bucket, Key="uploads/_/forgotten.txt")
    assert {finding.check for finding in found} == {"events", "sweep", "files"}
    (files,) = [finding for finding in found if finding.check == "files"]
    assert files.what.startswith("1 lie open: not in the ledger")
    assert "ops sweep" in files.do
    assert rule in next(finding.do for finding in found if finding.check == "sweep")


def test_a_dead_letter(stack: LocalStack) -> None:
    sqs, dead = stack.client("sqs"), stack.outputs["DeadLetterQueueUrl"]
    sqs.send_message(QueueUrl=dead, MessageBody="poison")

    done = command(stack)

    (message,) = sqs.receive_message(QueueUrl=dead)["Messages"]
    sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
    assert done.returncode == 1
    assert "jobs: 1 to look at" in done.stdout
    assert "The message is not JSON." in done.stdout
    assert f"redrive list --aws-port {stack.aws_port}" in done.stdout


def test_the_sweep_by_hand_says_what_it_found(stack: LocalStack, capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(stage=None, aws_port=stack.aws_port)

    assert sweep.run(options) == 0

    said = capsys.readouterr().out
    assert re.fullmatch(r"The sweep found (nothing|\d+ [a-z_]+(, \d+ [a-z_]+)*)\.\n", said)
    swept = [f for f in doctor.examine(deployments.local(stack.endpoint_url)) if f.check == "sweep"]
    assert "ago it found" in swept[0].what


def test_a_function_that_is_missing(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = deployments.local(stack.endpoint_url)
    monkeypatch.setitem(deployment.__dict__, "functions", ("consume", "translate"))

    (finding,) = doctor.parts.functions(deployment)

    assert (finding.level, finding.what) == (Level.BAD, "missing: translate")


def test_what_cannot_be_looked_at_does_not_hide_the_rest(stack: LocalStack) -> None:
    local = deployments.local(stack.endpoint_url)

    def client(service: str) -> Any:
        """An operator's who may not look at schedules."""
        nobody = stack.session("AKIAIOSFODNN7EXAMPLE", "unknown")
        return stack.client(service, nobody if service == "events" else None)

    found = doctor.examine(replace(local, client=client))

    assert [finding.check for finding in found if finding.level is Level.UNKNOWN] == ["sweep"]
    assert "queue" in {finding.check for finding in found if finding.level is Level.WELL}
    assert exit_code(found) == 2
