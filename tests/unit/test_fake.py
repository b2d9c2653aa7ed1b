"""The AWS in memory against moto: the same calls, the same answers.

What moto itself gets wrong is left out: `CopySourceIfMatch`, which it ignores.
"""

import random
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib import clients
from chalicelib.jobs import Ending, Status
from chalicelib.ledger import Claim, Ledger
from chalicelib.settings import Settings
from tests.unit.conftest import ACCOUNT, make_resources
from tests.unit.fake.aws import Clock, FakeAws, installed
from tests.unit.flow import upload_at

NAMES = ("a", "b/c", "é +%")
JOB = "uploads/o/01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071/a.txt"

Conversation = Callable[[random.Random, Settings], list[Any]]


def answer(call: Callable[..., Any], *shown: str, **request: Any) -> Any:
    """What counts of an answer: its status, the code of an error, and the named parts of it."""
    try:
        found = call(**request)
    except ClientError as error:
        return (clients.http_status(error), error.response["Error"]["Code"], error.response.get("Item"))
    return {name: found.get(name) or None for name in shown}


def about_objects(dice: random.Random, settings: Settings) -> list[Any]:
    s3, heard, etags = clients.s3(), [], ['"none"']
    for _ in range(120):
        where: Any = {"Bucket": settings.bucket, "Key": dice.choice(NAMES)}
        match = {"IfMatch": dice.choice(etags)} if dice.random() < 0.6 else {}
        act = dice.randrange(7)
        if act == 0:
            body = dice.choice((b"", b"one", b"another"))
            absent = {"IfNoneMatch": "*"} if dice.random() < 0.3 else {}
            heard.append(answer(s3.put_object, "ETag", **where, **absent, Body=body, Metadata={"m": "1"}))
            etags += [heard[-1]["ETag"]] if isinstance(heard[-1], dict) else []
        elif act == 1:
            shown = ("ETag", "ContentType", "Metadata", "ContentLength")
            heard.append(answer(s3.head_object, *shown, **where))
        elif act == 2:
            got = answer(s3.get_object, "ETag", "Body", "ContentType", "Metadata", **where, **match)
            heard.append(got | {"Body": got["Body"].read()} if isinstance(got, dict) else got)
        elif act == 3 and not match:
            heard.append(answer(s3.delete_object, **where))
        elif act == 4:
            source = {"Bucket": settings.bucket, "Key": dice.choice(NAMES)}
            replaced: Any = {"MetadataDirective": "REPLACE", "Metadata": {"n": "2"}, "ContentType": "text/x"}
            target = f"copy/{where['Key']}"
            copied = answer(
                s3.copy_object,
                "CopyObjectResult",
                Bucket=settings.bucket,
                Key=target,
                CopySource=source,
                **replaced,
            )
            heard.append(copied["CopyObjectResult"]["ETag"] if isinstance(copied, dict) else copied)
        elif act == 5:
            listed = s3.list_objects_v2(Bucket=settings.bucket, Prefix=dice.choice(("", "copy/", "nothing")))
            heard.append([(e["Key"], e["ETag"], e["Size"]) for e in listed.get("Contents", [])])
        elif act == 6:
            keys = [{"Key": name} for name in NAMES[:2]]
            heard.append(
                answer(s3.delete_objects, Bucket=settings.bucket, Delete={"Objects": keys, "Quiet": True})
            )
    return heard


def about_parts(dice: random.Random, settings: Settings) -> list[Any]:
    s3, heard = clients.s3(), []
    for number in range(4):
        where: Any = {"Bucket": settings.bucket, "Key": f"large-{number}"}
        where["UploadId"] = s3.create_multipart_upload(**where, ContentType="text/x")["UploadId"]
        body = dice.randbytes(10)
        etag = s3.upload_part(**where, PartNumber=1, Body=body)["ETag"]
        heard.append(answer(s3.list_parts, "IsTruncated", **where))
        named = {"Parts": [{"PartNumber": 1, "ETag": etag if number else '"wrong"'}]}
        heard.append(answer(s3.complete_multipart_upload, "ETag", **where, MultipartUpload=named))
        heard.append(answer(s3.abort_multipart_upload, **where))
        heard.append(answer(s3.list_parts, **where))
    return heard


