"""Malware, on a deployed stack whose files are scanned, with IAM enforced: the test plays GuardDuty.

It has GuardDuty's role, and nothing else that would let it tag.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from chalicelib.jobs import Ending, Job, Status, from_item
from chalicelib.keys import new_job_id
from ops import deployment as deployments
from ops import sweep
from ops.doctor import parts
from ops.doctor.findings import Level
from ops.load.journal import waiting as messages_on
from ops.stack import LocalStack
from tests.stack.left import invoke, leave, ledger
from tests.stack.user import User, eventually, http_call, send_form

CLEAN, INFECTED = "NO_THREATS_FOUND", "THREATS_FOUND"
RULE = "waybill-local-on_scan-event"
STAND_IN = "test.guardduty"
"""Nobody may publish as aws.guardduty, so that the rule has to listen to somebody else as well."""


def taken(stack: LocalStack, role: str) -> boto3.Session:
    """A role may be taken by its service alone: here, by this account for a moment."""
    iam = stack.client("iam")
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    mine = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(mine))
    arn = iam.get_role(RoleName=role)["Role"]["Arn"]
    keys = stack.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    trust = trust if isinstance(trust, str) else json.dumps(trust)
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust)
    return boto3.Session(
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        region_name="us-east-1",
    )


class GuardDuty:
    """Tags an object, and publishes its event, as GuardDuty does."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._events = stack.client("events")
        iam = stack.client("iam")
        (role,) = [r for r in iam.list_roles()["Roles"] if "MalwareScanRole" in r["RoleName"]]
        self._s3 = stack.client("s3", taken(stack, role["RoleName"]))
        pattern = json.loads(self._events.describe_rule(Name=RULE)["EventPattern"])
        assert pattern["source"] == ["aws.guardduty"]
        pattern["source"].append(STAND_IN)
        self._events.put_rule(Name=RULE, EventPattern=json.dumps(pattern))

    def tag(self, key: str, verdict: str) -> None:
        self._s3.put_object_tagging(
            Bucket=self._stack.outputs["BucketName"], Key=key, Tagging=tagging(verdict)
        )

    def publish(self, key: str, verdict: str) -> None:
        """Shape: Amazon GuardDuty User Guide, "Monitoring S3 object scans with Amazon EventBridge"."""
        bucket = self._stack.outputs["BucketName"]
        etag = self._stack.client("s3").head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
        detail = {
            "schemaVersion": "1.0",
            "scanStatus": "COMPLETED",
            "resourceType": "S3_OBJECT",
            "s3ObjectDetails": {"bucketName": bucket, "objectKey": key, "eTag": etag, "s3Throttled": False},
            "scanResultDetails": {"scanResultStatus": verdict, "threats": None},
        }
        entry = {
            "Source": STAND_IN,
            "DetailType": "GuardDuty Malware Protection Object Scan Result",
            "Detail": json.dumps(detail),
        }
        assert self._events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def scan(self, key: str, verdict: str = CLEAN) -> None:
        self.tag(key, verdict)
        self.publish(key, verdict)


def tagging(verdict: str) -> Any:
    return {"TagSet": [{"Key": "GuardDutyMalwareScanStatus", "Value": verdict}]}


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    variables = {"MALWARE_SCAN": "guardduty", "SWEEP_AFTER_SECONDS": "1"}
    with LocalStack(state_dir=tmp_path_factory.mktemp("scan-stack"), variables=variables) as stack:
        yield User(stack)


@pytest.fixture(scope="module")
def guardduty(user: User) -> GuardDuty:
    return GuardDuty(user.stack)


def waiting(user: User, job_id: str) -> Any:
    """The job, once it is there: entered, and waiting for its scan."""
    job = eventually(lambda: user.job(job_id), "the file has a job")
    assert (job["status"], job["stage"], job["attempts"]) == ("QUEUED", "scanning", 0)
    return job


def original(user: User, job_id: str) -> Any:
    return user.call("GET", f"/jobs/{job_id}/files/original", Accept="application/json")


def swept(user: User) -> None:
    assert sweep.run(argparse.Namespace(stage=None, aws_port=user.stack.aws_port)) == 0


