"""The images: what linters say of their files, and what they must keep to; built here as far as that goes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit import dockerfile

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "worker" / "Dockerfile"
STACK = ROOT / "docker" / "Dockerfile"
TOOLS = Path(sys.executable).parent

each_image = pytest.mark.parametrize("file", [WORKER, STACK], ids=["worker", "stack"])


def compose(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@each_image
def test_hadolint_finds_nothing(file: Path) -> None:
    done = subprocess.run([TOOLS / "hadolint", file], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


@each_image
def test_it_runs_as_nobody_in_particular_and_without_a_shell(file: Path) -> None:
    taken = list(dockerfile.steps(file))
    commands = [arguments for name, arguments in taken if name in ("RUN", "CMD", "ENTRYPOINT", "VOLUME")]
    base = next(arguments for name, arguments in taken if name == "FROM")

    assert re.fullmatch(r"python:3\.12\.\d+-slim-\w+", base)
    assert [arguments for name, arguments in taken if name == "USER"] == ["10001:10001"]
    assert all(isinstance(json.loads(command), list) for command in commands)


def test_both_are_of_one_base_so_that_a_machine_holds_it_once() -> None:
    bases = {
        arguments for file in (WORKER, STACK) for name, arguments in dockerfile.steps(file) if name == "FROM"
    }

    assert len(bases) == 1


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    copied = {
        source.strip("/")
        for file in (WORKER, STACK)
        for name, arguments in dockerfile.steps(file)
        if name == "COPY"
        for source in arguments.split()[:-1]
    }
    others = [
        name
        for name in dockerfile.sent(ROOT)
        if not any(name == source or name.startswith(f"{source}/") for source in copied)
    ]

    # One image's Dockerfile lies in a directory that is copied file by file.
    assert others == ["worker/Dockerfile"]


@each_image
def test_what_it_copies_is_enough_to_start(file: Path, tmp_path: Path) -> None:
    """With the packages of this environment; that they are asked for is the next test's."""
    image = dockerfile.build(file, ROOT, tmp_path)

    command = [sys.executable, *image.entrypoint[1:], *(["--help"] if file == STACK else [])]
    done = subprocess.run(
        command,
        cwd=image.path("."),
        env=dockerfile.environment(image, {"WAYBILL_OWNER": "_", "WAYBILL_JOB_ID": "a", "WAYBILL_RUN": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )

    if file == STACK:
        assert (done.returncode, "--bind" in done.stdout) == (0, True), done.stderr
    else:
        assert done.returncode == 78, done.stderr  # the settings are not there; all modules are
        assert "BUCKET_NAME is not set" in done.stderr


def test_each_image_installs_what_it_needs() -> None:
    functions, codecs = {"boto3", "chalice", "pyvips-binary"}, {"av", "pocketsphinx"}

    worker = dockerfile.requirements(ROOT / "worker" / "requirements.txt")
    stack = dockerfile.requirements(ROOT / "docker" / "requirements.txt")

    assert worker >= functions | codecs
    assert stack == worker | {"httptools", "ministack", "rich", "uvicorn"}


# --- Compose ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["compose.yaml", "docker/compose.tls.yaml"])
def test_compose_files_are_valid(name: str) -> None:
    schema = [str(TOOLS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(ROOT / name)]
    done = subprocess.run(schema, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_ports_are_the_same_on_both_sides_and_nobody_elses() -> None:
    ports = compose("compose.yaml")["services"]["waybill"]["ports"]

    assert len(ports) == 2
    for port in ports:
        outside, inside = re.fullmatch(r"127\.0\.0\.1:(\$\{.*?}):(\$\{.*?})", port).groups()  # type: ignore[union-attr]
        assert outside == inside


def test_only_the_data_can_be_written() -> None:
    service = compose("compose.yaml")["services"]["waybill"]
    image = dict(dockerfile.steps(STACK))

    assert service["read_only"] is True
    assert service["volumes"] == ["data:/data"]
    assert json.loads(image["VOLUME"]) == ["/data"]
    assert "WAYBILL_STATE=/data" in image["ENV"].split()
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])


def test_a_stack_that_others_reach_asks_for_tokens() -> None:
    service = compose("docker/compose.tls.yaml")["services"]["waybill"]

    assert "--auth=jwt" in service["command"]
    assert {option.split("=")[0] for option in service["command"]} == {
        "--auth",
        "--public-url",
        "--files-url",
    }
