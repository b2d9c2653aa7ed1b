"""Who deploys, as the tests play them: a checkout, no more rights than they need, and an empty AWS."""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ops import deploy, destroy, ports, snapshot
from ops.children import Child
from ops.deploy import rights
from ops.embedded_aws import HOST
from ops.stack import client
from ops.state import CHECKOUT
from tests.stack.user import eventually, http_call

CHALICE = "import sys; from chalice.cli import main; sys.exit(main())"
ACCOUNT = "000000000000"
REGION = "us-east-1"
SECRET = "known-to-the-http-handler-and-to-nobody-else"


class Account:
    """An embedded AWS by itself, without anything that `make run` has beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with ports.listen(0, "AWS_PORT") as listening:
            self.url = f"http://{HOST}:{listening.getsockname()[1]}"
            descriptor = str(listening.fileno())
            self.child = Child(
                "ops.embedded_aws",
                [
                    "--port",
                    self.url.rpartition(":")[2],
                    "--state-dir",
                    str(directory),
                    "--listening",
                    descriptor,
                ],
                cwd=CHECKOUT,
                log=directory / "log",
                env=os.environ,
                pass_fds=[listening.fileno()],
            )
        eventually(lambda: http_call("GET", f"{self.url}/_ministack/health").status == 200, "it answers")

    def root(self, service: str) -> Any:
        return client(service, self.url)


class Deployer:
    """One stage's, with a policy as `deploy --rights` prints it."""

    def __init__(self, account: Account, directory: Path, stage: str, patch: pytest.MonkeyPatch) -> None:
        self.account, self.stage, self.patch = account, stage, patch
        self.project = directory
        self.said = ""
        snapshot.copy_code(CHECKOUT, directory)
        shutil.copy(CHECKOUT / ".chalice" / "config.json", directory / ".chalice")
        shutil.copytree(CHECKOUT / "infra", directory / "infra")
        self.user = f"operator-{stage}"
        iam = account.root("iam")
        iam.create_user(UserName=self.user)
        needed = json.dumps(rights.policy("aws", REGION, ACCOUNT, stage))
        iam.put_user_policy(UserName=self.user, PolicyName="deploy", PolicyDocument=needed)
        key = iam.create_access_key(UserName=self.user)["AccessKey"]
        for name in [name for name in os.environ if name.startswith(("AWS_", "JWT_"))]:
            patch.delenv(name)
        self.env = {
            "AWS_ENDPOINT_URL": account.url,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": HOST,
            "no_proxy": HOST,
        }

    # --- What they type -------------------------------------------------------------------------------------

    def deploy(self, *arguments: str, **env: str) -> tuple[int, str]:
        """Exit code, and all that was said."""
        return self._run(deploy, arguments, env)

    def destroy(self, *arguments: str) -> tuple[int, str]:
        return self._run(destroy, (*arguments, "--yes"), {})

    def chalice_deploy(self, **env: str) -> tuple[int, str]:
        """As it comes, with nothing of ours around it."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                CHALICE,
                f"--project-dir={self.project}",
                "deploy",
                f"--stage={self.stage}",
            ],
            cwd=self.project,
            env={"PATH": os.environ["PATH"], "HOME": str(self.project), **self.env}
            | {"AWS_DEFAULT_REGION": REGION}
            | env,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    def _run(self, module: ModuleType, arguments: tuple[str, ...], env: dict[str, str]) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        options = [*arguments, "--stage", self.stage, "--project-dir", str(self.project)]
        said = io.StringIO()
        with self.patch.context() as patched:
            for name, value in (self.env | env).items():
                patched.setenv(name, value)
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code: int = module.run(parser.parse_args(options))
        return code, said.getvalue()

    @contextmanager
    def may_not(self, action: str, resource: str = "*") -> Iterator[None]:
        """For as long as the block lasts."""
        iam = self.account.root("iam")
        deny = {"Effect": "Deny", "Action": action, "Resource": resource}
        document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
        iam.put_user_policy(UserName=self.user, PolicyName="not", PolicyDocument=document)
        try:
            yield
        finally:
            iam.delete_user_policy(UserName=self.user, PolicyName="not")

    # --- What they set --------------------------------------------------------------------------------------

    @property
    def config(self) -> Path:
        return self.project / ".chalice" / "config.json"

    def configure(self, **variables: str) -> None:
        """Settings of the stage, in its section of the configuration."""
        config = json.loads(self.config.read_text())
        section = config["stages"].setdefault(self.stage, {})
        section.setdefault("environment_variables", {"AUTH_MODE": "jwt"}).update(variables)
        self.config.write_text(json.dumps(config))

    def choose(self, **options: Any) -> None:
        (self.project / "infra" / f"{self.stage}.json").write_text(json.dumps(options))

    # --- What there is then ---------------------------------------------------------------------------------

    def root(self, service: str) -> Any:
        return self.account.root(service)

    @property
    def functions(self) -> dict[str, Any]:
        """Of the stage, by the names that they are deployed under."""
        pages = self.root("lambda").get_paginator("list_functions").paginate()
        name = f"waybill-{self.stage}"
        return {
            one["FunctionName"]: one
            for page in pages
            for one in page["Functions"]
            if one["FunctionName"] == name or one["FunctionName"].startswith(f"{name}-")
        }

    def state(self) -> dict[str, Any]:
        """Whatever a deployment makes outside of the template; the same for two that are alike."""
        functions, logs, gateway = self.root("lambda"), self.root("logs"), self.root("apigateway")
        mappings = [
            (one["EventSourceArn"], one["FunctionArn"], one.get("FunctionResponseTypes"))
            for name in self.functions
            for one in functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        ]
        groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/waybill-{self.stage}")["logGroups"]
        topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:waybill-{self.stage}-events"
        heard = self.root("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        events = self.root("events").list_rules(NamePrefix=f"waybill-{self.stage}-")["Rules"]
        bucket = f"waybill-{self.stage}-{ACCOUNT}"
        told = self.root("s3").get_bucket_notification_configuration(Bucket=bucket)
        return {
            "variables": {
                name: one.get("Environment", {}).get("Variables", {}) for name, one in self.functions.items()
            },
            "mappings": sorted(mappings),
            "retention": {group["logGroupName"]: group.get("retentionInDays") for group in groups},
            "destinations": {name: self._destination(name) for name in self.functions},
            "apis": [api["id"] for api in gateway.get_rest_apis()["items"] if self._serves(api["id"])],
            "subscriptions": [one["Endpoint"] for one in heard],
            "rules": sorted((rule["Name"], rule["State"]) for rule in events),
            "notifications": sorted(
                one["LambdaFunctionArn"] for one in told.get("LambdaFunctionConfigurations", [])
            ),
        }

    def _destination(self, name: str) -> str | None:
        functions = self.root("lambda")
        try:
            found = functions.get_function_event_invoke_config(FunctionName=name)
        except functions.exceptions.ResourceNotFoundException:
            return None
        destination: str | None = found["DestinationConfig"]["OnFailure"].get("Destination")
        return destination

    def _serves(self, api: str) -> bool:
        gateway = self.root("apigateway")
        for resource in gateway.get_resources(restApiId=api)["items"]:
            if resource["path"] == "/health":
                uri = gateway.get_integration(restApiId=api, resourceId=resource["id"], httpMethod="GET")[
                    "uri"
                ]
                return f":waybill-{self.stage}/" in uri
        return False