def test_a_clean_file_goes_through_once_it_is_known_to_be_clean(user: User, guardduty: GuardDuty) -> None:
    signed = user.upload(b"clean text", filename="a.txt")
    waiting(user, signed["jobId"])
    assert messages_on(user.stack, "QueueUrl") == 0
    before = original(user, signed["jobId"])
    assert (before.status, before.json["error"]) == (409, "not_ended")
    assert user.keys("processed/") == []

    guardduty.scan(signed["s3Key"])

    job = user.ended(signed["jobId"])
    assert (job["status"], job["attempts"]) == ("COMPLETED", 1)
    assert http_call("GET", original(user, signed["jobId"]).json["url"]).body == b"clean text"


def test_malware_is_rejected_and_nobody_can_have_it(user: User, guardduty: GuardDuty) -> None:
    signed = user.upload(b"EICAR, say", filename="b.txt")
    waiting(user, signed["jobId"])

    guardduty.scan(signed["s3Key"], INFECTED)

    job = user.ended(signed["jobId"])
    assert (job["status"], job["error"]["code"], job["attempts"]) == ("REJECTED", "malware_found", 1)
    assert user.keys(f"rejected/_/{job['jobId']}/") == [job["key"]]
    assert user.keys(f"processed/_/{job['jobId']}/") == []
    refused = original(user, job["jobId"])
    assert (refused.status, refused.json["error"]) == (409, "not_clean")
    assert user.call("POST", f"/jobs/{job['jobId']}/retry").json["error"] == "not_failed"


def test_the_bucket_itself_gives_malware_to_no_signer(user: User, guardduty: GuardDuty) -> None:
    """A URL that the API signed for another of the job's files, bent to the original: with the API's role."""
    signed = user.upload(b"EICAR again", filename="c.txt")
    waiting(user, signed["jobId"])
    guardduty.scan(signed["s3Key"], INFECTED)
    job = user.ended(signed["jobId"])
    signer = user.stack.client("s3", taken(user.stack, "waybill-local-api_handler"))

    url = signer.generate_presigned_url("get_object", {"Bucket": user.bucket, "Key": job["key"]})

    assert http_call("GET", url).status == 403
    deleted = User(user.stack, user.stack.gateway_url).call("DELETE", f"/jobs/{job['jobId']}")
    assert (deleted.status, user.keys(job["key"])) == (204, [])


def test_an_uploader_cannot_bring_the_verdict_along(user: User) -> None:
    forged = {"x-amz-tagging": f"GuardDutyMalwareScanStatus={CLEAN}"}
    signed = user.presign(filename="d.txt")
    assert http_call("PUT", signed["uploadUrl"], b"forged", forged).status == 403

    form = user.presign(filename="d.txt", method="POST")
    tag_xml = (
        f"<Tagging><TagSet><Tag><Key>GuardDutyMalwareScanStatus</Key><Value>{CLEAN}</Value></Tag></TagSet>"
    )
    for name, value in (("tagging", f"{tag_xml}</Tagging>"), ("x-amz-tagging", forged["x-amz-tagging"])):
        assert send_form(form["uploadUrl"], form["fields"] | {name: value}, b"forged").status == 403

    begin = user.call("POST", "/s3/sign", {"method": "POST", "key": "d.txt"}).json
    assert http_call("POST", begin["url"], b"", {**begin["headers"], **forged}).status == 403

    later = signed["uploadUrl"].replace("?", "?tagging&", 1)
    assert http_call("PUT", later, b"<Tagging/>").status == 403
    assert user.keys(signed["s3Key"]) == []


def test_who_drops_files_by_themselves_cannot_tag_them_either(user: User) -> None:
    """Somebody of the account who may do anything with the bucket."""
    iam = user.stack.client("iam")
    iam.create_user(UserName="machine")
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_user_policy(UserName="machine", PolicyName="drop", PolicyDocument=policy)
    key = iam.create_access_key(UserName="machine")["AccessKey"]
    s3 = user.stack.client("s3", user.stack.session(key["AccessKeyId"], key["SecretAccessKey"]))
    place = {"Bucket": user.bucket, "Key": "incoming/machine/order.json"}

    forgeries: list[Callable[[], Any]] = [
        lambda: s3.put_object(**place, Body=b"{}", Tagging=f"GuardDutyMalwareScanStatus={CLEAN}"),
        lambda: s3.create_multipart_upload(**place, Tagging=f"GuardDutyMalwareScanStatus={CLEAN}"),
        lambda: s3.put_object(**place, Body=b"{}") and s3.put_object_tagging(**place, Tagging=tagging(CLEAN)),
        lambda: s3.delete_object_tagging(**place),
    ]
    for forge in forgeries:
        with pytest.raises(ClientError, match=r"not authorized|Access ?Denied"):
            forge()
    assert s3.get_object_tagging(**place)["TagSet"] == []


