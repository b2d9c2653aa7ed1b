"""The page that shows how to add a processor: whoever does what it says has one."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-processor.md").read_text()

# What is in backticks is a file of the project, and the next block is, or changes, what it holds.
STEPS = re.findall(
    r"`(chalicelib/[\w/]+\.py)`(?:(?!`chalicelib/).)*?```(python|diff)\n(.*?)```", PAGE, re.DOTALL
)

RUN = """
import json, sys
from pathlib import Path
from chalicelib.errors import Rejected
from chalicelib.filetypes import detect
from chalicelib.processors import REGISTRY, Caps, Source
path = Path(sys.argv[1])
kind = detect(path.read_bytes(), path.name)
try:
    result = REGISTRY[kind.family](Source(path, path.name, kind.media_type, path.parent, Caps(1, 1, 1, 1)))
except Rejected as error:
    print(json.dumps({"family": kind.family, "error": error.body()}))
else:
    outputs = {output.name: json.loads(output.body) for output in result.outputs}
    print(json.dumps({"family": kind.family, "metadata": result.metadata, "outputs": outputs}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to which the page has been done."""
    copy = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "chalicelib", copy / "chalicelib", ignore=shutil.ignore_patterns("__pycache__"))
    for name, language, block in STEPS:
        path = copy / name
        path.write_text(block if language == "python" else changed(path.read_text(), block))
    registry = copy / "chalicelib" / "processors" / "__init__.py"
    registry.write_text(registry.read_text().replace("processors import ", "processors import archive, ", 1))
    return copy


def changed(text: str, diff: str) -> str:
    """With the lines that begin with a plus behind the one line that does not."""
    (line,) = [line[1:] for line in diff.splitlines() if line.startswith(" ")]
    added = [line[1:] for line in diff.splitlines() if line.startswith("+")]
    assert added
    assert text.count(line + "\n") == 1
    return text.replace(line + "\n", "\n".join([line, *added]) + "\n")


def archive_of(**files: str) -> bytes:
    with zipfile.ZipFile(body := io.BytesIO(), "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return body.getvalue()


def processed(project: Path, body: bytes, where: Path) -> dict[str, Any]:
    (path := where / "upload.zip").write_bytes(body)
    command = [sys.executable, "-c", RUN, str(path)]
    # Whatever the shell adds to Python's path may hold another version of the same modules.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_page_has_a_module_and_two_lines() -> None:
    assert [(Path(name).name, language) for name, language, _ in STEPS] == [
        ("archive.py", "python"),
        ("__init__.py", "diff"),
        ("__init__.py", "diff"),
    ]
    assert len([line for line in STEPS[0][2].splitlines() if line.strip()]) <= 30


def test_a_file_of_the_new_family_is_processed(project: Path, tmp_path: Path) -> None:
    assert processed(project, archive_of(a="one", b="two and"), tmp_path) == {
        "family": "archive",
        "metadata": {"entries": 2, "unpackedSize": 10},
        "outputs": {"contents.json": [{"name": "a", "size": 3}, {"name": "b", "size": 7}]},
    }


def test_a_damaged_one_is_refused(project: Path, tmp_path: Path) -> None:
    answer = processed(project, archive_of(a="one")[:-10], tmp_path)

    assert answer["error"] == {"error": "broken_archive", "message": "The archive is damaged: make it anew."}


def test_without_the_page_there_is_no_such_family(tmp_path: Path) -> None:
    assert processed(ROOT, archive_of(a="one"), tmp_path)["family"] == "other"
