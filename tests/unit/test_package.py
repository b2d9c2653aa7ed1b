"""The zip that goes to Lambda, packed without requirements, as the local stack's is."""

import os
import py_compile
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from importlib.util import source_hash
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from chalice.deploy.packager import MissingDependencyError
from chalice.deploy.packager import Package as Distribution
from chalice.utils import UI, OSUtils

from ops.package import packager
from ops.package.packager import PackageError, Packager
from ops.state import CHECKOUT

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Index:
    """In place of pip: `files` are what the requirements unpack to."""

    def __init__(self, files: dict[str, str] | None = None, missing: Sequence[str] = ()) -> None:
        self.files = files or {}
        self.missing = missing
        self.asked = ""

    def build_site_packages(self, _abi: str, requirements: str, target: str) -> None:
        self.asked = Path(requirements).read_text()
        for name, text in self.files.items():
            (Path(target) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(target) / name).write_text(text)
        if self.missing:
            raise MissingDependencyError({Distribution("", name) for name in self.missing})


def pack(project: Path, index: Index | None = None) -> Path:
    builder: Any = index or Index()
    made = Packager(OSUtils(), builder, UI(out=StringIO()))
    return Path(made.create_deployment_package(str(project), VERSION))


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packager, "PACKAGES", tmp_path / "packages")
    return tmp_path / "packages"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small app with one module."""
    project = tmp_path / "project"
    (project / "chalicelib").mkdir(parents=True)
    (project / "chalicelib" / "__init__.py").write_text("")
    (project / "chalicelib" / "work.py").write_text("def work():\n    return {'a', 'b', 'c', 7, 'd'}\n")
    (project / "app.py").write_text("from chalice.app import Chalice\nfrom chalicelib import work\n")
    return project


def test_every_source_of_the_app_comes_with_byte_code(tmp_path: Path) -> None:
    project = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "chalicelib", project / "chalicelib")
    shutil.copy(CHECKOUT / "app.py", project)

    names = set(zipfile.ZipFile(pack(project)).namelist())

    sources = {name for name in names if name.endswith(".py")}
    tag = sys.implementation.cache_tag
    assert {"app.py", "chalice/app.py", "chalicelib/processors/image.py"} < sources
    for source in sources:
        directory, _, module = source.rpartition("/")
        assert f"{directory}/__pycache__/{module[:-3]}.{tag}.pyc".lstrip("/") in names
    assert "chalicelib/page.html" in names


def test_a_function_takes_the_byte_code_whatever_the_time_of_its_source_and_writes_none(
    project: Path, tmp_path: Path
) -> None:
    task = tmp_path / "task"
    zipfile.ZipFile(pack(project)).extractall(task)
    compiled = next(task.glob(f"chalicelib/__pycache__/work.{sys.implementation.cache_tag}.pyc"))
    before = compiled.read_bytes()
    assert int.from_bytes(before[4:8], "little") == 0b01, "by hash, and not checked"
    assert before[8:16] == source_hash((task / "chalicelib" / "work.py").read_bytes())
    (task / "chalicelib" / "work.py").write_text("raise SystemExit('compiled')\n")

    script = "import sys; sys.path.insert(0, sys.argv[1]); from app import work; print(work.work.__code__)"
    ran = subprocess.run([sys.executable, "-I", "-c", script, str(task)], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
    assert f'"{task}/chalicelib/work.py"' in ran.stdout, "a traceback names the file where it lies"
    assert compiled.read_bytes() == before


def test_the_same_content_gives_the_same_bytes(project: Path, packages: Path, tmp_path: Path) -> None:
    first = pack(project)
    bytes_of_first = first.read_bytes()
    shutil.rmtree(packages)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(project, elsewhere)
    os.utime(elsewhere / "app.py", (1, 1))
    py_compile.compile(str(elsewhere / "chalicelib" / "work.py"))
    (elsewhere / "chalicelib" / ".work.py.swp").write_text("an editor's")

    second = pack(elsewhere)

    assert second.name == first.name
    assert second.read_bytes() == bytes_of_first
    assert str(tmp_path).encode() not in bytes_of_first


def test_a_package_is_made_once_for_all_who_want_it(project: Path, tmp_path: Path) -> None:
    first = pack(project)
    made = first.stat().st_ino
    shutil.copytree(project, tmp_path / "another")

    assert pack(tmp_path / "another") == first
    assert first.stat().st_ino == made


@pytest.mark.parametrize("change", ["edited", "renamed", "required"])
def test_a_change_gives_another_package(project: Path, change: str) -> None:
    first = pack(project)
    module = project / "chalicelib" / "work.py"
    if change == "edited":
        module.write_text("def work():\n    return None\n")
    elif change == "renamed":
        module.rename(module.with_name("more_work.py"))
    else:
        (project / "requirements.txt").write_text("something==1\n")

    assert pack(project) != first


def test_what_cannot_be_compiled_is_said_and_nothing_is_left(project: Path, packages: Path) -> None:
    (project / "chalicelib" / "work.py").write_text("def work(:\n")

    with pytest.raises(PackageError, match=r"chalicelib/work\.py does not compile: .*SyntaxError"):
        pack(project)

    assert not list(packages.rglob("*.zip"))


def test_requirements_travel_in_the_tested_versions_and_chalice_is_not_one(project: Path) -> None:
    (project / "requirements.txt").write_text("# Few.\nchalice==1.34.0\nhelper==1.0\n")
    (project / "constraints.txt").write_text("helper==1.0\nindirect==2.0\n")
    index = Index({"helper/__init__.py": "x = 1\n"})

    names = zipfile.ZipFile(pack(project, index)).namelist()

    assert index.asked.splitlines() == [f'-c "{project}/constraints.txt"', "helper==1.0"]
    assert f"helper/__pycache__/__init__.{sys.implementation.cache_tag}.pyc" in names


def test_a_requirement_that_is_not_to_be_had_for_lambda_is_an_error(project: Path, packages: Path) -> None:
    (project / "requirements.txt").write_text("helper==1.0\n")
    index = Index(missing=["helper-1.0-py3-none-win32.whl"])

    with pytest.raises(PackageError, match=f"no wheel for {VERSION} on Lambda: helper==1.0"):
        pack(project, index)

    assert not list(packages.rglob("*.zip"))


def test_packages_that_nobody_asks_for_are_not_kept(project: Path, packages: Path) -> None:
    first = pack(project)
    long_ago = time.time() - packager.UNUSED_SECONDS - 60
    os.utime(first, (long_ago, long_ago))
    assert pack(project).exists(), "who asks for it has it"
    (project / "app.py").write_text("")
    pack(project)
    assert first.exists(), "and keeps it"

    os.utime(first, (long_ago, long_ago))
    (project / "app.py").write_text("x = 1\n")
    pack(project)

    assert not first.exists()
    assert len(list(packages.iterdir())) == 2


def test_a_checkout_that_may_not_be_written_to_keeps_it_in_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)

    assert pack(project).parent == project / ".chalice" / "deployments"
