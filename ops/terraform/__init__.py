"""`python -m ops terraform`: everything that Terraform needs to deploy one stage, in one directory.

The module of infra/terraform, the template, and what Chalice packages of app.py, made valid (functions.py).
Then Terraform's own commands are run there. Nothing of AWS is changed here; only the account is asked for.
"""

import argparse
import sys
from pathlib import Path

from ops.deploy import target as targets
from ops.deploy.refusal import Failed, Refused
from ops.deployment import CannotLook, errors_in_one_line
from ops.state import CHECKOUT
from ops.terraform import module

NEXT = """\
Ready, for {where}. Then:

  cd {directory}
{secrets}  terraform init -backend-config=backend.hcl
  terraform plan -out plan
  terraform apply plan
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", default="dev", help="which (default: dev)")
    parser.add_argument("--to", type=Path, help="directory (default: build/terraform/STAGE)")
    parser.add_argument("--state-bucket", help="where Terraform keeps its state; written to backend.hcl")


def run(options: argparse.Namespace) -> int:
    """0 when it is ready; 1 when packaging failed; 2 when it was refused."""
    try:
        with errors_in_one_line(f"stage {options.stage} on AWS"):
            there = targets.find(options.stage, CHECKOUT)
        directory = (options.to or Path("build") / "terraform" / there.stage).absolute()
        print(f"Packaging {there.where}", flush=True)
        secrets = module.prepare(there, directory)
        if options.state_bucket:
            module.write_backend(there, directory, options.state_bucket)
    except (Refused, CannotLook) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    here = Path.cwd()
    told = NEXT.format(
        where=there.where,
        directory=directory.relative_to(here) if directory.is_relative_to(here) else directory,
        secrets="".join(f"  export TF_VAR_{name.lower()}=…\n" for name in secrets),
    )
    print(told, end="")
    return 0