def test_nobody_publishes_as_guardduty(user: User) -> None:
    entry = {"Source": "aws.guardduty", "DetailType": "any", "Detail": "{}"}
    (answer,) = user.stack.client("events").put_events(Entries=[entry])["Entries"]
    assert answer["ErrorCode"] == "NotAuthorizedForSourceException"


def test_without_the_event_the_sweep_reads_the_tag(user: User, guardduty: GuardDuty) -> None:
    clean = user.upload(b"clean", filename="e.txt")
    infected = user.upload(b"infected", filename="f.txt")
    unknown = user.upload(b"unknown", filename="g.txt")
    before = waiting(user, unknown["jobId"])
    waiting(user, clean["jobId"])
    waiting(user, infected["jobId"])
    guardduty.tag(clean["s3Key"], CLEAN)
    guardduty.tag(infected["s3Key"], INFECTED)

    def pushed_on() -> bool:
        swept(user)
        ended = [user.job(signed["jobId"])["status"] for signed in (clean, infected)]
        return ended == ["COMPLETED", "REJECTED"]

    eventually(pushed_on, "the sweep queued what was scanned")
    assert [user.job(s["jobId"])["attempts"] for s in (clean, infected)] == [1, 1]
    swept(user)
    swept(user)
    assert user.job(unknown["jobId"]) == before
    assert user.keys(unknown["s3Key"]) == [unknown["s3Key"]]
    guardduty.scan(unknown["s3Key"])
    assert user.ended(unknown["jobId"])["status"] == "COMPLETED"


def test_a_file_that_is_deleted_before_its_scan_is_gone(user: User) -> None:
    signed = user.upload(b"unwanted", filename="j.txt")
    waiting(user, signed["jobId"])

    assert User(user.stack, user.stack.gateway_url).call("DELETE", f"/jobs/{signed['jobId']}").status == 204

    swept(user)
    assert user.keys(signed["s3Key"]) == []
    assert user.call("GET", f"/jobs/{signed['jobId']}").status == 404


def test_an_upload_in_parts_and_a_dropped_document_are_scanned_as_well(
    user: User, guardduty: GuardDuty
) -> None:
    begun = user.call("POST", "/s3/multipart", {"filename": "h.txt"}).json
    path = f"/s3/multipart/{begun['uploadId']}"
    part = user.call("GET", f"{path}/1?key={begun['key']}").json["url"]
    etag = http_call("PUT", part, b"in parts").headers["ETag"]
    parts = {"parts": [{"PartNumber": 1, "ETag": etag}]}
    assert user.call("POST", f"{path}/complete?key={begun['key']}", parts).status == 200
    user.put("incoming/shop/order.json", b'{"id": "1"}')
    waiting(user, begun["jobId"])

    guardduty.scan(begun["key"], INFECTED)
    guardduty.scan("incoming/shop/order.json")

    assert user.ended(begun["jobId"])["error"]["code"] == "malware_found"
    eventually(lambda: user.keys("processed/shop/"), "the document was processed")


def test_the_doctor_knows_who_is_told_of_scans(user: User) -> None:
    deployment, events = deployments.local(user.stack.endpoint_url), user.stack.client("events")

    events.disable_rule(Name=RULE)
    try:
        bad = [finding.what for finding in parts.events(deployment) if finding.level is Level.BAD]
    finally:
        events.enable_rule(Name=RULE)

    assert bad == ["nobody is told of scans for malware"]
    assert [finding.level for finding in parts.events(deployment)] == [Level.WELL]


def test_a_scan_that_failed_can_be_had_again(user: User, guardduty: GuardDuty) -> None:
    signed = user.upload(b"clean after all", filename="i.txt")
    waiting(user, signed["jobId"])
    guardduty.scan(signed["s3Key"], "FAILED")
    job = user.ended(signed["jobId"])
    assert (job["status"], job["error"]["code"]) == ("FAILED", "scan_failed")
    assert original(user, job["jobId"]).json["error"] == "not_clean"

    retried = user.retry(job["jobId"]).json
    assert (retried["status"], retried["stage"]) == ("QUEUED", "scanning")
    guardduty.scan(signed["s3Key"])

    def done() -> Any:
        again = user.job(job["jobId"])
        return again if again["status"] == "COMPLETED" else None

    assert eventually(done, "the second run is done")["attempts"] == 1


