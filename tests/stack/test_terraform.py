"""The Terraform door: what is prepared is valid, is applied, works, is then as planned, and goes again."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops import tokens
from ops.stack import REGION, ROOT_KEYS, LocalStack
from ops.state import CHECKOUT
from tests.stack.user import User, eventually

STAGE = "terraform"
STATE_BUCKET = "states-of-terraform"
SECRET = "a secret of this test alone, of forty bytes"

# The embedded AWS has no TLS and no names of buckets in DNS; Terraform merges such files into the module.
OVERRIDE = """
provider "aws" {
  s3_use_path_style = true
}
"""
NO_PROVIDER = ("Failed to query available provider packages", "Unsupported Terraform Core version")

pytestmark = pytest.mark.skipif(not shutil.which("terraform"), reason="needs terraform, 1.10 or later")


@dataclass
class Terraform:
    """Terraform in the prepared directory, with the embedded AWS for its AWS."""

    directory: Path
    env: dict[str, str]

    def run(self, *arguments: str, expect: int = 0) -> str:
        code, output = self.attempt(*arguments)
        assert code == expect, output
        return output

    def attempt(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.directory,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def terraform(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Initialised, with its state in S3."""
    kept = ("PATH", "HOME", "TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    if not Path(env.get("TF_CLI_CONFIG_FILE", "")).is_file():
        env.pop("TF_CLI_CONFIG_FILE", None)  # Terraform would say so before everything else that it says
    env |= {
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ROOT_KEYS[0],
        "AWS_SECRET_ACCESS_KEY": ROOT_KEYS[1],
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "TF_CLI_ARGS": "-no-color",
        "TF_VAR_jwt_secret": SECRET,
    }
    directory = tmp_path_factory.mktemp("terraform") / "stage"
    prepare = [sys.executable, "-m", "ops", "terraform", "--stage", STAGE, "--to", str(directory)]
    done = subprocess.run(
        [*prepare, "--state-bucket", STATE_BUCKET], cwd=CHECKOUT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "export TF_VAR_jwt_secret=" in done.stdout
    (directory / "local_override.tf").write_text(OVERRIDE)
    stack.client("s3").create_bucket(Bucket=STATE_BUCKET)
    found = Terraform(directory, env)
    options = ["-backend-config=backend.hcl", "-backend-config=use_path_style=true"]
    if plugins := os.environ.get("WAYBILL_TERRAFORM_PLUGINS"):
        options.append(f"-plugin-dir={plugins}")
    code, output = found.attempt("init", *options)
    if code and any(reason in output for reason in NO_PROVIDER):
        error = " ".join(output.partition("Error: ")[2].split())
        pytest.skip(f"terraform has no AWS provider here, or is too old: {error[:200]}")
    assert code == 0, output
    return found


def test_a_file_goes_through_what_terraform_has_made(terraform: Terraform, stack: LocalStack) -> None:
    terraform.run("validate")
    terraform.run("apply", "-auto-approve", "-parallelism=40")

    outputs = {name: body["value"] for name, body in json.loads(terraform.run("output", "-json")).items()}
    api_id = outputs["api_url"].removeprefix("https://").split(".")[0]
    user = User(
        stack, f"{stack.endpoint_url}/_aws/execute-api/{api_id}/api", token=tokens.make("alice", SECRET)
    )
    signed = user.upload(b'{"id": "order-1", "total": 12.50}', filename="order.json")
    job = user.ended(signed["jobId"])
    assert (job["status"], job["detectedType"]) == ("COMPLETED", "application/json")
    bucket = outputs["bucket"]
    assert bucket == f"waybill-{STAGE}-000000000000"
    stored = stack.client("s3").list_objects_v2(Bucket=bucket, Prefix="processed/alice/")
    assert signed["s3Key"].replace("uploads/", "processed/", 1) in [o["Key"] for o in stored["Contents"]]

    functions = stack.client("lambda")
    queue = f"waybill-{STAGE}-jobs"
    (mapping,) = (
        found
        for found in functions.list_event_source_mappings()["EventSourceMappings"]
        if found["EventSourceArn"].endswith(f":{queue}")
    )
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    destination = functions.get_function_event_invoke_config(FunctionName=f"waybill-{STAGE}-notify")
    assert destination["DestinationConfig"]["OnFailure"]["Destination"].endswith(f"-{STAGE}-failed-events")
    (group,) = stack.client("logs").describe_log_groups(
        logGroupNamePrefix=f"/aws/lambda/waybill-{STAGE}-sweep"
    )["logGroups"]
    assert group["retentionInDays"] == 30

    # State and its lock are in the bucket, and no lock is left.
    kept = [entry["Key"] for entry in stack.client("s3").list_objects_v2(Bucket=STATE_BUCKET)["Contents"]]
    assert kept == [f"waybill/{STAGE}.tfstate"]

    planned = terraform.run("plan", "-detailed-exitcode")
    assert "No changes." in planned

    terraform.run("destroy", "-auto-approve", "-refresh=false", "-parallelism=40")
    left = [name for name in function_names(stack) if name.startswith(f"waybill-{STAGE}")]
    assert left == []
    eventually(lambda: stack.client("s3").head_bucket(Bucket=bucket), "the bucket with its files stays")


def test_somebody_elses_lock_stops_it(terraform: Terraform, stack: LocalStack) -> None:
    lock = {"ID": "another", "Who": "a colleague"}
    key = f"waybill/{STAGE}.tfstate.tflock"
    stack.client("s3").put_object(Bucket=STATE_BUCKET, Key=key, Body=json.dumps(lock).encode())
    try:
        refused = terraform.run("plan", "-refresh=false", expect=1)
    finally:
        stack.client("s3").delete_object(Bucket=STATE_BUCKET, Key=key)

    assert re.search(r"Error acquiring the state lock", refused)
    assert "a colleague" in refused


def test_credentials_of_another_account_are_refused(terraform: Terraform) -> None:
    """On the embedded AWS an account's number is the key of its root."""
    credentials = 'provider "aws" {\n  access_key = "123456789012"\n  secret_key = "any"\n}\n'
    refused = refused_with(terraform, "other_override.tf", credentials)

    assert "AWS account ID not allowed: 123456789012" in refused


def test_a_variable_cannot_do_what_the_settings_must_not(terraform: Terraform) -> None:
    refused = refused_with(terraform, "other.auto.tfvars", 'parameters = { RequireTls = "false" }\n')

    assert "RequireTls" in refused
    assert "follow from what was packaged" in " ".join(refused.replace("│", " ").split())


def refused_with(terraform: Terraform, name: str, text: str) -> str:
    """What is said of a plan with one more file beside the module."""
    file = terraform.directory / name
    file.write_text(text)
    try:
        return terraform.run("plan", "-refresh=false", "-lock=false", expect=1)
    finally:
        file.unlink()


def function_names(stack: LocalStack) -> list[str]:
    pages = stack.client("lambda").get_paginator("list_functions")
    return [function["FunctionName"] for page in pages.paginate() for function in page["Functions"]]


def test_the_module_is_formatted(terraform: Terraform) -> None:
    terraform.run("fmt", "-check", "-diff", str(CHECKOUT / "infra" / "terraform"))
