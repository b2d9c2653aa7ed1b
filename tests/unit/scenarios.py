"""What handlers are sent in the sweeps: each scenario arranges work, and has its handler do it."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib import keys, storage
from chalicelib.webhooks.sender import Outcome
from tests.unit.fake import machine
from tests.unit.fake.aws import Killed
from tests.unit.fake.stage import Answer, Stage

BIG = "1" * 39  # one digit more than an item's number can have
HOOK = "https://hooks.example.com/waybill"

HEAVY = {
    "STATE_MACHINE_ARN": "arn:aws:states:eu-central-1:123456789012:stateMachine:waybill-test-heavy",
    "LIGHT_LIMIT_BYTES": "100",
}
SPEECH = {**HEAVY, "TRANSCRIBER": "amazon"}
SCANNED = {"MALWARE_SCAN": "guardduty"}
ONE_RETRY = {"WEBHOOK_RETRY_SECONDS": "1"}


@dataclass(frozen=True)
class Scenario:
    """Work for one handler."""

    name: str
    handler: str
    prepare: Callable[[Stage], Callable[[Stage], object]]
    """Arranges the work; what is returned has the handler do it, and is repeated when that fails."""
    status: str = "COMPLETED"
    """In which all jobs are when everything has settled; with nothing in between, there are none."""
    lossless: bool = True
    """Whether all of it ends even where every event and every message is lost."""
    leaves: frozenset[str] = frozenset()
    """What may be left behind on the way: parts of `state` that are not compared."""
    buried: int = 0
    """Deliveries that are dead letters in the end."""
    large: bool = False
    """Whether its files are such as are copied in parts."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings of the stage that are not those of all."""


# --- what is sent


def put(stage: Stage, key: str, body: bytes, **more: Any) -> None:
    stage.aws.s3.put_object({"Bucket": stage.settings.bucket, "Key": key, "Body": body, **more})


def new_key(stage: Stage, name: str) -> str:
    return keys.upload_key(stage.settings, keys.NOBODY, keys.new_job_id(), name)


def job_of(key: str) -> str:
    return key.split("/")[2]


def uploaded(name: str, body: bytes, **more: Any) -> Callable[[Stage], str]:
    def send(stage: Stage) -> str:
        key = new_key(stage, name)
        put(stage, key, body, **more)
        return key

    return send


json_file = uploaded("order é + %.json", f'[{{"id": "a", "n": 1}}, {{"id": "b", "big": {BIG}}}]'.encode())
text_file = uploaded("notes.txt", b"one\r\ntwo\r\n")
broken_file = uploaded("order.json", b'{"id": ')
heavy_file = uploaded("much.json", b'{"id": "a", "much": "%s"}' % (b"." * 100))
recording = uploaded("talk.wav", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100))
lying_file = uploaded("notes.txt", b"abc", Metadata={storage.SIZE_MARK: "4"})


def dropped(stage: Stage) -> str:
    key = "incoming/machine/order.json"
    put(stage, key, b'{"n": 1}')
    return key


def copied_by_hand(stage: Stage) -> str:
    key = "uploads/someone/letter.txt"
    put(stage, key, b"by hand")
    return key


def queued(*sends: Callable[[Stage], str]) -> Callable[[Stage], Callable[[Stage], object]]:
    """Entered in the ledger, with a message each on the queue."""

    def prepare(stage: Stage) -> Callable[[Stage], object]:
        for send in sends:
            send(stage)
        stage.bring_objects()
        return Stage.bring_messages

    return prepare


def ended(stage: Stage, send: Callable[[Stage], str] = text_file) -> str:
    key = send(stage)
    stage.settle()
    return key


def given_up(stage: Stage) -> str:
    """Every worker was lost but the last, who is about to end the job."""
    key = text_file(stage)
    stage.bring_objects()
    for _ in range(stage.settings.max_attempts):
        first_update = len(stage.aws.made)
        stage.aws.spoil(1, "dies before")
        with suppress(Killed):
            stage.bring_messages()
        stage.aws.revive()
        assert "dynamodb.UpdateItem" in stage.aws.made[first_update:]
        stage.let_pass()
    return key


def failed(stage: Stage) -> str:
    key = given_up(stage)
    stage.settle()
    return key


def hooked(stage: Stage) -> None:
    answer = stage.http("POST", "/webhooks", {"url": HOOK})
    assert answer.status == 201, answer


