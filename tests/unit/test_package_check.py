"""What `make package` finds out about a package before it goes to Lambda."""

import re
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from ops.package import __main__ as command
from ops.package import ballast, bytecode, check, probe
from ops.package.packager import PackageError
from ops.state import CHECKOUT

REQUIRED = (
    "boto3",
    "botocore",
    "cffi",
    "_cffi_backend*.so",
    "charset_normalizer",
    "cryptography",
    "dateutil",
    "fastjsonschema",
    "jmespath",
    "jwt",
    "_libvips*.so",
    "pycparser",
    "pypdfium2",
    "pypdfium2_cfg",
    "pypdfium2_raw",
    "pyvips",
    "pyvips_binary.libs",
    "s3transfer",
    "six.py",
    "urllib3",
)
"""What requirements.txt installs, and nothing that only worker/requirements.txt or the tests do."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app as it is in a package, beside the libraries that are installed here."""
    task = tmp_path_factory.mktemp("package").resolve() / "task"
    site = Path(sysconfig.get_path("purelib"))
    shutil.copytree(
        CHECKOUT / "chalicelib", task / "chalicelib", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(CHECKOUT / "app.py", task)
    (task / "chalice").mkdir()
    for name in ("__init__.py", "app.py"):
        shutil.copy(site / "chalice" / name, task / "chalice")
    installed = [found for pattern in REQUIRED for found in site.glob(pattern)]
    assert len(installed) == len(REQUIRED)
    for module in installed:
        if module.is_file():
            shutil.copy(module, task)
    bytecode.add(task)
    for package in installed:
        if package.is_dir():
            (task / package.name).symlink_to(package)
    return task


def small(tmp_path: Path, app: str) -> Path:
    task = tmp_path.resolve() / "task"
    task.mkdir()
    (task / "app.py").write_text(app)
    bytecode.add(task)
    return task


def test_the_app_starts_with_nothing_but_what_it_requires(packed: Path) -> None:
    check.works(packed, ["app", "on_upload", "consume", "process", "sweep"])


def test_a_handler_that_is_not_there(packed: Path) -> None:
    with pytest.raises(PackageError, match=r"the package does not start: .*'on_download'"):
        check.works(packed, ["on_download"])


@pytest.mark.parametrize(
    ("app", "complaint"),
    [
        ("import av", "No module named 'av'"),
        ("import pytest", "No module named 'pytest'"),
        ("open(__file__ + '.log', 'w')", "app.py.log is opened for writing"),
        ("import os; os.mkdir(__file__ + '.cache')", "app.py.cache is made"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "a connection is made"),
    ],
)
def test_what_lambda_does_not_let_a_function_do_at_its_start(
    tmp_path: Path, app: str, complaint: str
) -> None:
    with pytest.raises(PackageError, match=complaint):
        check.works(small(tmp_path, app), [])


@pytest.mark.parametrize("why", ["missing", "of another version"])
def test_a_source_that_would_be_compiled_at_every_start(tmp_path: Path, why: str) -> None:
    task = small(tmp_path, "x = 1\n")
    (compiled,) = task.glob("__pycache__/app.*.pyc")
    compiled.unlink() if why == "missing" else compiled.rename(compiled.with_name("app.cpython-310.pyc"))

    with pytest.raises(PackageError, match=f"app.py is compiled: .* for {sys.implementation.cache_tag}"):
        check.works(task, [])


def zipped(tmp_path: Path, name: str, size: int) -> Path:
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as package:
        package.writestr(name, b"\0" * size)
    return tmp_path / "package.zip"


@pytest.mark.parametrize("state", ["zipped", "unpacked"])
def test_a_package_that_lambda_would_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(check, "ZIP_LIMIT" if state == "zipped" else "UNPACKED_LIMIT", 4_000_000)

    assert check.contents(zipped(tmp_path, "app.py", 3_900_000)) == 3_900_000
    with pytest.raises(PackageError, match=rf"has 4\.1 MB {state}, and Lambda takes 4\.0 MB; .*--list"):
        check.contents(zipped(tmp_path, "app.py", 4_100_000))


@pytest.mark.parametrize("library", ["av/__init__.py", "pocketsphinx/model/en-us"])
def test_what_only_heavy_work_needs_belongs_into_the_container(tmp_path: Path, library: str) -> None:
    with pytest.raises(PackageError, match=r"is in the package; .* goes into worker/requirements\.txt"):
        check.contents(zipped(tmp_path, library, 1))


def test_a_python_that_lambda_has_no_libvips_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "OLDEST", (4, 0))

    with pytest.raises(PackageError, match=r"make package PYTHON=python3\.12"):
        command.package(show=False)


def test_botocore_keeps_the_services_that_functions_call() -> None:
    clients = (CHECKOUT / "chalicelib" / "clients.py").read_text()

    called = set(re.findall(r"_client\(\"(\w+)\"\)", clients))

    assert called == set(ballast.SERVICES) == set(probe.SERVICES)


def test_ballast_is_left_out_and_nothing_else(tmp_path: Path) -> None:
    kept = [
        "botocore/data/s3/2006-03-01/service-2.json.gz",
        "botocore/data/endpoints.json",
        "botocore/client.py",
        "boto3-1.0.dist-info/METADATA",
    ]
    left_out = [
        "botocore/data/ec2/2016-11-15/service-2.json.gz",
        "botocore/data/s3/2006-03-01/examples-1.json",
        "pyvips/enums.pyi",
        "cffi/_cffi_include.h",
    ]
    for name in [*kept, *left_out]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")

    ballast.remove(tmp_path)

    assert sorted(
        str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()
    ) == sorted(kept)


def test_the_digest_is_written_as_lambda_writes_it(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")

    assert command.code_sha256(tmp_path / "empty") == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
