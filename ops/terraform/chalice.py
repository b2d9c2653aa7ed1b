"""`chalice package` as a child process, for Terraform."""

import json
import os
from pathlib import Path
from typing import Any

from ops.children import Child
from ops.state import CHECKOUT
from ops.terraform.template import Place


def package(app_dir: Path, place: Place) -> dict[str, Any]:
    """Package the app into `package/` beside it: `deployment.zip`, and what is returned, `chalice.tf.json`.

    Raises:
        ChildProcessError: with the last lines that Chalice wrote.
    """
    # app.py is imported: the region is one of its settings, and nothing else of the shell concerns it.
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env |= {"AWS_DEFAULT_REGION": place.region, "AWS_CONFIG_FILE": os.devnull}
    out = app_dir / "package"
    arguments = ["package", "--pkg-format", "terraform", "--stage", place.stage, str(out)]
    child = Child(
        "ops.chalice_child",
        ["--project-dir", str(app_dir), *arguments],
        cwd=CHECKOUT,
        log=app_dir / "package.log",
        env=env,
    )
    try:
        if child.wait():
            raise ChildProcessError(" ".join(child.last_lines(3)) or f"see {child.log}")
    finally:
        child.stop()
    packaged: dict[str, Any] = json.loads((out / "chalice.tf.json").read_text())
    return packaged
