"""infra/template.yaml as Terraform needs it: small enough to be sent whole, and read ahead of its outputs."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

MAX_BYTES = 51_200
"""Of a template that is sent in the request itself (CloudFormation User Guide, "CloudFormation quotas")."""


class TemplateError(Exception):
    """The template cannot be used so; the message is one line that says what to do."""


@dataclass(frozen=True)
class Place:
    """Where a stage is deployed to; `endpoint_url` is that of an embedded AWS."""

    stage: str
    account: str
    region: str
    partition: str = "aws"
    endpoint_url: str | None = None

    @property
    def sqs_url(self) -> str:
        domain = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return self.endpoint_url or f"https://sqs.{self.region}.{domain}"

    def arn(self, service: str, name: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{name}"


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, written out: `!Sub x` is `{"Fn::Sub": "x"}`."""


def _intrinsic(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    name = tag if tag in ("Ref", "Condition") else f"Fn::{tag}"
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    assert isinstance(node, yaml.ScalarNode)
    value = loader.construct_scalar(node)
    # Only YAML takes "Resource.Attribute" in one word.
    return {name: value.split(".", 1) if tag == "GetAtt" else value}


_Loader.add_multi_constructor("!", _intrinsic)


def load(text: str) -> dict[str, Any]:
    template: dict[str, Any] = yaml.load(text, Loader=_Loader)
    return template


def compact(template: Mapping[str, Any]) -> str:
    """The same template as JSON without a blank too many: a quarter of the YAML is comments and blanks.

    Raises:
        TemplateError: it is too large all the same.
    """
    text = json.dumps(template, separators=(",", ":"), ensure_ascii=False)
    if (size := len(text.encode())) > MAX_BYTES:
        raise TemplateError(
            f"infra/template.yaml is {size:,} bytes as JSON; CloudFormation takes {MAX_BYTES:,} in a request"
        )
    return text


def outputs(template: Mapping[str, Any], place: Place, parameters: Mapping[str, str]) -> dict[str, str]:
    """The outputs that the stack will have, as far as they follow from the names that the template gives.

    Chalice wants to know bucket, queues and topic when it packages, which is before there is a stack.
    """
    chosen = {
        name: str(body["Default"]) for name, body in template["Parameters"].items() if "Default" in body
    }
    chosen |= {
        **parameters,
        "Stage": place.stage,
        "AWS::AccountId": place.account,
        "AWS::Region": place.region,
    }
    found = {
        name: _referred(output["Value"].get("Ref", ""), template, place, chosen)
        for name, output in template["Outputs"].items()
        if "Condition" not in output and isinstance(output["Value"], dict)
    }
    return {name: value for name, value in found.items() if value is not None}


def _referred(name: str, template: Mapping[str, Any], place: Place, chosen: Mapping[str, str]) -> str | None:
    """What `!Ref name` stands for; None where only the stack knows.

    From "Return values" of each type in the CloudFormation Template Reference Guide.
    """
    if name in chosen:
        return chosen[name]
    resource = template["Resources"].get(name, {"Type": ""})
    kinds = {
        "AWS::S3::Bucket": ("BucketName", "{}"),
        "AWS::DynamoDB::Table": ("TableName", "{}"),
        "AWS::SQS::Queue": ("QueueName", f"{place.sqs_url}/{place.account}/{{}}"),
        "AWS::SNS::Topic": ("TopicName", place.arn("sns", "{}")),
        "AWS::StepFunctions::StateMachine": ("StateMachineName", place.arn("states", "stateMachine:{}")),
    }
    if resource["Type"] not in kinds:
        return None
    attribute, form = kinds[resource["Type"]]
    named = resource["Properties"].get(attribute, {})
    pattern = named.get("Fn::Sub") if isinstance(named, dict) else None
    if pattern is None:
        return None
    return form.format(re.sub(r"\$\{([^}]+)}", lambda found: chosen[found[1]], pattern))
