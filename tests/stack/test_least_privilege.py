"""Every function may do what it does, and nothing else: IAM is enforced in the embedded AWS."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

from ops.stack import LocalStack
from tests.stack.user import User, eventually, http_call


@contextmanager
def without(stack: LocalStack, function: str, action: str) -> Iterator[None]:
    """Take one action from a function's role, for as long as the block lasts."""
    iam = stack.client("iam")
    role = f"waybill-local-{function}"
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    whole = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    less = {
        **whole,
        "Statement": [
            {**s, "Action": kept}
            for s in whole["Statement"]
            if (kept := [a for a in s["Action"] if a != action])
        ],
    }
    assert less != whole, f"{function} has no leave to do {action}"
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(less))
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(whole))


def test_a_function_without_a_permission_is_refused_and_its_work_waits(stack: LocalStack) -> None:
    user = User(stack)
    with without(stack, "consume", "s3:PutObject"):
        signed = user.upload(b"nowhere to go")

        def tried() -> bool:
            job = user.job(signed["jobId"])
            return bool(job) and job["attempts"] >= 1 and "error" in job

        eventually(tried, "the consumer tried and was refused")
        assert user.job(signed["jobId"])["status"] == "PROCESSING"
        assert user.keys(signed["s3Key"]) == [signed["s3Key"]]

    assert user.ended(signed["jobId"])["status"] == "COMPLETED"


def test_the_signer_may_put_where_it_signs_and_nowhere_else(stack: LocalStack) -> None:
    user = User(stack)
    url = user.presign()["uploadUrl"]

    elsewhere = url.replace("/uploads/", "/processed/")

    assert http_call("PUT", elsewhere, b"forged").status == 403
    assert http_call("GET", url).status == 403
    assert http_call("PUT", url, b"honest").status == 200


def test_nobody_reads_the_bucket_without_credentials(stack: LocalStack) -> None:
    user = User(stack)
    job = user.ended(user.upload(b"private")["jobId"])

    for path in (f"/{user.bucket}", f"/{user.bucket}/{job['key']}"):
        assert http_call("GET", stack.endpoint_url + path).status == 403


def test_a_role_of_another_function_cannot_read_the_ledger(stack: LocalStack) -> None:
    """The notifier's identity, in the hands of whoever got hold of it."""
    iam = stack.client("iam")
    policy = (stack.app_dir / ".chalice" / "policy-local-notify.json").read_text()
    iam.create_user(UserName="thief")
    iam.put_user_policy(UserName="thief", PolicyName="notify", PolicyDocument=policy)
    key = iam.create_access_key(UserName="thief")["AccessKey"]
    thief = stack.session(key["AccessKeyId"], key["SecretAccessKey"])

    table = stack.client("dynamodb", thief)
    table.query(
        TableName=stack.outputs["WebhooksTable"],
        KeyConditionExpression="#owner = :owner",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues={":owner": {"S": "_"}},
    )
    with pytest.raises(ClientError, match="not authorized"):
        table.scan(TableName=stack.outputs["JobsTable"])
    with pytest.raises(ClientError, match=r"not authorized|Access ?Denied"):
        stack.client("s3", thief).list_objects_v2(Bucket=stack.outputs["BucketName"])
