"""A copy of the app for `chalice package`, configured for a stage that need not exist yet."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chalicelib.settings import MIN_SECRET_BYTES
from ops import policies, snapshot


def stage_settings(checkout: Path, stage: str) -> dict[str, str]:
    """What .chalice/config.json sets for the functions of a stage; nothing for one that it does not know."""
    stages = _config(checkout)["stages"]
    settings: dict[str, str] = stages.get(stage, {}).get("environment_variables", {})
    return settings


def secrets_of(settings: Mapping[str, str]) -> set[str]:
    """The secrets that a stage needs and its configuration does not, and should not, hold."""
    asks = settings.get("AUTH_MODE", "jwt") == "jwt" and not settings.get("JWT_JWKS_URL")
    return {"JWT_SECRET"} if asks else set()


def copy(
    checkout: Path, target: Path, stage: str, outputs: Mapping[str, str], *, with_requirements: bool
) -> None:
    """Lay the app out at `target`, with the settings and policies that follow from the stack's `outputs`.

    What Chalice has packed there before stays: it is taken again where requirements have not changed.
    """
    chalice = target / ".chalice"
    chalice.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target / "chalicelib", ignore_errors=True)
    shutil.copytree(
        checkout / "chalicelib", target / "chalicelib", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    shutil.copy(checkout / "app.py", target / "app.py")
    requirements = (checkout / "requirements.txt").read_text() if with_requirements else ""
    (target / "requirements.txt").write_text(requirements)
    config = _config(checkout)
    config["stages"] = {stage: _stage(config["stages"].get(stage, {}), stage, outputs)}
    (chalice / "config.json").write_text(json.dumps(config, indent=2))
    policies.write(chalice, stage, policies.Resources.from_outputs(stage, outputs))


def _stage(given: Mapping[str, Any], stage: str, outputs: Mapping[str, str]) -> dict[str, Any]:
    settings = {"AUTH_MODE": "jwt", **given.get("environment_variables", {})}
    settings |= {name: outputs[output] for name, output in snapshot.FROM_OUTPUTS.items() if output in outputs}
    # app.py is imported to be packaged, and with it the settings; what they are is told to Terraform.
    settings |= dict.fromkeys(secrets_of(settings), "-" * MIN_SECRET_BYTES)
    own = given.get("lambda_functions", {})
    functions = {
        name: {**own.get(name, {}), "iam_policy_file": f"policy-{stage}-{name}.json"}
        for name in policies.GRANTS
    }
    return {**given, "environment_variables": settings, "lambda_functions": functions}


def _config(checkout: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((checkout / ".chalice" / "config.json").read_text())
    return config
