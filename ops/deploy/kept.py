"""Bucket, tables and queues that an earlier stack has left behind: taken into the new one as they are.

Their names are fixed, so that creating them would fail. An import may neither create nor change anything, and
knows no outputs (AWS CloudFormation User Guide, "Import AWS resources into a CloudFormation stack manually"):
so first comes a template of nothing but these, then an update to the whole one. `ImportExistingResources` of
a change set would do both at once, but takes no names that are made by functions, as all of ours are.
"""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from ops.deploy.target import Target
from ops.template import Template

NAMES = {"AWS::S3::Bucket": "BucketName", "AWS::DynamoDB::Table": "TableName", "AWS::SQS::Queue": "QueueName"}
"""The property that names each kind of resource which is ever kept."""

BARE = ("AWS::S3::Bucket", "AWS::SQS::Queue")
"""Imported by name alone: the update then sets all properties, whatever became of them meanwhile. A table is
imported as the template has it, since the update would try to create its index again."""


def find(target: Target) -> list[dict[str, Any]]:
    """What of the template's kept resources is there; as `ResourcesToImport` of a change set has it."""
    looks: dict[str, Callable[[str], dict[str, str] | None]] = {
        "AWS::S3::Bucket": lambda name: _bucket(target, name),
        "AWS::DynamoDB::Table": lambda name: _table(target, name),
        "AWS::SQS::Queue": lambda name: _queue(target, name),
    }
    found = []
    for logical, resource in kept(target.template).items():
        identifier = looks[resource["Type"]](name_of(target, resource))
        if identifier:
            found.append(
                {
                    "ResourceType": resource["Type"],
                    "LogicalResourceId": logical,
                    "ResourceIdentifier": identifier,
                }
            )
    return found


def kept(template: Template) -> dict[str, Any]:
    """The resources that stay when the stack goes."""
    return {
        logical: resource
        for logical, resource in template["Resources"].items()
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate"
    }


def name_of(target: Target, resource: Mapping[str, Any]) -> str:
    text: str = resource["Properties"][NAMES[resource["Type"]]]["Fn::Sub"]
    return text.replace("${Stage}", target.stage).replace("${AWS::AccountId}", target.account)


def template_of(template: Template, found: list[dict[str, Any]]) -> Template:
    """The template of an import, which may hold nothing but what is imported."""
    resources = {}
    for one in found:
        resource = template["Resources"][one["LogicalResourceId"]]
        name = NAMES[resource["Type"]]
        if resource["Type"] in BARE:
            resource = {**resource, "Properties": {name: resource["Properties"][name]}}
        resources[one["LogicalResourceId"]] = resource
    return {
        "AWSTemplateFormatVersion": template["AWSTemplateFormatVersion"],
        "Description": template["Description"],
        "Parameters": {"Stage": template["Parameters"]["Stage"]},
        "Resources": resources,
    }


def _bucket(target: Target, name: str) -> dict[str, str] | None:
    try:
        target.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=target.account)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise
    return {"BucketName": name}


def _table(target: Target, name: str) -> dict[str, str] | None:
    tables = target.client("dynamodb")
    try:
        tables.describe_table(TableName=name)
    except tables.exceptions.ResourceNotFoundException:
        return None
    return {"TableName": name}


def _queue(target: Target, name: str) -> dict[str, str] | None:
    queues = target.client("sqs")
    try:
        return {"QueueUrl": queues.get_queue_url(QueueName=name)["QueueUrl"]}
    except queues.exceptions.QueueDoesNotExist:
        return None
