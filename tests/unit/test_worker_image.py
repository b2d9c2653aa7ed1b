"""worker/Dockerfile: what the linter says of it, and what it must keep to."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "worker" / "Dockerfile"


def test_hadolint_finds_nothing() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_as_nobody_in_particular_and_without_a_shell() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    commands = [line for line in lines if re.match(r"(RUN|CMD|ENTRYPOINT) ", line)]

    assert re.fullmatch(r"FROM python:3\.12\.\d+-slim-\w+", next(x for x in lines if x.startswith("FROM")))
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
    assert all(re.match(r"\w+ \[", command) for command in commands)
    assert 'VOLUME ["/scratch"]' in lines


def test_what_is_copied_is_what_the_context_holds() -> None:
    kept = {
        line[1:].strip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {
        source.strip("/").split("/")[0]
        for line in DOCKERFILE.read_text().splitlines()
        if line.startswith("COPY")
        for source in line.split()[1:-1]
    }

    assert copied == kept
