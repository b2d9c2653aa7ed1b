"""A deployment as its operator meets it: the local stack of this machine, or a stage on AWS.

The resources are found by the outputs of the CloudFormation stack `waybill-<stage>`, and the settings in the
environment of the deployed functions. What is asked is asked with the operator's own credentials.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from chalicelib.errors import SettingsError
from chalicelib.ledger import Ledger
from chalicelib.settings import MIN_SECRET_BYTES, Settings
from ops import snapshot, stack
from ops.embedded_aws import HOST
from ops.policies import APP, function_name
from ops.state import CHECKOUT


class CannotLook(Exception):
    """There is nothing there to look at, or no leave to; the message is one line that says what to do."""


@dataclass(frozen=True)
class Deployment:
    """One stage of Waybill; `client` makes, or finds, the AWS client of a service."""

    stage: str
    region: str
    outputs: Mapping[str, str]
    client: Callable[[str], Any]
    endpoint_url: str | None = None

    @property
    def where(self) -> str:
        return f"stage {self.stage} on {self.endpoint_url or f'AWS, {self.region}'}"

    def call(self, *words: str) -> str:
        """The line to type for another of our commands on the same deployment."""
        here, python = Path.cwd(), Path(sys.executable)
        executable = python.relative_to(here) if python.is_relative_to(here) else python
        there: list[str] = []
        if self.endpoint_url is None:
            there = ["--stage", self.stage]
        elif not self.endpoint_url.endswith(":4566"):
            there = ["--aws-port", self.endpoint_url.rpartition(":")[2]]
        return shlex.join([str(executable), "-m", "ops", *words, *there])

    @property
    def aws(self) -> str:
        """How the `aws` command is called to get here."""
        return "aws" if self.endpoint_url is None else f"aws --endpoint-url {self.endpoint_url}"

    def function_name(self, function: str) -> str:
        return function_name(self.stage, function)

    @cached_property
    def functions(self) -> tuple[str, ...]:
        """What app.py declares, by the names of the handlers."""
        config = json.loads((CHECKOUT / ".chalice" / "config.json").read_text())
        return tuple(config["lambda_functions"])

    @cached_property
    def settings(self) -> Settings:
        """As the consumer has them; the defaults where there is no consumer.

        Raises:
            CannotLook: they are wrong, so that no function works.
        """
        env = {name: self.outputs[o] for name, o in snapshot.FROM_OUTPUTS.items() if o in self.outputs}
        # Nobody's tokens are looked at here, and JWT_SECRET may be set for the HTTP handler alone.
        env |= self._variables("consume") | {"AWS_REGION": self.region}
        env = {name: value for name, value in env.items() if not name.startswith("JWT_")}
        env |= {"AUTH_MODE": "jwt", "JWT_SECRET": "-" * MIN_SECRET_BYTES}
        try:
            return Settings.from_env(env)
        except SettingsError as error:
            raise CannotLook(f"the settings of {self.where} are wrong: {error.message}") from None

    @property
    def ledger(self) -> Ledger:
        settings = self.settings
        return Ledger(
            self.client("dynamodb"),
            settings.jobs_table,
            lease_seconds=settings.lease_seconds,
            retention_days=settings.retention_days,
        )

    def _variables(self, function: str) -> dict[str, str]:
        functions = self.client("lambda")
        try:
            found = functions.get_function_configuration(FunctionName=self.function_name(function))
        except functions.exceptions.ResourceNotFoundException:
            return {}
        variables: dict[str, str] = found.get("Environment", {}).get("Variables", {})
        return variables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stage", help="a stage on AWS, by your AWS credentials and region (default: the local stack)"
    )
    parser.add_argument(
        "--aws-port", type=int, default=4566, help="of the local stack's embedded AWS (default: 4566)"
    )


def find(options: argparse.Namespace) -> Deployment:
    """
    Raises:
        CannotLook: nothing answers there, or it holds no Waybill.
    """
    if options.stage is None:
        return local(f"http://{HOST}:{options.aws_port}")
    with errors_in_one_line(f"stage {options.stage} on AWS"):
        return of_session(options.stage, shell_session())


def local(endpoint_url: str) -> Deployment:
    """The stack that `make run` keeps running, or a test's."""
    where = f"the local stack on {endpoint_url}"
    with errors_in_one_line(where):
        outputs = stack.stack_outputs(endpoint_url)
        return Deployment(
            stack.STAGE,
            stack.REGION,
            outputs,
            lambda service: stack.client(service, endpoint_url),
            endpoint_url,
        )


def of_session(stage: str, session: boto3.Session) -> Deployment:
    config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3})
    client = clients(session, config)
    (found,) = client("cloudformation").describe_stacks(StackName=f"{APP}-{stage}")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}
    return Deployment(stage, session.region_name, outputs, client)


def shell_session() -> boto3.Session:
    """By the credentials and the region of the shell; by itself boto3 reads only AWS_DEFAULT_REGION."""
    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)


def clients(session: boto3.Session, config: Config) -> Callable[[str], Any]:
    """Makes, or finds, the client of a service."""
    connect: Any = session.client
    return cache(lambda service: connect(service, config=config))


@contextmanager
def errors_in_one_line(where: str) -> Iterator[None]:
    """
    Raises:
        CannotLook: for whatever the SDK cannot do, in words that say what to do.
    """
    try:
        yield
    except ClientError as error:
        raise CannotLook(_said(error, where)) from None
    except EndpointConnectionError as error:
        local = f"//{HOST}" in str(error)
        what = "check AWS_REGION and the network"
        if local:
            what = "`make run` starts the local stack; --aws-port names its AWS_PORT, where that is another"
        raise CannotLook(f"nothing answers for {where}; {what}") from None
    except NoCredentialsError:
        raise CannotLook("no AWS credentials; set AWS_PROFILE, or log in with `aws sso login`") from None
    except NoRegionError:
        raise CannotLook("no AWS region; set AWS_REGION") from None
    except BotoCoreError as error:
        raise CannotLook(f"{where} cannot be looked at: {error}") from None


def _said(error: ClientError, where: str) -> str:
    said = error.response["Error"]
    code, message = said.get("Code", ""), " ".join(str(said.get("Message", "")).split())
    if "does not exist" in message and code == "ValidationError":
        return f"there is no Waybill at {where}; deploy it, or name another --stage"
    if code.startswith("ExpiredToken"):
        return "your AWS credentials have expired; log in again"
    return f"{error.operation_name} is refused at {where} ({code}: {message})"