def about_jobs(dice: random.Random, settings: Settings) -> list[Any]:
    """The ledger's own conditions, in any order."""
    clock = Clock()
    clock.now = 1_700_000_000.0
    ledger = Ledger(clients.dynamodb(), settings.jobs_table, lease_seconds=90, clock=clock)
    heard: list[Any] = []
    held: list[Any] = []
    for number in range(150):
        clock.advance(dice.choice((0, 1, 100)))
        act = dice.randrange(7)
        upload = upload_at(
            JOB, dice.choice("ab"), f"{number:04X}", uploaded_at=f"2023-11-{number % 28 + 1:02}"
        )
        job = ledger.find(upload.owner, upload.job_id)
        if act == 0 or job is None:
            heard.append(ledger.record(upload))
        elif act in (1, 2):
            claim, taken = ledger.claim(upload.owner, upload.job_id, job.etag)
            heard.append((claim, taken and taken.attempts, taken and taken.lease_until))
            held += [taken] if claim is Claim.TAKEN else []
        elif act == 3 and held:
            ending = Ending(dice.choice((Status.COMPLETED, Status.FAILED)), "k", metadata={"n": [1, None]})
            try:
                heard.append(ledger.finish(dice.choice(held), ending).status)
            except Exception as error:
                heard.append(type(error).__name__)
        elif act == 4 and held:
            heard.append(ledger.release(dice.choice(held), {"code": "c", "message": "m"}))
        elif act == 5:
            heard.append((ledger.touch(job), ledger.reopen(job, upload) is None))
        elif act == 6 and dice.random() < 0.2:
            ledger.delete(job)
        found = ledger.find(upload.owner, upload.job_id)
        heard.append(found and (found.status, found.run, found.attempts, found.error, found.metadata))
    return heard


def about_messages(dice: random.Random, settings: Settings) -> list[Any]:
    sqs, heard = clients.sqs(), []
    queue: Any = {"QueueUrl": settings.queue_url}
    for number in range(10):
        sqs.send_message_batch(**queue, Entries=[{"Id": "0", "MessageBody": f"{number}"}])
        found = sqs.receive_message(**queue, MaxNumberOfMessages=10, VisibilityTimeout=600).get(
            "Messages", []
        )
        heard.append([message["Body"] for message in found])
        receipts = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(found)]
        if receipts and dice.random() < 0.5:
            heard.append(answer(sqs.delete_message_batch, "Failed", **queue, Entries=receipts))
        elif receipts:
            again: Any = [{**entry, "VisibilityTimeout": 0} for entry in receipts]
            heard.append(answer(sqs.change_message_visibility_batch, "Failed", **queue, Entries=again))
    return heard


@pytest.mark.parametrize(
    "talk", [about_objects, about_parts, about_jobs, about_messages], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_answers_as_moto_does(talk: Conversation, seed: int, aws: Settings) -> None:
    by_moto = talk(random.Random(seed), aws)
    fake = FakeAws(aws.region, ACCOUNT)
    with pytest.MonkeyPatch.context() as patch, installed(fake, aws.region, patch):
        make_resources(aws)
        by_the_fake = talk(random.Random(seed), aws)

    for number, (expected, found) in enumerate(zip(by_moto, by_the_fake, strict=True)):
        assert found == expected, number


def test_what_it_was_not_taught_is_an_error_that_says_so() -> None:
    with pytest.raises(NotImplementedError, match="teach it"):
        FakeAws("eu-central-1", ACCOUNT).call("s3", "GetBucketAcl", {})
