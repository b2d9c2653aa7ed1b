"""Where a stage is deployed to: an account and a region of AWS, by the credentials of the shell."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config

from ops.deploy.refusal import Refused
from ops.deployment import clients, shell_session
from ops.policies import APP
from ops.template import Template, of

LOCAL = "local"
"""The stage of `make run`."""


@dataclass(frozen=True)
class Target:
    """One stage in one account and region; `client` makes, or finds, the AWS client of a service."""

    stage: str
    project: Path
    """What is deployed: app.py, chalicelib/, .chalice/ and infra/ are in there."""
    region: str
    account: str
    partition: str
    client: Callable[[str], Any]
    endpoint_url: str | None = None

    @property
    def stack_name(self) -> str:
        return f"{APP}-{self.stage}"

    @property
    def embedded(self) -> bool:
        """Whether it is an embedded AWS of this machine, which speaks plain HTTP and has the code at hand."""
        return urlsplit(self.endpoint_url or "").hostname in ("127.0.0.1", "localhost", "::1")

    @property
    def where(self) -> str:
        return f"stage {self.stage} in {self.region}, account {self.account}" + (
            f", on {self.endpoint_url}" if self.endpoint_url else ""
        )

    @property
    def pause(self) -> float:
        """Seconds between two looks at what takes its time."""
        return 0.1 if self.embedded else 3.0

    @property
    def template(self) -> Template:
        return of(self.project)


def check_name(stage: str, template: Template) -> None:
    """
    Raises:
        Refused: this is no name for a stage on AWS.
    """
    rules = template["Parameters"]["Stage"]
    if stage == LOCAL:
        raise Refused("stage local is that of `make run`; deploy another: make deploy STAGE=dev")
    if not re.search(rules["AllowedPattern"], stage) or len(stage) > rules["MaxLength"]:
        raise Refused(f"{stage!r} is no name of a stage: {rules['ConstraintDescription']}")


def find(stage: str, project: Path) -> Target:
    """
    Raises:
        Refused: it cannot be told where to.
        botocore.exceptions.BotoCoreError, ClientError: no credentials, or nothing answers.
    """
    try:
        check_name(stage, of(project))
    except FileNotFoundError as error:
        raise Refused(f"{error.filename} is not there: deploy a checkout of Waybill") from None
    session = shell_session()
    if not session.region_name:
        raise Refused("no AWS region: set AWS_REGION, such as eu-central-1")
    config = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 5})
    client = clients(session, config)
    identity = client("sts").get_caller_identity()
    return Target(
        stage=stage,
        project=project,
        region=session.region_name,
        account=identity["Account"],
        partition=identity["Arn"].split(":")[1],
        client=client,
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL") or None,
    )