# --- what handlers find


def event_of(send: Callable[[Stage], str]) -> Callable[[Stage], Callable[[Stage], object]]:
    def prepare(stage: Stage) -> Callable[[Stage], object]:
        send(stage)
        return Stage.bring_objects

    return prepare


def second_upload(stage: Stage) -> Callable[[Stage], object]:
    put(stage, ended(stage), b"newer")
    return Stage.bring_objects


def last_attempt(stage: Stage) -> Callable[[Stage], object]:
    given_up(stage)
    return Stage.bring_messages


def beside_a_poison_message(stage: Stage) -> Callable[[Stage], object]:
    """The batch fails for its neighbour's sake, so that the handler deletes and returns by itself."""
    act = queued(text_file)(stage)
    stage.aws.sqs.send_message({"QueueUrl": stage.settings.queue_url, "MessageBody": "poison"})
    return act


def in_parts(stage: Stage) -> Callable[[Stage], object]:
    return queued(uploaded("large.bin", b"large " * 4))(stage)


def overtaken(stage: Stage) -> Callable[[Stage], object]:
    """A newer upload lies on the key, and its event has not come yet."""
    key = text_file(stage)
    stage.bring_objects()
    put(stage, key, b"newer")
    return Stage.bring_messages


def drop_overtaken(stage: Stage) -> Callable[[Stage], object]:
    dropped(stage)
    stage.bring_objects()
    put(stage, "incoming/machine/order.json", b'{"n": 2}')
    return Stage.bring_messages


def without_its_file(stage: Stage) -> Callable[[Stage], object]:
    key = text_file(stage)
    stage.bring_objects()
    stage.aws.s3.delete_object({"Bucket": stage.settings.bucket, "Key": key})
    return Stage.bring_messages


def message_again(stage: Stage) -> Callable[[Stage], object]:
    """The message of a job that has ended meanwhile."""
    key = text_file(stage)
    stage.bring_objects()
    (message,) = stage.aws.sqs.queues[stage.settings.queue_name].messages
    stage.settle()
    stage.aws.sqs.send_message({"QueueUrl": stage.settings.queue_url, "MessageBody": message.body})
    assert key
    return Stage.bring_messages


def message_of_a_deleted_job(stage: Stage) -> Callable[[Stage], object]:
    key = ended(stage)
    assert stage.http("DELETE", f"/jobs/{job_of(key)}").status == 204
    stage.let_pass()
    return Stage.bring_messages


def retried(stage: Stage) -> Callable[[Stage], object]:
    key = failed(stage)
    assert stage.http("POST", f"/jobs/{job_of(key)}/retry").status == 200
    return Stage.bring_messages


def announced(stage: Stage) -> Callable[[Stage], object]:
    hooked(stage)
    text_file(stage)
    stage.bring_objects()
    stage.bring_messages()
    return Stage.bring_announcements


def swept(prepare: Callable[[Stage], object]) -> Callable[[Stage], Callable[[Stage], object]]:
    def arrange(stage: Stage) -> Callable[[Stage], object]:
        prepare(stage)
        stage.lose_everything()
        stage.let_pass()
        return Stage.sweep

    return arrange


def queued_only(stage: Stage) -> None:
    text_file(stage)
    stage.bring_objects()


def never_cleared(stage: Stage) -> None:
    """The worker died right before it would have announced the end."""
    text_file(stage)
    stage.bring_objects()
    stage.aws.hook = lambda when, name: stop(stage) if (when, name) == ("before", "sns.Publish") else None
    with suppress(Killed):
        stage.bring_messages()
    stage.aws.hook = None
    stage.aws.revive()


def stop(stage: Stage) -> None:
    stage.aws.dead = True
    raise Killed


def lies_there_again(stage: Stage) -> None:
    """Newer content on the key of an ended job, whose event is lost."""
    key = ended(stage)
    stage.let_pass()
    put(stage, key, b"one\r\ntwo\r\n")


def deletion_cut_short(stage: Stage) -> None:
    key = text_file(stage)
    stage.bring_objects()
    stage.let_pass()
    stage.aws.hook = lambda _, name: stop(stage) if name == "s3.ListObjectsV2" else None
    with suppress(Killed):
        stage.http("DELETE", f"/jobs/{job_of(key)}")
    stage.aws.hook = None
    stage.aws.revive()


