"""The doctor's findings: each state in which a file can lie open, what is told of it, and the exit code."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import executions, intake, scans
from chalicelib.jobs import Job, Status
from chalicelib.settings import Settings
from ops import letters
from ops.deployment import Deployment
from ops.doctor import heavy, parts, work
from ops.doctor.findings import Finding, Level, exit_code, lines
from tests.unit.flow import Flow, bystander
from tests.unit.machine import Machine, with_machine


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    monkeypatch.setattr(letters, "WAIT_SECONDS", 0)
    monkeypatch.setattr(work, "period", lambda _: 300.0)
    return Flow(aws, monkeypatch)


@pytest.fixture
def deployment(aws: Settings) -> Deployment:
    outputs = {
        "BucketName": aws.bucket,
        "QueueUrl": aws.queue_url,
        "DeadLetterQueueUrl": f"{aws.queue_url}-dead",
        "TopicArn": aws.topic_arn,
    }
    found = Deployment("test", aws.region, outputs, lambda service: bystander(service, aws.region))
    # Every file has lain for too long.
    found.__dict__["settings"] = replace(aws, sweep_after_seconds=-1)
    return found


def queued(flow: Flow) -> str:
    key = flow.new_key("order.json")
    intake.on_objects_created(flow.settings, flow.put(key, b'{"id": "order-1"}'))
    return key


def not_in_the_ledger(flow: Flow) -> str:
    key = flow.new_key("order.json")
    flow.put(key, b"{}")
    return key


def abandoned(flow: Flow) -> str:
    key = queued(flow)
    job = flow.job(key)
    _, claimed = flow.ledger.claim(job.owner, job.job_id, job.etag)
    assert claimed is not None
    flow.ledger.release(claimed)
    return key


def ended(flow: Flow) -> str:
    key = queued(flow)
    flow.consume()
    bystander("s3", flow.settings.region).put_object(
        Bucket=flow.settings.bucket, Key=key, Body=b'{"id": "order-1"}'
    )
    return key


def deleted(flow: Flow) -> str:
    key = queued(flow)
    flow.ledger.delete(flow.job(key))
    return key


class TestFiles:
    @pytest.mark.parametrize(
        ("make", "state"),
        [
            (not_in_the_ledger, "not in the ledger"),
            (queued, "QUEUED"),
            (abandoned, "PROCESSING, and nobody works on it"),
            (ended, "ended, and not cleared away"),
            (deleted, "deleted, and not cleared away"),
        ],
    )
    def test_each_state_that_a_file_can_be_stuck_in(
        self, flow: Flow, deployment: Deployment, make: Callable[[Flow], str], state: str
    ) -> None:
        job_id = make(flow).split("/")[2]

        (finding,) = work.open_files(deployment)

        assert finding.what.startswith(f"1 lie open: {state}")
        assert job_id in finding.what
        assert finding.level is Level.NOTE  # the next sweep is at hand
        assert finding.why

    @pytest.mark.parametrize(
        ("tag", "level", "state"),
        [
            (None, Level.BAD, "not scanned for malware"),
            (scans.CLEAN, Level.BAD, "QUEUED"),  # its event got lost, and no sweep has come
        ],
    )
    def test_no_sweep_helps_what_nobody_scans(
        self,
        flow: Flow,
        deployment: Deployment,
        monkeypatch: pytest.MonkeyPatch,
        tag: str | None,
        level: Level,
        state: str,
    ) -> None:
        key = queued(flow)
        settings = deployment.settings
        deployment.__dict__["settings"] = replace(settings, malware_scan="guardduty")
        monkeypatch.setattr(work, "period", lambda _: -1.0)
        if tag:
            bystander("s3", settings.region).put_object_tagging(
                Bucket=settings.bucket, Key=key, Tagging={"TagSet": [{"Key": scans.TAG, "Value": tag}]}
            )

        (finding,) = work.open_files(deployment)

        assert (finding.level, finding.what.startswith(f"1 lie open: {state}")) == (level, True)
        assert ("ops sweep" in finding.do, "docs/malware.md" in finding.do) == (bool(tag), not tag)

    def test_late_for_two_sweeps_needs_a_hand(
        self, flow: Flow, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queued(flow)
        monkeypatch.setattr(work, "period", lambda _: -1.0)

        (finding,) = work.open_files(deployment)

        assert (finding.level, "ops sweep" in finding.do) == (Level.BAD, True)

    def test_without_a_schedule_needs_a_hand(
        self, flow: Flow, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queued(flow)
        monkeypatch.setattr(work, "period", lambda _: None)

        assert [finding.level for finding in work.open_files(deployment)] == [Level.BAD]

    def test_what_a_worker_is_at_is_not_stuck(self, flow: Flow, deployment: Deployment) -> None:
        job = flow.job(queued(flow))
        flow.ledger.claim(job.owner, job.job_id, job.etag)

        (finding,) = work.open_files(deployment)

        assert (finding.level, finding.what) == (Level.WELL, "1 under way, none for long")

    def test_what_has_just_come_is_not_stuck(self, flow: Flow, deployment: Deployment) -> None:
        queued(flow)
        deployment.__dict__["settings"] = flow.settings

        assert [finding.level for finding in work.open_files(deployment)] == [Level.WELL]

    def test_says_what_it_did_not_look_at(
        self, flow: Flow, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(work, "MAX_OBJECTS", 5)
        monkeypatch.setattr(work, "MAX_LOOKED_UP", 3)
        for _ in range(7):
            not_in_the_ledger(flow)

        (finding,) = work.open_files(deployment)

        assert finding.what.startswith("3 lie open")
        assert "no more than 5 were listed under uploads/" in finding.what
        assert "only the 3 oldest of 5 were looked up" in finding.what

    def test_changes_nothing(self, flow: Flow, deployment: Deployment) -> None:
        key = queued(flow)
        before = flow.job(key), flow.objects()

        list(work.open_files(deployment))

        assert (flow.job(key), flow.objects()) == before


class TestHeavyWork:
    @pytest.fixture
    def held(self, flow: Flow, deployment: Deployment) -> Job:
        """A job in the hands of an execution that was not started yet."""
        settings = with_machine(deployment.settings)
        deployment.__dict__["settings"] = settings
        job = flow.job(queued(flow))
        _, claimed = flow.ledger.claim(job.owner, job.job_id, job.etag)
        assert claimed is not None
        return executions.hand_over(settings, flow.ledger, claimed)

    def states(self, deployment: Deployment) -> list[str]:
        return [finding.what for finding in work.open_files(deployment)]

    def test_an_execution_at_work_is_well(self, deployment: Deployment, held: Job) -> None:
        executions.start(deployment.settings, held)

        assert self.states(deployment) == ["1 under way, none for long"]
        (finding,) = heavy.state_machine(deployment)
        assert (finding.level, finding.what) == (Level.WELL, "state machine: 1 at work, the oldest for 0 s")

    def test_one_that_takes_long_is_named(
        self, deployment: Deployment, held: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        executions.start(deployment.settings, held)
        monkeypatch.setattr(heavy, "LONG", -1.0)
        monkeypatch.setattr(work, "period", lambda _: None)

        (finding,) = work.open_files(deployment)

        assert finding.level is Level.NOTE
        assert "in an execution for over an hour" in finding.what
        assert held.job_id in finding.what

    def test_one_that_has_ended_or_was_never_started_left_its_job_behind(
        self, flow: Flow, deployment: Deployment, held: Job
    ) -> None:
        assert "its execution was never started" in self.states(deployment)[0]
        executions.start(deployment.settings, held)
        flow.settings = deployment.settings
        Machine(flow).stop(str(held.lease))
        assert "its execution has ended" in self.states(deployment)[0]

    def test_a_state_machine_that_is_missing(self, deployment: Deployment, held: Job) -> None:
        del held
        arn = str(deployment.settings.state_machine_arn)
        bystander("stepfunctions", deployment.region).delete_state_machine(stateMachineArn=arn)

        (finding,) = heavy.state_machine(deployment)

        assert (finding.level, "state machine is missing" in finding.what) == (Level.BAD, True)

    def test_a_stage_without_one(self, flow: Flow, deployment: Deployment) -> None:
        del flow
        assert [finding.level for finding in heavy.state_machine(deployment)] == [Level.WELL]


class TestDeadLetters:
    def test_are_counted_by_what_becomes_of_them(self, flow: Flow, deployment: Deployment) -> None:
        sqs, url = bystander("sqs", flow.settings.region), f"{flow.settings.queue_url}-dead"
        for body in ("poison", "more poison"):
            sqs.send_message(QueueUrl=url, MessageBody=body)
        key = queued(flow)
        (record,) = flow.messages()
        sqs.send_message(QueueUrl=url, MessageBody=record["body"])

        (finding,) = work.dead_letters(deployment)

        assert finding.level is Level.BAD
        assert finding.what == "jobs: 1 to send, 2 to look at"
        assert "-m ops redrive list --stage test; " in finding.do
        assert flow.job(key).status is Status.QUEUED
        assert len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 3

    def test_none(self, flow: Flow, deployment: Deployment) -> None:
        del flow
        assert [finding.level for finding in work.dead_letters(deployment)] == [Level.WELL]


class TestWebhooks:
    def test_those_that_get_nothing_are_counted(self, flow: Flow, deployment: Deployment) -> None:
        for n in range(3):
            item: Any = {"owner": {"S": "a"}, "webhookId": {"S": f"wh_{n}"}}
            if n:
                item["disabled"] = {"M": {"reason": {"S": "gone"}}}
            bystander("dynamodb", flow.settings.region).put_item(
                TableName=flow.settings.webhooks_table, Item=item
            )

        (finding,) = work.webhooks(deployment)

        assert (finding.level, finding.what) == (Level.NOTE, "2 of 3 are disabled")


def test_functions_that_were_never_deployed(flow: Flow, deployment: Deployment) -> None:
    del flow
    (finding,) = parts.functions(deployment)

    assert finding.level is Level.BAD
    assert all(name in finding.what for name in ("api_handler", "consume", "sweep"))


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        ([], 0),
        ([Level.WELL, Level.NOTE], 0),
        ([Level.WELL, Level.BAD, Level.UNKNOWN], 1),
        ([Level.UNKNOWN, Level.WELL], 2),
    ],
)
def test_the_exit_code(levels: list[Level], code: int) -> None:
    assert exit_code([Finding(level, "a check", "something") for level in levels]) == code


def test_the_table() -> None:
    found = [
        Finding(Level.WELL, "queue", "jobs: 0 waiting"),
        Finding(Level.BAD, "dead letters", "1\x1b[2J to send", "3 min", "S3 was down", "redrive"),
    ]

    assert list(lines(found)) == [
        "✓  queue         jobs: 0 waiting",
        "✗  dead letters  1�[2J to send, since 3 min",
        "     why  S3 was down",
        "     do   redrive",
    ]
    assert json.loads(json.dumps(found[1].as_json()))["level"] == "bad"