def test_no_message_came_more_than_once(user: User) -> None:
    """Waiting costs no receive: a job ends in its first, and nothing gets near the dead letters."""
    dead = user.stack.client("sqs").get_queue_attributes(
        QueueUrl=user.stack.outputs["DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert dead["Attributes"]["ApproximateNumberOfMessages"] == "0"
    assert {item["attempts"]["N"] for item in user.items("JobsTable")} <= {"0", "1"}


def test_the_sweep_finds_its_work_under_every_prefix(user: User) -> None:
    """What is cleared away, announced or entered again; nobody scans any of it, so nothing else moves."""
    stack, book = user.stack, ledger(user.stack)

    def lying(key: str, body: bytes) -> Job:
        """An object, entered in the ledger by its event."""
        user.put(key, body)
        return eventually(lambda: job_of(key, body), f"{key} is entered")

    def job_of(key: str, body: bytes) -> Job | None:
        jobs = [from_item(item) for item in user.items("JobsTable")]
        return next((j for j in jobs if (j.source_key, j.size) == (key, len(body))), None)

    def ended(job: Job) -> Job:
        _, claimed = book.claim(job.owner, job.job_id, job.etag)
        assert claimed
        return book.finish(claimed, Ending(Status.COMPLETED, f"processed/_/{job.job_id}/file"))

    def uploaded(body: bytes, job_id: str) -> Job:
        return lying(f"uploads/_/{job_id}/file", body)

    lying("incoming/unscanned.json", b'{"id": "unscanned"}')
    uploaded(b"nobody has scanned this", new_job_id())
    old_enough = time.time() + 2
    dropped = ended(lying("incoming/sweep.json", b"{}"))
    twice = new_job_id()
    ended(uploaded(b"first", twice))
    again = ended(uploaded(b"second time", twice))
    deleted = uploaded(b"deleted", new_job_id())
    book.delete(deleted)
    for prefix in ("processed", "rejected", "failed"):
        user.put(f"{prefix}/_/{deleted.job_id}/left", b"left")
    unknown = uploaded(b"unknown to the ledger", new_job_id())
    stack.client("dynamodb").delete_item(
        TableName=stack.outputs["JobsTable"], Key={"owner": {"S": "_"}, "jobId": {"S": unknown.job_id}}
    )
    gone = [*(job.source_key for job in (dropped, again, deleted))]
    gone += [f"{prefix}/_/{deleted.job_id}/left" for prefix in ("processed", "rejected", "failed")]

    def done() -> bool:
        all_are_old = time.time() > old_enough
        swept(user)
        return (
            all_are_old and not any(user.keys(key) for key in gone) and user.job(unknown.job_id) is not None
        )

    eventually(done, "all of it is pushed on")
    assert again.run == 2


def test_the_event_of_a_scan_finds_its_file_or_none(user: User, guardduty: GuardDuty) -> None:
    told = {"bucketName": user.bucket, "objectKey": "uploads/_/gone", "eTag": "e"}
    names = ("version", "id", "account", "region", "detail-type", "source", "time")
    event = dict.fromkeys(names, "") | {"resources": [], "detail": {"s3ObjectDetails": told}}
    invoke(user.stack, "on_scan", event)
    user.put("incoming/scanned.json", b'{"id": "scanned"}')

    guardduty.scan("incoming/scanned.json")

    eventually(lambda: not user.keys("incoming/scanned.json"), "it is processed")


def test_a_heavy_file_of_which_no_scan_can_say_anything_fails(user: User) -> None:
    left = leave(user.stack, "uploads/", b"text")
    user.stack.client("s3").put_object_tagging(
        Bucket=user.bucket, Key=left.job.key, Tagging=tagging("FAILED")
    )

    assert invoke(user.stack, "detect", left.task) == {"next": "finish"}

    verdict = left.now().verdict
    assert verdict
    assert (verdict["status"], verdict["error"]["code"]) == (Status.FAILED, "scan_failed")
