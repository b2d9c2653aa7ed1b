"""`chalice package` of a copy of the app, for a stage that need not exist yet."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chalicelib.settings import MIN_SECRET_BYTES
from ops import policies, snapshot
from ops.chalice_child import HTTP_VARIABLES
from ops.children import Child
from ops.deploy.config import SECRET, StageConfig
from ops.deploy.refusal import Failed
from ops.deploy.target import Target
from ops.policies import Prefixes, Resources
from ops.state import CHECKOUT

STAND_IN = "-" * MIN_SECRET_BYTES
"""For a secret, while the app is packaged: app.py is imported then, and with it the settings."""


def secrets_of(config: StageConfig) -> dict[str, str]:
    """A stand-in for each secret that the HTTP handler needs and no file holds."""
    return {} if config.variables().get("JWT_JWKS_URL") else {SECRET: STAND_IN}


def copy(target: Target, work: Path, outputs: Mapping[str, str], prefixes: Prefixes) -> StageConfig:
    """Lay the app out at `work`, with the settings and policies that follow from the stack's `outputs`.

    What Chalice has packed there before stays: it is taken again where requirements have not changed.
    """
    snapshot.copy_code(target.project, work)
    if not target.embedded:
        shutil.copy(target.project / "requirements.txt", work / "requirements.txt")
    shutil.copy(target.project / ".chalice" / "config.json", work / ".chalice" / "config.json")
    config = StageConfig(work, target.stage)
    config.take_outputs(outputs)
    config.write()
    resources = Resources.from_outputs(target.stage, outputs, prefixes)
    policies.write(work / ".chalice", target.stage, resources)
    return config


def package(target: Target, work: Path, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Package the copy into `package/` of it: `deployment.zip`, and what is returned, `chalice.tf.json`.

    Raises:
        Failed: with the last lines that Chalice wrote.
    """
    # Nothing of the shell's AWS concerns it, but for the region, which is one of the app's settings.
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env |= {
        "AWS_DEFAULT_REGION": target.region,
        "AWS_CONFIG_FILE": os.devnull,
        HTTP_VARIABLES: json.dumps(dict(secrets)),
    }
    out, log = work / "package", work / "package.log"
    arguments = ["package", "--pkg-format", "terraform", "--stage", target.stage, str(out)]
    child = Child(
        "ops.chalice_child", ["--project-dir", str(work), *arguments], cwd=CHECKOUT, log=log, env=env
    )
    try:
        if child.wait():
            raise Failed(f"chalice package failed: {' '.join(child.last_lines(1))} (all it said: {log})")
    finally:
        child.stop()
    packaged: dict[str, Any] = json.loads((out / "chalice.tf.json").read_text())
    return packaged
