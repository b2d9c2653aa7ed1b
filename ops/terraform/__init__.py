"""`python -m ops terraform`: everything that Terraform needs to deploy one stage, in one directory.

The module of infra/terraform, the template, and what Chalice packages of app.py, made valid (functions.py).
Then Terraform's own commands are run there. Nothing of AWS is changed here; only the account is asked for.
"""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import boto3

from ops.deployment import CannotLook, errors_in_one_line
from ops.policies import APP
from ops.snapshot import PARAMETERS
from ops.state import CHECKOUT
from ops.terraform import app, functions, template
from ops.terraform.chalice import package
from ops.terraform.template import Place, TemplateError

LAMBDA_PYTHON = (3, 12)
"""The first of which all our requirements have wheels that Chalice takes for Lambda."""

NEXT = """\
{directory} is ready: {functions} functions of stage {stage}, for account {account} in {region}.

  cd {directory}
  terraform init{backend}
{secrets}  terraform plan -out plan
  terraform apply plan
"""

_STAGE = re.compile(r"(?=.{1,20}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost)(:\d+)?/?")


class CannotPrepare(Exception):
    """The message is one line that says what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", default="dev", help="of .chalice/config.json (default: dev)")
    parser.add_argument("--to", type=Path, help="directory (default: build/terraform/STAGE)")
    parser.add_argument(
        "--state-bucket", help="bucket for Terraform's state (default: as backend.hcl there says)"
    )


def run(options: argparse.Namespace) -> int:
    try:
        place = find_place(options.stage, os.environ)
        target = (options.to or Path("build") / "terraform" / place.stage).absolute()
        count = prepare(CHECKOUT, target, place)
        if options.state_bucket:
            _write_backend(target, place, options.state_bucket)
    except (CannotPrepare, CannotLook, TemplateError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_what_next(target, place, count), end="")
    return 0


def find_place(stage: str, env: Mapping[str, str]) -> Place:
    """Where the shell's credentials and region lead to.

    Raises:
        CannotPrepare: it is no stage's name, or this Python is too old for Lambda.
        CannotLook: there are no credentials, or no region.
    """
    if not _STAGE.fullmatch(stage):
        raise CannotPrepare(
            f"{stage!r} is no stage: lower-case letters, digits and single hyphens, at most 20 in all"
        )
    endpoint_url = env.get("AWS_ENDPOINT_URL") or None
    if endpoint_url and not _LOOPBACK.fullmatch(endpoint_url):
        raise CannotPrepare(f"AWS_ENDPOINT_URL is {endpoint_url}: unset it, or name an AWS of this machine")
    if not endpoint_url and sys.version_info < LAMBDA_PYTHON:
        wanted = ".".join(map(str, LAMBDA_PYTHON))
        raise CannotPrepare(
            f"Lambda takes packages of Python {wanted} or later: make PYTHON=python{wanted} …"
        )
    with errors_in_one_line("AWS"):
        # By itself boto3 reads only AWS_DEFAULT_REGION.
        sts = boto3.client("sts", region_name=env.get("AWS_REGION") or None)
        _, partition, *_ = (caller := sts.get_caller_identity())["Arn"].split(":")
        return Place(stage, caller["Account"], sts.meta.region_name, partition, endpoint_url)


def prepare(checkout: Path, target: Path, place: Place) -> int:
    """Fill `target`; what Terraform itself keeps there stays, and so do files of other names.

    Returns:
        How many functions there are.

    Raises:
        CannotPrepare: the app cannot be packaged.
        TemplateError: the template is too large.
    """
    settings = app.stage_settings(checkout, place.stage)
    parameters = {name: settings[variable] for variable, name in PARAMETERS.items() if settings.get(variable)}
    resources = template.load((checkout / "infra" / "template.yaml").read_text(encoding="utf-8"))
    outputs = template.outputs(resources, place, parameters)
    template_json = template.compact(resources)

    work = target / "app"
    app.copy(checkout, work, place.stage, outputs, with_requirements=place.endpoint_url is None)
    try:
        packaged = package(work, place)
    except ChildProcessError as error:
        raise CannotPrepare(f"chalice package failed: {error}") from None

    made = functions.made_valid(packaged, f"{APP}-{place.stage}", app.secrets_of(settings))
    made["locals"] |= {
        "stage": place.stage,
        "account": place.account,
        "region": place.region,
        "parameters": {"Stage": place.stage, **parameters},
        "outputs": outputs,
    }
    for source in sorted((checkout / "infra" / "terraform").glob("*.tf")):
        shutil.copy(source, target / source.name)
    (target / "template.json").write_text(template_json, encoding="utf-8")
    (target / "functions.tf.json").write_text(json.dumps(made, indent=2), encoding="utf-8")
    shutil.move(work / "package" / "deployment.zip", target / "deployment.zip")
    return len(made["locals"]["functions"])


def _write_backend(target: Path, place: Place, bucket: str) -> None:
    lines = {"bucket": bucket, "key": f"{APP}/{place.stage}.tfstate", "region": place.region}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    (target / "backend.hcl").write_text(text)


def _what_next(target: Path, place: Place, count: int) -> str:
    here = Path.cwd()
    settings = app.stage_settings(CHECKOUT, place.stage)
    return NEXT.format(
        directory=target.relative_to(here) if target.is_relative_to(here) else target,
        functions=count,
        stage=place.stage,
        account=place.account,
        region=place.region,
        backend=" -backend-config=backend.hcl",
        secrets="".join(f"  export TF_VAR_{name.lower()}=…\n" for name in sorted(app.secrets_of(settings))),
    )