# --- heavy work


def at_step(
    step: str,
    send: Callable[[Stage], str] = heavy_file,
    then: Callable[[Stage], object] = lambda _: None,
    leap_from: str = "",
) -> Callable[[Stage], Callable[[Stage], object]]:
    """An execution right before one of its steps, which the handler then takes, and the execution again.

    From `leap_from` it leaps there, and nothing has been done in between.
    """

    def prepare(stage: Stage) -> Callable[[Stage], object]:
        send(stage)
        stage.bring_objects()
        stage.bring_scans()
        stage.bring_messages()
        executions = stage.aws.stepfunctions.executions
        (arn,) = executions
        while executions[arn].at != step:
            if executions[arn].at == leap_from:
                executions[arn] = replace(executions[arn], at=step)
            else:
                stage.take_step(arn)
        then(stage)
        told = machine.input_of(executions[arn])
        return lambda stage: stage.invoke(step, told)

    return prepare


def deleted_and_written_to(stage: Stage) -> None:
    """The job is deleted, and a step that was under way has left something behind that."""
    (arn,) = stage.aws.stepfunctions.executions
    told = json.loads(stage.aws.stepfunctions.executions[arn].input)
    assert stage.http("DELETE", f"/jobs/{told['jobId']}").status == 204
    put(stage, f"processed/{told['owner']}/{told['jobId']}/outputs/late", b"late")


def redeployed(**changes: Any) -> Callable[[Stage], None]:
    """With settings under which the consumer would have refused the file."""

    def redeploy(stage: Stage) -> None:
        vars(stage.app)["config"] = replace(stage.settings, **changes)

    return redeploy


def stopped(status: str) -> Callable[[Stage], Callable[[Stage], object]]:
    """The message of a job comes whose execution is `status`."""

    def prepare(stage: Stage) -> Callable[[Stage], object]:
        heavy_file(stage)
        stage.bring_objects()
        (message,) = stage.aws.sqs.queues[stage.settings.queue_name].messages
        stage.bring_messages()
        executions = stage.aws.stepfunctions.executions
        for arn, execution in executions.items():
            executions[arn] = replace(execution, status=status)
        stage.aws.sqs.send_message({"QueueUrl": stage.settings.queue_url, "MessageBody": message.body})
        return Stage.bring_messages

    return prepare


def never_started(stage: Stage) -> None:
    """The worker died between the lease of an execution and its start."""
    heavy_file(stage)
    stage.bring_objects()
    stage.aws.hook = lambda when, name: (
        stop(stage) if (when, name) == ("before", "stepfunctions.StartExecution") else None
    )
    with suppress(Killed):
        stage.bring_messages()
    stage.aws.hook = None
    stage.aws.revive()


# --- scans for malware


def scanned(
    verdict: str, *sends: Callable[[Stage], str], act: Callable[[Stage], object] = Stage.bring_messages
) -> Callable[[Stage], Callable[[Stage], object]]:
    def prepare(stage: Stage) -> Callable[[Stage], object]:
        stage.verdict = verdict
        for send in sends:
            send(stage)
        stage.bring_objects()
        if act is Stage.bring_messages:
            stage.bring_scans()
        else:
            stage.scanned += stage.scan()
        return act

    return prepare


def scanned_events(stage: Stage) -> None:
    stage.bring_scans([])


def queued_unscanned(stage: Stage) -> Callable[[Stage], object]:
    """The message of a file that was scanned, which a newer one without a tag has replaced."""
    text_file(stage)
    stage.bring_objects()
    stage.bring_scans()
    objects = stage.aws.s3.buckets[stage.settings.bucket]
    for key, there in objects.items():
        objects[key] = replace(there, tags="")
    return Stage.bring_messages


def scan_got_lost(stage: Stage) -> None:
    text_file(stage)
    stage.bring_objects()
    stage.scan()


# --- deliveries


def on_their_way(
    status: int = 200, *, poison: bool = False, again: bool = False
) -> Callable[[Stage], Callable[[Stage], object]]:
    def prepare(stage: Stage) -> Callable[[Stage], object]:
        announced(stage)(stage)
        stage.post_outcome = lambda: Outcome(status=status)
        url = stage.settings.deliveries_queue_url
        if poison:
            stage.aws.sqs.send_message({"QueueUrl": url, "MessageBody": "poison"})
        if again:
            with suppress(Exception):
                stage.bring_deliveries()
            stage.let_pass()
        return Stage.bring_deliveries

    return prepare


