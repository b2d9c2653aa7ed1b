"""Policies, held against what AWS says of its own actions: the embedded AWS checks little of it.

cfn-lint brings both tables along: the Service Authorization Reference, and the schemas of CloudFormation's
resource types, which name the actions that CloudFormation asks for in the name of who deploys.
"""

from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import pytest

from ops import template
from ops.deploy import rights
from ops.policies import GRANTS, Resources, policy
from ops.template import LOOP
from tests.unit import cfn_lint
from tests.unit.test_template import ACCOUNT, FARGATE, RAW, REGION, ROOT, Stack

STACK = Stack(Stage="dev", Transcriber="amazon", MalwareScan="guardduty", Tracing="true", **FARGATE)
ROLE = template.load(ROOT / "infra" / "github-oidc.yaml")["Resources"]

Statement = dict[str, Any]


def of_functions() -> Iterator[Statement]:
    resources = Resources.from_outputs("dev", STACK.outputs)
    for function in GRANTS:
        yield from (dict(statement) for statement in policy(function, resources)["Statement"])


def of_the_template() -> Iterator[Statement]:
    for resource in STACK.resources.values():
        for held in resource.get("Policies", []):
            yield from held["PolicyDocument"]["Statement"]


def of_who_deploys() -> list[Statement]:
    document = rights.policy("aws", REGION, ACCOUNT, "dev")
    statements: list[Statement] = document["Statement"]
    return statements


def of_the_github_role() -> Iterator[Statement]:
    for resource in ROLE.values():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            yield from resource["Properties"]["PolicyDocument"]["Statement"]


POLICIES = {
    "functions": list(of_functions()),
    "template": list(of_the_template()),
    "who deploys": of_who_deploys(),
    "GitHub": list(of_the_github_role()),
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def known(action: str) -> dict[str, Any] | None:
    """What the table says of an action; None where there is none of the name, or it is a pattern."""
    service, _, name = action.partition(":")
    found: dict[str, Any] | None = cfn_lint.services().get(service, {}).get("Actions", {}).get(name.lower())
    return found


def takes_resources(action: str) -> bool:
    return bool((known(action) or {}).get("Resources"))


@pytest.mark.parametrize("whose", POLICIES)
def test_what_knows_no_resources_is_allowed_on_all_of_them(whose: str) -> None:
    """A statement that names some allows such an action nowhere."""
    nowhere = [
        action
        for statement in POLICIES[whose]
        if statement["Effect"] == "Allow" and "*" not in listed(statement["Resource"])
        for action in listed(statement["Action"])
        if known(action) is not None and not takes_resources(action)
    ]

    assert nowhere == []


def asked_by_cloudformation() -> list[str]:
    """To look at what the template makes, and to tag it: with its own tags, even where nobody has set any."""
    asked: set[str] = set()
    for name, body in RAW["Resources"].items():
        resource = next(iter(body[2].values())) if name.startswith(LOOP) else body
        schema = cfn_lint.schema_of(resource["Type"], REGION)
        looks = schema["handlers"].get("read", {"permissions": []})
        asked |= {*looks["permissions"], *schema["tagging"].get("permissions", [])}
    # Keys of one's own are none of the template's.
    return sorted(action for action in asked if known(action) is not None and not action.startswith("kms:"))


@pytest.mark.parametrize("whose", ["who deploys", "GitHub"])
def test_cloudformation_may_look_at_and_tag_whatever_it_makes(whose: str) -> None:
    """It takes a resource back that it may not tag."""

    def allowed(action: str) -> bool:
        return any(
            fnmatch(action, pattern)
            and (takes_resources(action) or "*" in listed(statement["Resource"]))
            and statement["Effect"] == "Allow"
            for statement in POLICIES[whose]
            for pattern in listed(statement["Action"])
        )

    assert [action for action in asked_by_cloudformation() if not allowed(action)] == []
