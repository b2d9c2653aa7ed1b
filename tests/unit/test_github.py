""".github/ and infra/github-oidc.yaml: what linters say, and what keeps a workflow from doing harm."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops import template
from tests.unit import cfn_lint

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOOLS = Path(sys.executable).parent
ROLE = template.load(ROOT / "infra" / "github-oidc.yaml")
MAX_POLICY = 6_144
"""Characters of a managed policy without its blanks (IAM User Guide, "IAM and AWS STS quotas")."""

each_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=[file.stem for file in WORKFLOWS])


def workflow(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


def jobs(file: Path) -> Iterator[tuple[str, Any]]:
    yield from yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].items()


def tool(name: str, *arguments: object) -> None:
    done = subprocess.run([TOOLS / name, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_github_can_read_them() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    tool("check-jsonschema", "--builtin-schema", "vendor.dependabot", ROOT / ".github" / "dependabot.yml")


def test_zizmor_finds_nothing_that_could_be_abused() -> None:
    tool("zizmor", "--offline", "--quiet", "--no-progress", ROOT / ".github")


@each_workflow
def test_they_call_make_targets_that_there_are(file: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
    called = re.findall(r"(?m)(?:run: |^\s+)make ([a-z]+)", file.read_text(encoding="utf-8"))

    assert [target for target in called if target not in targets] == []
    if file.stem != "publish":
        assert called


@each_workflow
def test_actions_are_pinned_to_a_commit(file: Path) -> None:
    """A tag can be moved to other code afterwards; the version beside it is for people and for Dependabot."""
    used = re.findall(r"(?m)uses: (\S+)(.*)$", file.read_text(encoding="utf-8"))
    pinned = [f"{name}{rest}" for name, rest in used if not name.startswith("./")]

    assert [one for one in pinned if not re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", one)] == []


@each_workflow
def test_a_job_may_only_read_unless_it_says_otherwise_and_comes_to_an_end(file: Path) -> None:
    whole = yaml.safe_load(file.read_text(encoding="utf-8"))

    assert whole["permissions"] == {"contents": "read"}
    assert "group" in whole["concurrency"]
    for name, job in jobs(file):
        assert "uses" in job or job["timeout-minutes"] <= 60, name
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_only_a_guarded_deployment_may_speak_to_aws() -> None:
    allowed = [
        (file.stem, job.get("environment"))
        for file in WORKFLOWS
        for _, job in jobs(file)
        if "id-token" in job.get("permissions", {})
    ]

    assert allowed == [("deploy", "${{ inputs.stage }}")]
    text = "".join(file.read_text(encoding="utf-8") for file in WORKFLOWS)
    assert not re.search(r"(?i)aws-(access-key-id|secret-access-key)|AWS_SECRET", text)


def test_nothing_is_installed_beside_credentials() -> None:
    steps = workflow("deploy.yml")["jobs"]["deploy"]["steps"]
    said = [step.get("run") or step["uses"].split("@")[0] for step in steps]

    assert said.index("make install") < said.index("aws-actions/configure-aws-credentials")


def test_tests_run_on_every_python_that_is_promised() -> None:
    assert workflow("check.yml")["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_nothing_is_published_that_was_not_checked() -> None:
    assert workflow("publish.yml")["jobs"]["publish"]["needs"] == "check"


# --- The role -----------------------------------------------------------------------------------------------


def test_cfn_lint_finds_nothing() -> None:
    assert cfn_lint.findings(ROOT / "infra" / "github-oidc.yaml") == []


def test_only_the_environment_of_the_stage_takes_the_role() -> None:
    (statement,) = ROLE["Resources"]["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]

    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:environment:${Stage}"},
        }
    }


@pytest.mark.parametrize(
    ("repository", "is_one"),
    [
        ("octo-org/octo.repo", True),
        # Of repositories made after 15 July 2026 (GitHub Docs, "OpenID Connect reference").
        ("octo-org@123456/octo.repo@456789", True),
        ("octo-org@123456/octo.repo", False),
        ("octo-org/octo.repo@456789", False),
        ("octo-org", False),
        ("octo-org/*", False),
        ("octo-org@*/octo.repo@*", False),
        ("octo-org/octo.repo:environment:dev", False),
    ],
)
def test_a_repository_is_named_as_its_tokens_name_it(repository: str, is_one: bool) -> None:
    pattern = template.load(ROOT / "infra" / "github-oidc.yaml")["Parameters"]["Repository"]["AllowedPattern"]

    assert bool(re.search(pattern, repository)) is is_one


@pytest.mark.parametrize("name", ["Resources", "Functions"])
def test_its_policies_fit(name: str) -> None:
    document = json.dumps(ROLE["Resources"][name]["Properties"]["PolicyDocument"], separators=(",", ":"))
    longest = document.replace("${Stage}", "a" * 20).replace("${AWS::Region}", "ap-northeast-1")

    assert len(longest) < MAX_POLICY


@pytest.mark.parametrize("name", ["Resources", "Functions"])
def test_what_it_changes_is_of_the_stage(name: str) -> None:
    """Whatever is allowed everywhere has no name of its own to be allowed by."""
    for statement in ROLE["Resources"][name]["Properties"]["PolicyDocument"]["Statement"]:
        resources = (
            statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        )
        if statement["Effect"] == "Deny" or statement["Sid"] in (
            "Apis",
            "LetEcsWork",
            "WriteListsInTheTemplate",
        ):
            continue
        for resource in resources:
            if resource == "*":
                assert statement["Sid"] in ("LookAtTemplates", "LookAround", "Unnamed", "Mappings")
            else:
                assert "${Stage}" in resource["Fn::Sub"]


def test_it_reads_no_file_deletes_no_data_and_neither_changes_itself_nor_becomes_another() -> None:
    statements = [
        statement
        for name in ("Resources", "Functions")
        for statement in ROLE["Resources"][name]["Properties"]["PolicyDocument"]["Statement"]
    ]
    granted = {
        action
        for statement in statements
        if statement["Effect"] == "Allow"
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }

    assert (
        not {"s3:GetObject", "s3:DeleteBucket", "s3:*", "dynamodb:*", "iam:AttachRolePolicy", "*"} & granted
    )
    assert not re.search(r"s3:Delete(Bucket|Object)\b", " ".join(granted))
    deleting = [one for one in statements if re.search("Delete(Queue|Table)", json.dumps(one["Action"]))]
    names = re.findall(r"waybill-\$\{Stage}-([a-z*-]+)", json.dumps([one["Resource"] for one in deleting]))
    assert sorted(names) == ["deliveries", "jobs", "jobs-dead"]
    denied = {one["Action"]: json.dumps(one["Resource"]) for one in statements if one["Effect"] == "Deny"}
    assert denied.keys() == {"iam:*", "sts:AssumeRole"}
    assert ":role/waybill-*-github" in denied["iam:*"]  # of other stages as well, whose names may begin alike
    assert denied["sts:AssumeRole"] == '"*"'
