"""Dead letters: what is told of each, what is done with it, and what is left as it was."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import intake
from chalicelib.jobs import Job, Status
from chalicelib.messages import body_of
from chalicelib.settings import Settings
from chalicelib.telemetry import owner_hash
from chalicelib.webhooks import delivery, registry
from chalicelib.webhooks.delivery import Delivery
from chalicelib.webhooks.webhook import Webhook
from ops import deployment as deployments
from ops import letters, redrive
from ops.deployment import CannotLook, Deployment
from ops.letters import KINDS, Box
from tests.unit.flow import Flow, bystander

Run = Callable[..., int]


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


@pytest.fixture
def deployment(aws: Settings) -> Deployment:
    outputs = {
        "BucketName": aws.bucket,
        "JobsTable": aws.jobs_table,
        "EventsTable": aws.events_table,
        "WebhooksTable": aws.webhooks_table,
        "QueueUrl": aws.queue_url,
        "DeadLetterQueueUrl": f"{aws.queue_url}-dead",
        "DeliveriesTable": aws.deliveries_table,
        "DeliveriesQueueUrl": aws.deliveries_queue_url,
        "DeliveriesDeadLetterQueueUrl": aws.deliveries_dead_letter_queue_url,
        "TopicArn": aws.topic_arn,
    }
    return Deployment("test", aws.region, outputs, lambda service: bystander(service, aws.region))


@pytest.fixture
def run(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(letters, "WAIT_SECONDS", 0)
    monkeypatch.setattr(deployments, "find", lambda _options: deployment)

    def command(*arguments: str) -> int:
        parser = argparse.ArgumentParser()
        redrive.add_arguments(parser)
        return redrive.run(parser.parse_args(list(arguments)))

    return command


def bury(flow: Flow, *bodies: str) -> None:
    for body in bodies:
        bystander("sqs", flow.settings.region).send_message(
            QueueUrl=f"{flow.settings.queue_url}-dead", MessageBody=body
        )


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def depths(flow: Flow) -> tuple[int, int]:
    """Messages on the jobs queue, and dead letters that anybody can receive."""
    found = [
        bystander("sqs", flow.settings.region).get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]["ApproximateNumberOfMessages"]
        for url in (flow.settings.queue_url, f"{flow.settings.queue_url}-dead")
    ]
    return int(found[0]), int(found[1])


def dead_job(flow: Flow) -> Job:
    """An open job whose message is a dead letter, and nowhere else."""
    key = flow.new_key("order.json")
    event = flow.put(key, b'{"id": "order-1"}')
    intake.on_objects_created(flow.settings, event)
    (record,) = flow.messages()
    bystander("sqs", flow.settings.region).delete_message(
        QueueUrl=flow.settings.queue_url, ReceiptHandle=record["receiptHandle"]
    )
    flow.messages().clear()
    bury(flow, record["body"])
    return flow.job(key)


class TestList:
    def test_tells_of_each_letter_what_it_is_about(
        self, flow: Flow, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = dead_job(flow)
        bury(flow, "not JSON")
        capsys.readouterr()

        assert run("list", "--json") == 0

        told = {letter["status"]: letter for letter in map(json.loads, capsys.readouterr().out.splitlines())}
        assert (told["QUEUED"]["subject"], told["QUEUED"]["fate"]) == (job.job_id, "send")
        assert told["QUEUED"]["ownerHash"] == owner_hash(job.owner)
        assert (told[None]["fate"], told[None]["reason"]) == ("stay", "The message is not JSON.")

    def test_hides_no_letter(self, flow: Flow, run: Run) -> None:
        bury(flow, *(f"poison {n}" for n in range(25)))

        assert run("list") == 0
        assert run() == 0

        assert depths(flow) == (0, 25)

    def test_stops_at_its_limit_and_says_what_is_left(
        self, flow: Flow, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bury(flow, *(f"poison {n}" for n in range(25)))

        run("list", "--limit", "12")

        told = capsys.readouterr()
        assert len(told.out.splitlines()) == 13
        assert "about 13 more" in told.err
        assert depths(flow) == (0, 25)

    def test_gives_back_what_it_holds_when_judging_fails(self, flow: Flow, deployment: Deployment) -> None:
        bury(flow, "poison")

        def fail(*_: Any) -> Any:
            raise RuntimeError

        broken = letters.Kind("jobs", "DeadLetterQueueUrl", "QueueUrl", fail)
        with pytest.raises(RuntimeError), Box(deployment, broken) as box:
            list(box.judged(10))

        assert depths(flow) == (0, 1)

    def test_nothing_in_a_body_reaches_the_terminal_as_a_command(
        self, flow: Flow, run: Run, deployment: Deployment, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bury(flow, "\x1b[2Jgone")
        bury(flow, json.dumps({"v": 1, "bucket": "\x1b[2J"}))

        with Box(deployment, KINDS[0]) as box:
            ids = [letter.id for some in box.judged(10) for letter, _ in some]
        for id in ids:
            assert run("show", id) == 0

        assert "\x1b" not in capsys.readouterr().out

    def test_without_letters_says_so(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        assert run() == 0
        assert capsys.readouterr().out == "No dead letters.\n"


class TestShow:
    def test_shows_owner_body_and_job(self, flow: Flow, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        job = dead_job(flow)

        assert run("show", job.job_id) == 0

        told = capsys.readouterr().out
        assert body_of(flow.settings.bucket, job) in told
        assert '"order.json"' in told
        assert depths(flow) == (0, 1)

    def test_a_letter_that_is_not_there(
        self, flow: Flow, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        dead_job(flow)

        assert run("show", "nowhere") == 1

        assert capsys.readouterr().err == "error: no dead letter is, or is about, nowhere\n"


class TestSend:
    def test_a_dry_run_changes_nothing(
        self, flow: Flow, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = dead_job(flow)

        assert run("send", "--all", "--dry-run") == 0

        assert depths(flow) == (0, 1)
        assert flow.ledger.find(job.owner, job.job_id) == job
        assert capsys.readouterr().out.splitlines()[-1] == "Nothing was changed: 1 sent"

    def test_an_open_job_goes_on_to_its_end(self, flow: Flow, run: Run) -> None:
        job = dead_job(flow)

        assert run("send", "--all") == 0

        assert depths(flow) == (1, 0)
        flow.consume()
        assert flow.job(job.source_key).status is Status.COMPLETED

    def test_by_id_sends_that_one_alone(self, flow: Flow, run: Run) -> None:
        one, _other = dead_job(flow), dead_job(flow)

        assert run("send", one.job_id) == 0

        assert depths(flow) == (1, 1)
        assert json.loads(flow.messages()[0]["body"])["jobId"] == one.job_id

    def test_names_or_all_must_be_said(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("send") == 2
        assert "--all" in capsys.readouterr().err

    def test_a_job_with_its_tries_used_up_gets_them_anew(self, flow: Flow, run: Run) -> None:
        job = dead_job(flow)
        for _ in range(flow.settings.max_attempts):
            _, claimed = flow.ledger.claim(job.owner, job.job_id, job.etag)
            assert claimed is not None
            flow.ledger.release(claimed, {"code": "storage_unavailable", "message": "S3 was down."})
            flow.clock.advance(1)

        assert run("send", "--all") == 0
        flow.consume()

        assert flow.job(job.source_key).status is Status.COMPLETED

    @pytest.mark.parametrize("how", ["ended", "deleted", "superseded", "gone"])
    def test_the_letter_of_a_job_that_needs_none_is_dropped(
        self, flow: Flow, run: Run, how: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = dead_job(flow)
        if how == "ended":
            flow.send(body_of(flow.settings.bucket, job))
            flow.consume()
        elif how == "deleted":
            flow.ledger.delete(job)
        elif how == "superseded":
            intake.on_objects_created(flow.settings, flow.put(job.source_key, b'{"id": "newer"}'))
            flow.consume()
        else:
            bystander("dynamodb", flow.settings.region).delete_item(
                TableName=flow.settings.jobs_table,
                Key={"owner": {"S": job.owner}, "jobId": {"S": job.job_id}},
            )
        before = flow.ledger.find(job.owner, job.job_id)

        assert run("send", "--all") == 0

        assert depths(flow) == (0, 0)
        assert flow.ledger.find(job.owner, job.job_id) == before
        assert capsys.readouterr().out.splitlines()[-1] == "1 dropped"

    def test_what_is_no_message_stays(self, flow: Flow, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        bury(flow, "not JSON", '{"v": 99}')
        dead_job(flow)

        assert run("send", "--all") == 1

        assert depths(flow) == (1, 2)
        assert capsys.readouterr().out.splitlines()[-1] == "2 left, 1 sent"

    def test_a_letter_that_its_queue_refuses_stays(
        self, flow: Flow, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dead_job(flow)
        refusal = {"Failed": [{"Id": "0", "SenderFault": False, "Code": "ServiceUnavailable"}]}
        sqs = bystander("sqs", flow.settings.region)
        monkeypatch.setattr(sqs, "send_message_batch", lambda **_: refusal, raising=False)

        assert run("send", "--all") == 1

        assert depths(flow) == (0, 1)

    def test_a_crash_between_sending_and_deleting_leaves_it_twice_and_loses_nothing(
        self, flow: Flow, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = dead_job(flow)
        with monkeypatch.context() as crash:
            crash.setattr(Box, "drop", interrupt)
            assert run("send", "--all") == 130
        assert depths(flow) == (1, 1)
        flow.consume()

        assert run("send", "--all") == 0

        assert depths(flow) == (0, 0)
        assert flow.published_ids(job.job_id) == [flow.event_id(flow.job(job.source_key))]

    def test_many(self, flow: Flow, run: Run) -> None:
        for _ in range(3):
            dead_job(flow)
        bury(flow, *(f"poison {n}" for n in range(60)))

        assert run("send", "--all") == 1

        assert depths(flow) == (3, 60)


class TestDrop:
    def test_throws_away_what_is_named(self, flow: Flow, run: Run, deployment: Deployment) -> None:
        bury(flow, "poison", "more poison")
        with Box(deployment, KINDS[0]) as box:
            ids = [letter.id for some in box.judged(10) for letter, _ in some]

        assert run("drop", ids[0][:8], "--dry-run") == 0
        assert depths(flow) == (0, 2)
        assert run("drop", ids[0][:8]) == 0
        assert depths(flow) == (0, 1)


class TestDeliveries:
    @pytest.fixture
    def webhook(self, aws: Settings) -> Webhook:
        request = {"url": "https://example.com/hook"}
        made = registry.register(aws, "alice", request)
        found = registry.find(aws, "alice", made["id"])
        assert found is not None
        return found

    def bury(self, settings: Settings, webhook: Webhook) -> Delivery:
        going = Delivery("alice", webhook.id, "job-completed-1", "waybill.job.completed", "job", b"{}")
        delivery.bury(settings, going.message(), "503")
        return going

    def test_are_sent_back_as_they_were(self, aws: Settings, run: Run, webhook: Webhook) -> None:
        going = self.bury(aws, webhook)

        assert run("send", "job-completed-1") == 0

        queue = bystander("sqs", aws.region)
        (message,) = queue.receive_message(
            QueueUrl=aws.deliveries_queue_url,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["MessageGroupId"],
        )["Messages"]
        assert Delivery.parse(message["Body"]) == going
        assert "MessageAttributes" not in message
        assert message["Attributes"]["MessageGroupId"] == owner_hash("alice")

    def test_are_listed_with_what_the_endpoint_answered(
        self, aws: Settings, run: Run, webhook: Webhook, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.bury(aws, webhook)

        assert run("list", "--queue", "deliveries") == 0

        assert f"webhook {webhook.id} did not take it (503)" in capsys.readouterr().out

    def test_those_of_a_webhook_that_is_gone_are_dropped(
        self, aws: Settings, run: Run, webhook: Webhook, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.bury(aws, webhook)
        registry.remove(aws, "alice", webhook.id)

        assert run("send", "--all") == 0

        assert capsys.readouterr().out.splitlines()[-1] == "1 dropped"

    def test_those_of_a_disabled_one_wait_until_it_is_enabled(
        self, aws: Settings, run: Run, webhook: Webhook, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.bury(aws, webhook)
        registry.disable(aws, webhook, "gone")

        assert run("send", "--all") == 1

        assert "its owner has to enable it first" in capsys.readouterr().out

    def test_what_is_no_delivery_stays(self, aws: Settings, run: Run) -> None:
        delivery.bury(aws, "poison", "bad_message")

        assert run("send", "--all") == 1


def test_a_queue_that_the_deployment_does_not_have(
    run: Run, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(deployment.outputs, dict)
    del deployment.outputs["DeliveriesQueueUrl"]

    assert run() == 0
    assert run("list", "--queue", "deliveries") == 2
    assert "has no queue of deliveries" in capsys.readouterr().err


def test_nothing_is_running() -> None:
    with pytest.raises(CannotLook, match="`make run` starts the local stack; --aws-port names its AWS_PORT"):
        deployments.local("http://127.0.0.1:9")


def record(function: str, payload: Any) -> str:
    """As Lambda writes it when it has given up on an event."""
    return json.dumps(
        {
            "version": "1.0",
            "timestamp": "2026-01-02T03:04:05.678Z",
            "requestContext": {
                "requestId": "e4b46cbf-b738-4880-8e21-4e5f2a4f7b4d",
                "functionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{function}:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": payload,
            "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
            "responsePayload": {"errorMessage": "The queue\ndid not take it.", "errorType": "Unavailable"},
        }
    )


EVENT = {"id": "a-job-completed-1", "subject": "a-job", "data": {"owner": "alice"}}
TOLD = {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps(EVENT)}}]}
UPLOADED = {"Records": [{"s3": {"object": {"key": "uploads/_/x/a+name%2B.txt"}}}]}


class TestFailedEvents:
    @pytest.fixture
    def called(self) -> list[dict[str, Any]]:
        """With what Lambda was called."""
        return []

    @pytest.fixture
    def deployment(self, deployment: Deployment, called: list[dict[str, Any]]) -> Deployment:
        queue = bystander("sqs", deployment.region).create_queue(QueueName="failed-events")["QueueUrl"]

        class Lambda:
            def __getattr__(self, name: str) -> Any:
                return getattr(deployment.client("lambda"), name)

            def invoke(self, **request: Any) -> Any:
                called.append(request)
                return {"StatusCode": 500 if "refuse" in str(request["Payload"]) else 202}

        return replace(
            deployment,
            outputs={**deployment.outputs, "FailedEventsQueueUrl": queue},
            client=lambda service: Lambda() if service == "lambda" else deployment.client(service),
        )

    @pytest.fixture
    def bury(self, deployment: Deployment) -> Callable[..., None]:
        def send(*bodies: str) -> None:
            for body in bodies:
                deployment.client("sqs").send_message(
                    QueueUrl=deployment.outputs["FailedEventsQueueUrl"], MessageBody=body
                )

        return send

    def test_are_listed_with_what_they_are_about(
        self, bury: Callable[..., None], run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bury(record("waybill-test-notify", TOLD), record("waybill-test-on_upload", UPLOADED))

        assert run("list", "--json", "--queue", "events") == 0

        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {(letter["subject"], letter["fate"]) for letter in told} == {
            ("a-job-completed-1", "send"),
            ("uploads/_/x/a name+.txt", "send"),
        }
        assert told[0]["reason"] == "notify: RetriesExhausted (The queue did not take it.)"

    def test_are_given_to_their_function_once_more(
        self, bury: Callable[..., None], run: Run, called: list[dict[str, Any]]
    ) -> None:
        bury(record("waybill-test-notify", TOLD))

        assert run("send", "--all") == 0

        (call,) = called
        assert (call["FunctionName"], call["InvocationType"]) == ("waybill-test-notify", "Event")
        assert json.loads(call["Payload"]) == TOLD
        assert run("list") == 0
        assert run("send", "a-job-completed-1") == 1  # it is there no more

    def test_stay_where_lambda_does_not_take_them(
        self, bury: Callable[..., None], run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bury(record("waybill-test-on_scan", {"detail": {"s3ObjectDetails": {"objectKey": "refuse"}}}))

        assert run("send", "--all") == 1

        assert "refused" in capsys.readouterr().out
        assert run("drop", "refuse") == 0

    def test_of_the_sweep_are_dropped_and_of_strangers_left(
        self,
        bury: Callable[..., None],
        run: Run,
        called: list[dict[str, Any]],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        bury(record("waybill-test-sweep", {}), record("waybill-other-notify", {}), "poison", '{"a": 1}')

        assert run("send", "--all") == 1

        assert capsys.readouterr().out.splitlines()[-1] == "1 dropped, 3 left"
        assert called == []