# --- what callers ask for


def asked(
    method: str, path: str, body: Any = None, before: Callable[[Stage], Any] = lambda _: ""
) -> Callable[[Stage], Callable[[Stage], object]]:
    """A request; `{}` in its path becomes what was arranged before."""

    def prepare(stage: Stage) -> Callable[[Stage], object]:
        found = before(stage)
        return lambda stage: checked(stage.http(method, path.format(found), body))

    return prepare


def checked(answer: Answer) -> Answer:
    """Whatever happens, there is an answer, in the one shape of answers."""
    if answer.status >= 400:
        assert isinstance(answer.json["error"], str), answer
        assert isinstance(answer.json["message"], str), answer
    if answer.status >= 500:
        raise Refusal(answer)
    return answer


class Refusal(Exception):
    """A 5xx: the caller asks again."""


def with_a_job(path: str, send: Callable[[Stage], str] = text_file) -> Callable[[Stage], str]:
    return lambda stage: path.format(job_of(ended(stage, send)))


def a_webhook(stage: Stage) -> str:
    answer = stage.http("POST", "/webhooks", {"url": HOOK})
    return str(answer.json["id"])


def a_disabled_webhook(stage: Stage) -> str:
    webhook_id = a_webhook(stage)
    text_file(stage)
    stage.post_outcome = lambda: Outcome(status=410)
    stage.settle()
    return webhook_id


def an_upload_in_parts(stage: Stage) -> tuple[str, str]:
    begun = stage.http("POST", "/s3/multipart", {"filename": "large.txt"}).json
    stage.aws.s3.upload_part(
        {
            "Bucket": stage.settings.bucket,
            "Key": begun["key"],
            "UploadId": begun["uploadId"],
            "PartNumber": 1,
            "Body": b"all of it",
        }
    )
    return begun["uploadId"], begun["key"]


def multipart(method: str, rest: str = "", body: Any = None) -> Callable[[Stage], Callable[[Stage], object]]:
    def prepare(stage: Stage) -> Callable[[Stage], object]:
        upload_id, key = an_upload_in_parts(stage)
        joint = "&" if "?" in rest else "?"
        path = f"/s3/multipart/{upload_id}{rest}{joint}key={key}"
        parts = stage.aws.s3.list_parts({"Bucket": stage.settings.bucket, "Key": key, "UploadId": upload_id})
        named = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts["Parts"]]
        return lambda stage: checked(stage.http(method, path, {"parts": named} if body else None))

    return prepare


def a_copy_that_lies_there_already(stage: Stage) -> str:
    """The request before has died behind its copy."""
    key = failed(stage)
    stage.aws.hook = lambda when, name: stop(stage) if (when, name) == ("after", "s3.CopyObject") else None
    with suppress(Killed):
        stage.http("POST", f"/jobs/{job_of(key)}/retry")
    stage.aws.hook = None
    stage.aws.revive()
    return job_of(key)


def an_open_job(stage: Stage) -> str:
    key = text_file(stage)
    stage.bring_objects()
    stage.let_pass()
    return job_of(key)


LOG = frozenset({"log"})  # of deliveries: what goes wrong with it is only told to our own
PARTS = frozenset({"parts"})  # the bucket's lifecycle removes them

