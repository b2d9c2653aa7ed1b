"""infra/github-oidc.yaml: whoever has that role's rights can deploy its stage, twice, and no other."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import template
from ops.stack import REGION, LocalStack
from ops.state import CHECKOUT

STAGE = "github"
ACCOUNT = "000000000000"

# What the embedded AWS asks for by another resource than AWS does: a function that is yet to be made and a
# mapping by none at all, and a rule of the default bus by a name that has the bus in it.
ASKED_FOR_OTHERWISE = [
    "lambda:CreateFunction",
    "lambda:CreateEventSourceMapping",
    "lambda:UpdateEventSourceMapping",
    *(f"events:{action}" for action in ("PutRule", "DescribeRule", "PutTargets", "ListTargetsByRule")),
]


def policies() -> Iterator[tuple[str, str]]:
    """The documents of the role, for this account and stage."""
    names = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "Stage": STAGE}

    def resolved(node: Any) -> Any:
        match node:
            case {"Fn::Sub": text}:
                return re.sub(r"\$\{([^}]+)}", lambda found: names[found[1]], text)
            case dict():
                return {key: resolved(value) for key, value in node.items()}
            case list():
                return [resolved(value) for value in node]
        return node

    for name, resource in template.load(CHECKOUT / "infra" / "github-oidc.yaml")["Resources"].items():
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            yield name, json.dumps(resolved(resource["Properties"]["PolicyDocument"]))
    extra = {"Effect": "Allow", "Action": ASKED_FOR_OTHERWISE, "Resource": "*"}
    yield "AskedForOtherwise", json.dumps({"Version": "2012-10-17", "Statement": [extra]})


@pytest.fixture(scope="module")
def keys(stack: LocalStack) -> tuple[str, str]:
    """Of a user with the policies of the role."""
    iam = stack.client("iam")
    iam.create_user(UserName="deployer")
    for name, document in policies():
        iam.put_user_policy(UserName="deployer", PolicyName=name, PolicyDocument=document)
    key = iam.create_access_key(UserName="deployer")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a job has checked out."""
    project = tmp_path_factory.mktemp("project")
    for part in ("chalicelib", "infra"):
        shutil.copytree(CHECKOUT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "app.py", project / "app.py")
    (project / "requirements.txt").write_text("")  # the functions run where everything is installed
    (project / ".chalice").mkdir()
    shutil.copy(CHECKOUT / ".chalice" / "config.json", project / ".chalice" / "config.json")
    return project


def deploy(
    stack: LocalStack, keys: tuple[str, str], project: Path, stage: str
) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env |= {
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "JWT_SECRET": "a secret of this test alone, of forty bytes",
    }
    command = [sys.executable, "-m", "ops", "deploy", "--stage", stage, "--project-dir", str(project)]
    return subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)


def test_it_deploys_its_stage_and_brings_it_up_to_date(
    stack: LocalStack, keys: tuple[str, str], project: Path
) -> None:
    for _ in range(2):
        done = deploy(stack, keys, project, STAGE)
        assert (done.returncode, "Deployed" in done.stdout) == (0, True), done.stdout + done.stderr


def test_it_deploys_no_other_stage(stack: LocalStack, keys: tuple[str, str], project: Path) -> None:
    done = deploy(stack, keys, project, "other")

    assert done.returncode != 0
    assert "DescribeStacks is refused" in done.stderr + done.stdout


def test_it_gives_itself_nothing_and_reads_no_file(stack: LocalStack, keys: tuple[str, str]) -> None:
    session = stack.session(*keys)
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    with pytest.raises(ClientError, match="AccessDenied"):
        stack.client("iam", session).put_role_policy(
            RoleName=f"waybill-{STAGE}-github",
            PolicyName="more",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
        )
    with pytest.raises(ClientError, match="AccessDenied"):
        stack.client("s3", session).get_object(Bucket=f"waybill-{STAGE}-{ACCOUNT}", Key="processed/any")
