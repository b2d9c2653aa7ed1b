"""`python -m ops.package`: make the zip that `make deploy` sends to Lambda, look at it, and try it.

It works for the version of Python that runs it. Only chalice need be installed.
"""

import argparse
import base64
import hashlib
import json
import shutil
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

from chalice.deploy.packager import DependencyBuilder
from chalice.utils import UI, OSUtils
from click import ClickException

from ops.package import check
from ops.package.check import megabytes
from ops.package.packager import PackageError, Packager

CHECKOUT = Path(__file__).resolve().parents[2]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
OLDEST = (3, 12)
"""Lambda's Python 3.11 runs on a system that is too old for libvips, which makes the thumbnails."""

LISTED = 12


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.package", description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="show what is large in it")
    options = parser.parse_args()
    try:
        package(show=options.list)
    except ClickException as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    return 0


def package(*, show: bool) -> Path:
    """Make, check and lay down the package of this checkout.

    Raises:
        PackageError
    """
    if sys.version_info < OLDEST:
        raise PackageError(f"this is {PYTHON}; Lambda needs 3.12 or later: make package PYTHON=python3.12")
    project = json.loads((CHECKOUT / ".chalice" / "config.json").read_text())
    architecture = project.get("lambda_architecture", "x86_64")
    step(f"Packing app.py, chalicelib and the requirements for {PYTHON} on {architecture}")
    osutils = OSUtils()
    builder = DependencyBuilder(osutils, architecture=architecture)
    packager = Packager(osutils, builder, UI(), architecture=architecture)
    made = Path(packager.create_deployment_package(str(CHECKOUT), PYTHON))
    unpacked = check.contents(made)
    if show:
        largest(made)
    step("Trying it in a clean interpreter, from a directory that cannot be written to")
    with check.unpacked(made) as task:
        functions = project["lambda_functions"]
        check.works(task, ["app" if name == "api_handler" else name for name in functions])
        step("Measuring its start, with and without byte code")
        starts = check.cold_starts(task)
    target = CHECKOUT / "build" / f"waybill-{version()}-{PYTHON}.zip"
    shutil.copyfile(made, target.with_suffix(".part"))
    target.with_suffix(".part").replace(target)
    print(f"\n{target.relative_to(CHECKOUT)}")
    print(f"  {megabytes(made.stat().st_size)}, {megabytes(unpacked)} unpacked, for every stage")
    print(f"  CodeSha256 {code_sha256(made)}")
    for start in starts:
        print(
            f"  {start.with_byte_code:.2f} s of CPU {start.what}, {start.without:.2f} s without byte code "
            f"({start.with_byte_code / start.without:.2f})"
        )
    return target


def step(what: str) -> None:
    print(f"{what} …", flush=True)


def largest(made: Path) -> None:
    with zipfile.ZipFile(made) as packed:
        sizes: Counter[str] = Counter()
        for entry in packed.infolist():
            sizes[entry.filename.split("/")[0]] += entry.compress_size
    for name, size in sizes.most_common(LISTED):
        print(f"  {megabytes(size):>8}  {name}")


def code_sha256(made: Path) -> str:
    """As Lambda shows it of a function (`aws lambda get-function-configuration`)."""
    return base64.b64encode(hashlib.sha256(made.read_bytes()).digest()).decode()


def version() -> str:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    return str(project["project"]["version"])


if __name__ == "__main__":
    sys.exit(main())