SCENARIOS = [
    Scenario("a file arrives", "on_upload", event_of(text_file)),
    Scenario("a file is copied there by hand", "on_upload", event_of(copied_by_hand)),
    Scenario("a newer file arrives", "on_upload", second_upload),
    Scenario("a document is dropped", "on_incoming", event_of(dropped)),
    Scenario("a JSON file", "consume", queued(json_file)),
    Scenario("two files in a batch", "consume", queued(text_file, broken_file), "COMPLETED REJECTED"),
    Scenario("beside a poison message", "consume", beside_a_poison_message),
    Scenario("a broken file", "consume", queued(broken_file), "REJECTED"),
    Scenario("a file of another size", "consume", queued(lying_file), "REJECTED"),
    Scenario("the last attempt", "consume", last_attempt, "FAILED"),
    Scenario("a file that is gone", "consume", without_its_file, "FAILED", lossless=False),
    Scenario("a dropped document", "consume", queued(dropped)),
    Scenario("a large file", "consume", in_parts, leaves=PARTS, large=True),
    Scenario("a file that is overtaken", "consume", overtaken),
    # Who comes late finds no file any more, and so another error. Without its message nothing points to a
    # job whose file was replaced: where keys carry no job id, the newer file is a job of its own.
    Scenario(
        "a dropped document that is overtaken",
        "consume",
        drop_overtaken,
        "COMPLETED FAILED",
        lossless=False,
        leaves=frozenset({"errors"}),
    ),
    Scenario("a message too many", "consume", message_again),
    Scenario("a message of a deleted job", "consume", message_of_a_deleted_job, "DELETED", lossless=False),
    Scenario("a retried file", "consume", retried),
    Scenario("the end is announced", "notify", announced, lossless=False),
    Scenario("an event got lost", "sweep", swept(text_file)),
    Scenario("a document's event got lost", "sweep", swept(dropped)),
    Scenario("a message got lost", "sweep", swept(queued_only)),
    Scenario("a worker got lost", "sweep", swept(given_up), "FAILED"),
    Scenario("an end was not announced", "sweep", swept(never_cleared)),
    Scenario("a newer file's event got lost", "sweep", swept(lies_there_again)),
    Scenario("a deletion was cut short", "sweep", swept(deletion_cut_short), "DELETED"),
    *(
        Scenario(f"heavy work, at {step}", step, at_step(step), env=HEAVY)
        for step in ("validate", "detect", "process", "finish")
    ),
    Scenario(
        "heavy work that was tried in vain",
        "fail",
        at_step("fail", leap_from="validate"),
        "FAILED",
        env=HEAVY,
    ),
    Scenario(
        "a heavy file is too large by now",
        "validate",
        at_step("validate", then=redeployed(max_upload_bytes=1)),
        "REJECTED",
        env=HEAVY,
    ),
    Scenario(
        "a heavy file is not allowed by now",
        "detect",
        at_step("detect", then=redeployed(allowed_types=("image/png",))),
        "REJECTED",
        env=HEAVY,
    ),
    Scenario(
        "a worker has left nothing",
        "finish",
        at_step("finish", leap_from="process"),
        "FAILED",
        env=HEAVY,
    ),
    *(
        Scenario(
            f"heavy work on a deleted job, at {step}",
            step,
            at_step(step, recording, deleted_and_written_to, "validate" if step == "fail" else ""),
            "DELETED",
            env=SPEECH,
        )
        for step in ("validate", "detect", "process", "find_speech", "fetch_transcript", "finish", "fail")
    ),
    Scenario("what is there to listen to", "find_speech", at_step("find_speech", recording), env=SPEECH),
    Scenario(
        "what was heard",
        "fetch_transcript",
        at_step("fetch_transcript", recording),
        env=SPEECH,
    ),
    Scenario("a heavy file", "consume", queued(heavy_file), env=HEAVY),
    Scenario("a message too many of heavy work", "consume", stopped("RUNNING"), env=HEAVY),
    Scenario("an execution was stopped", "consume", stopped("ABORTED"), "FAILED", env=HEAVY),
    Scenario("an execution was never started", "sweep", swept(never_started), env=HEAVY),
    Scenario(
        "a scan is done", "on_scan", scanned("NO_THREATS_FOUND", text_file, act=scanned_events), env=SCANNED
    ),
    Scenario("a file has to be scanned", "on_upload", event_of(text_file), env=SCANNED),
    Scenario("a clean file", "consume", scanned("NO_THREATS_FOUND", text_file), env=SCANNED),
    Scenario("malware", "consume", scanned("THREATS_FOUND", text_file), "REJECTED", env=SCANNED),
    Scenario("a scan that failed", "consume", scanned("FAILED", text_file), "FAILED", env=SCANNED),
    Scenario("a file that was not scanned", "consume", queued_unscanned, env=SCANNED),
    Scenario("the event of a scan got lost", "sweep", swept(scan_got_lost), env=SCANNED),
    Scenario("a delivery", "deliver", on_their_way(), lossless=False, leaves=LOG),
    Scenario(
        "a delivery beside poison", "deliver", on_their_way(poison=True), lossless=False, leaves=LOG, buried=1
    ),
    Scenario(
        "a delivery in vain",
        "deliver",
        on_their_way(500),
        lossless=False,
        buried=1,
        leaves=LOG,
        env=ONE_RETRY,
    ),
    Scenario(
        "the last attempt at a delivery",
        "deliver",
        on_their_way(500, again=True),
        lossless=False,
        buried=1,
        leaves=LOG,
        env=ONE_RETRY,
    ),
    Scenario("a receiver that is gone", "deliver", on_their_way(410), lossless=False, leaves=LOG),
    Scenario(
        "an ended job is deleted",
        "delete_job",
        asked("DELETE", "{}", before=with_a_job("/jobs/{}", json_file)),
        "DELETED",
        lossless=False,  # the message that precedes the deletion is what completes it
    ),
    Scenario(
        "an open job is deleted", "delete_job", asked("DELETE", "/jobs/{}", before=an_open_job), "DELETED"
    ),
    Scenario(
        "a failed job is retried",
        "retry_job",
        asked("POST", "/jobs/{}/retry", before=lambda stage: job_of(failed(stage))),
    ),
    Scenario(
        "a failed job of a large file is retried",
        "retry_job",
        asked("POST", "/jobs/{}/retry", before=lambda stage: job_of(failed(stage))),
        leaves=PARTS,
        large=True,
    ),
    Scenario(
        "a retry is finished",
        "retry_job",
        asked("POST", "/jobs/{}/retry", before=a_copy_that_lies_there_already),
    ),
    Scenario("parts are put together", "complete_multipart", multipart("POST", "/complete", body=True)),
    Scenario("an upload is given up", "abort_multipart", multipart("DELETE"), ""),
    Scenario(
        "an upload is begun",
        "begin_multipart",
        asked("POST", "/s3/multipart", {"filename": "a"}),
        "",
        leaves=PARTS,
    ),
    Scenario("parts are listed", "list_parts", multipart("GET"), ""),
    Scenario("a part is signed", "sign_part", multipart("GET", "/1"), ""),
    Scenario("parts are signed", "sign_parts", multipart("GET", "/batch?partNumbers=1,2"), ""),
    Scenario("a webhook is registered", "register_webhook", asked("POST", "/webhooks", {"url": HOOK}), ""),
    Scenario("webhooks are listed", "list_webhooks", asked("GET", "/webhooks", before=hooked), ""),
    Scenario("a webhook is removed", "remove_webhook", asked("DELETE", "/webhooks/{}", before=a_webhook), ""),
    Scenario(
        "a webhook gets a new secret",
        "rotate_webhook_secret",
        asked("POST", "/webhooks/{}/rotate", before=a_webhook),
        "",
    ),
    Scenario(
        "a webhook is enabled",
        "enable_webhook",
        asked("POST", "/webhooks/{}/enable", before=a_disabled_webhook),
        "COMPLETED",
    ),
    Scenario(
        "a webhook is tried",
        "test_webhook",
        asked("POST", "/webhooks/{}/test", before=a_webhook),
        "",
        leaves=LOG,
    ),
    Scenario(
        "deliveries are listed",
        "list_deliveries",
        asked("GET", "/webhooks/{}/deliveries", before=a_webhook),
        "",
    ),
    Scenario("jobs are listed", "list_jobs", asked("GET", "/jobs", before=ended)),
    Scenario("a job is shown", "get_job", asked("GET", "{}", before=with_a_job("/jobs/{}"))),
    Scenario(
        "a file is fetched", "download", asked("GET", "{}", before=with_a_job("/jobs/{}/files/original"))
    ),
    Scenario("jobs are counted", "show_stats", asked("GET", "/stats", before=ended)),
    Scenario("an upload is signed", "presign", asked("POST", "/presign", {}), ""),
    Scenario(
        "an upload within quotas is signed",
        "presign",
        asked("POST", "/presign", {}),
        "",
        env={"QUOTA_OPEN_JOBS": "9"},
    ),
    Scenario("a form is signed", "s3_params", asked("GET", "/s3/params?filename=a"), ""),
    Scenario(
        "a request is signed", "sign_request", asked("POST", "/s3/sign", {"method": "PUT", "key": "a"}), ""
    ),
    Scenario("health", "health", asked("GET", "/health"), ""),
    Scenario("the contract", "describe", asked("GET", "/openapi.json"), ""),
    Scenario("the page", "index", lambda _: lambda stage: stage.http("GET", "/"), ""),
    Scenario("a mistake", "refuse", asked("GET", "/presign"), ""),
]
