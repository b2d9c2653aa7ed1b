"""What every test with `aws` begins with: the same, whatever others did before it."""

import pytest

from chalicelib import clients
from chalicelib.settings import Settings
from tests.unit.flow import bystander


@pytest.mark.parametrize("time", ["first", "second"])
def test_nothing_is_left_of_other_tests(aws: Settings, time: str) -> None:
    """Either one is the second, in whatever order they run: each leaves something everywhere."""
    s3, sqs = clients.s3(), clients.sqs()
    assert s3.list_objects_v2(Bucket=aws.bucket)["KeyCount"] == 0
    assert clients.dynamodb().scan(TableName=aws.jobs_table)["Count"] == 0
    assert "Messages" not in sqs.receive_message(QueueUrl=aws.queue_url, VisibilityTimeout=0)
    assert len(clients.sns().list_topics()["Topics"]) == 1
    assert bystander("secretsmanager", aws.region).list_secrets()["SecretList"] == []

    s3.put_object(Bucket=aws.bucket, Key="uploads/left.txt", Body=b"left")
    clients.dynamodb().put_item(
        TableName=aws.jobs_table, Item={"owner": {"S": "_"}, "jobId": {"S": "left behind"}}
    )
    sqs.send_message(QueueUrl=aws.queue_url, MessageBody="left")
    clients.sns().create_topic(Name=f"left-{time}")
    bystander("secretsmanager", aws.region).create_secret(Name=f"left-{time}", SecretString="left")
