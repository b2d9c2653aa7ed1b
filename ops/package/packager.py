"""The deployment zip, as Chalice's own packager would make it, but for functions that start fast.

- It holds byte code (see `bytecode`), and nothing that no function ever reads (see `ballast`).
- Requirements come in the versions of constraints.txt, the indirect ones as well, and one that cannot be had
  for Lambda is an error. Chalice deploys without it, and says so in passing.
- The same content gives the same bytes, so that a deploy without a change uploads nothing; and its name is
  made of what is in it, names of files included. Chalice's name says nothing of a module that was renamed.
- It is there whole or not at all. Chalice takes what an interrupted deploy left half-written for done.
- It is made once, and kept under build/ for whoever wants the same one: every local stack does, say.
"""

import hashlib
import os
import platform
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import chalice
from chalice.deploy import deployer
from chalice.deploy.packager import (
    LambdaDeploymentPackager,
    MissingDependencyError,
    NoSuchPackageError,
    PackageDownloadError,
)
from click import ClickException

from ops.package import ballast, bytecode

HERE = Path(__file__).parent
PACKAGES = HERE.parent.parent / "build" / "packages"
UNUSED_SECONDS = 7 * 24 * 3600
"""A zip that nobody has asked for during this time is deleted."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""What a zip calls the time of a file that has none."""


class PackageError(ClickException):
    """There is no package; the message is one line that says what to do. Chalice prints it as its own."""


class Packager(LambdaDeploymentPackager):
    """For Chalice to use in place of its own."""

    def create_deployment_package(self, project_dir: str, python_version: str) -> str:
        """The path of the zip; the one that is there already, when nothing in it would be different.

        Raises:
            PackageError
        """
        target = Path(self.deployment_package_filename(project_dir, python_version))
        if target.exists():
            self._ui.write("Reusing existing deployment package.\n")
            target.touch()
            return str(target)
        self._ui.write("Creating deployment package.\n")
        target.parent.mkdir(parents=True, exist_ok=True)
        _forget_unused(target.parent)
        with tempfile.TemporaryDirectory(prefix="waybill-package-") as directory:
            root = Path(directory, "root")
            root.mkdir()
            self._add_requirements(Path(project_dir), python_version, root)
            for source, name in self._own_files(Path(project_dir)):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, root / name)
            try:
                bytecode.add(root)
            except bytecode.DoesNotCompile as error:
                raise PackageError(str(error)) from None
            write_zip(root, target)
        return str(target)

    def deployment_package_filename(self, project_dir: str, python_version: str) -> str:
        """Named after all that decides what is in it: our files, what they require, and how it is made."""
        content = hashlib.sha256(f"{platform.python_version()} {self._architecture}".encode())
        project = Path(project_dir)
        made_by = [(HERE / name, name) for name in ("packager.py", "bytecode.py", "ballast.py")]
        required = [(project / "requirements.txt", "requirements"), (_constraints(project), "constraints")]
        for source, name in [*made_by, *required, *self._own_files(project)]:
            if source.exists():
                data = source.read_bytes()
                content.update(f"\0{name}\0{len(data)}\0".encode() + data)
        return str(_directory(project) / f"{content.hexdigest()[:32]}-{python_version}.zip")

    def _own_files(self, project: Path) -> Iterator[tuple[Path, str]]:
        """What does not come from an index: Chalice's part of a function, the app, and `vendor/`."""
        runtime = Path(chalice.__file__).parent
        yield from ((runtime / name, f"chalice/{name}") for name in ("__init__.py", "app.py"))
        yield project / "app.py", "app.py"
        for source in sorted((project / self._CHALICE_LIB_DIR).rglob("*")):
            if _travels(source, project):
                yield source, str(source.relative_to(project))
        vendor = project / self._VENDOR_DIR
        for source in sorted(vendor.rglob("*")):
            if _travels(source, vendor):
                yield source, str(source.relative_to(vendor))

    def _add_requirements(self, project: Path, python_version: str, root: Path) -> None:
        """Chalice is not among them: it puts the two modules that a function needs beside the app itself."""
        wanted = _requirements(project / "requirements.txt")
        if not wanted:
            return
        pinned = _constraints(project)
        with tempfile.TemporaryDirectory(prefix="waybill-requirements-") as directory:
            listed = Path(directory, "requirements.txt")
            lines = [f'-c "{pinned}"', *wanted]
            listed.write_text("\n".join(lines) + "\n")
            abi = self._RUNTIME_TO_ABI[python_version]
            self._ui.write(f"Downloading requirements for {python_version}, half a minute or so.\n")
            try:
                self._dependency_builder.build_site_packages(abi, str(listed), str(root))
            except MissingDependencyError as error:
                missing = ", ".join(sorted(package.identifier for package in error.missing))
                raise PackageError(f"no wheel for {python_version} on Lambda: {missing}") from None
            except (NoSuchPackageError, PackageDownloadError) as error:
                why = str(error).strip().splitlines() or [type(error).__name__]
                raise PackageError(f"pip cannot download the requirements: {why[-1]}") from None
        ballast.remove(root)


def _directory(project: Path) -> Path:
    """Where Chalice would keep it, when this checkout may not be written to."""
    here = next(directory for directory in PACKAGES.parents if directory.exists())
    return PACKAGES if os.access(here, os.W_OK) else project / ".chalice" / "deployments"


def _constraints(project: Path) -> Path:
    """The project's own, or else this checkout's, of which it is a copy."""
    own = project.absolute() / "constraints.txt"
    return own if own.exists() else HERE.parent.parent / "constraints.txt"


def _forget_unused(packages: Path) -> None:
    for package in packages.glob("*.zip"):
        with suppress(FileNotFoundError):  # another process does the same
            if package.stat().st_mtime < time.time() - UNUSED_SECONDS:
                package.unlink()


def _requirements(file: Path) -> list[str]:
    if not file.exists():
        return []
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line and line.split("=")[0].strip() != "chalice"]


def _travels(path: Path, base: Path) -> bool:
    """Not what interpreters, editors and file managers leave behind."""
    parts = path.relative_to(base).parts
    return path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in parts)


def write_zip(root: Path, target: Path) -> None:
    """All files under `root`, readable for everybody, as Lambda's user is nobody in particular."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unfinished-") as directory:
        whole = Path(directory, target.name)
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(file for file in root.rglob("*") if file.is_file()):
                entry = zipfile.ZipInfo(str(file.relative_to(root)), EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                packed.writestr(entry, file.read_bytes())
        whole.replace(target)


def install() -> None:
    """Have this process's Chalice make its zip this way."""
    deployer.LambdaDeploymentPackager = Packager  # type: ignore[attr-defined]
