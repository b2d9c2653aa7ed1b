"""infra/template.yaml, read so that it can be looked into and sent.

CloudFormation takes at most 51,200 bytes of a template in a request, and comments count: so it is sent as
JSON, without what only people read.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 51_200
"""Of `TemplateBody` (AWS CloudFormation User Guide, "Understand CloudFormation quotas")."""

Template = dict[str, Any]


class _Loader(yaml.CSafeLoader):
    """YAML with CloudFormation's short forms: `!Sub x` is read as `{"Fn::Sub": "x"}`."""


def _intrinsic(loader: yaml.CSafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    name = tag if tag in ("Ref", "Condition") else f"Fn::{tag}"
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    assert isinstance(node, yaml.ScalarNode)
    value = loader.construct_scalar(node)
    # The short form takes `Queue.Arn`, JSON takes a list.
    return {name: str(value).split(".", 1) if tag == "GetAtt" else value}


_Loader.add_multi_constructor("!", _intrinsic)


@cache
def load(path: Path) -> Template:
    """Not to be changed: it is read once."""
    with path.open(encoding="utf-8") as file:
        read: Template = yaml.load(file, Loader=_Loader)
    return read


def body(template: Template) -> str:
    """
    Raises:
        ValueError: it is larger than CloudFormation takes.
    """
    text = json.dumps(template, separators=(",", ":"), ensure_ascii=False)
    size = len(text.encode())
    if size > MAX_BYTES:
        raise ValueError(f"the template has {size} bytes, and CloudFormation takes {MAX_BYTES}")
    return text


def of(project: Path) -> Template:
    return load(project / "infra" / "template.yaml")
