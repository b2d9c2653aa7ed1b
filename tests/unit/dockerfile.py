"""The steps of a Dockerfile, and what they leave in a directory when there is no Docker to build with.

Enough of the format for the two of this project: exec forms, plain COPY, no build arguments and no stages.
"""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PIP_INSTALL = ["python", "-m", "pip", "install"]


@dataclass
class Image:
    """What was built: `root` is its file system, as far as the steps have made it."""

    root: Path
    workdir: str = "/"
    user: str = "root"
    env: dict[str, str] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    installed: list[Path] = field(default_factory=list)
    """Requirements files that were to be installed: they are there, but only Docker installs them."""
    entrypoint: list[str] = field(default_factory=list)

    def path(self, inside: str) -> Path:
        """Where a path of the image is here."""
        return self.root / str(Path(self.workdir, inside)).lstrip("/")


def steps(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Each instruction and its arguments; lines that go on are one."""
    text = re.sub(r"(?m)^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8"))
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            instruction, _, arguments = line.strip().partition(" ")
            yield instruction, " ".join(arguments.split())


def sent(context: Path) -> Iterator[str]:
    """The files of the build context that .dockerignore lets through; the last rule that matches counts."""
    rules = [line for line in (context / ".dockerignore").read_text().split() if line]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=context,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        kept = True
        for rule in rules:
            if _matches(name, rule.lstrip("!")):
                kept = rule.startswith("!")
        if kept:
            yield name


def _matches(name: str, pattern: str) -> bool:
    """A pattern of .dockerignore matches a file, or any directory above it."""
    parts = name.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(
        len(each.split("/")) == len(pattern.split("/")) and fnmatch.fnmatchcase(each, pattern)
        for each in above
    ) or (pattern.startswith("**/") and pattern[3:] in parts)


def build(dockerfile: Path, context: Path, root: Path) -> Image:
    """Take every step that needs no Docker; the interpreter is this one, with all that it has installed."""
    image = Image(root)
    files = list(sent(context))
    for instruction, arguments in steps(dockerfile):
        match instruction:
            case "ENV":
                image.env |= dict(pair.split("=", 1) for pair in arguments.split())
            case "WORKDIR":
                image.workdir = arguments
                image.path(".").mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, destination = arguments.split()
                for source in sources:
                    _copy(files, context, source, image.path(destination), destination.endswith("/"))
            case "RUN":
                _run(image, json.loads(arguments))
            case "VOLUME":
                image.volumes += json.loads(arguments)
            case "USER":
                image.user = arguments
            case "ENTRYPOINT":
                image.entrypoint = json.loads(arguments)
            case "FROM" | "EXPOSE" | "HEALTHCHECK":
                pass
            case _:
                raise AssertionError(f"{instruction} is not known here")
    return image


def _copy(files: list[str], context: Path, source: str, target: Path, into: bool) -> None:
    """As COPY does: a directory means its contents; a file goes into what ends in `/`, or becomes it."""
    name = source.rstrip("/")
    found = [file for file in files if file == name or file.startswith(f"{name}/")]
    assert found, f"{source} is not in the context"
    for file in found:
        inner = Path(file).relative_to(name) if file != name else Path(Path(file).name if into else "")
        to = target / inner
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(context / file, to)


def _run(image: Image, command: list[str]) -> None:
    if command[: len(PIP_INSTALL)] == PIP_INSTALL:
        named = [
            command[at + 1] for at, word in enumerate(command) if word in ("--requirement", "--constraint")
        ]
        for name in named:
            assert image.path(name).is_file(), f"{name} was not copied"
        image.installed += [image.path(name) for name in named]
    elif command[0] == "install":
        assert "--directory" in command
        image.path(command[-1]).mkdir(mode=0o700, parents=True)
    elif command[0] == "python":
        subprocess.run([sys.executable, *command[1:]], cwd=image.path("."), check=True)
    else:
        raise AssertionError(f"{command[0]} is not known here")


def requirements(file: Path) -> set[str]:
    """The names of all packages that a requirements file asks for, also in files that it includes."""
    names: set[str] = set()
    for line in file.read_text().splitlines():
        if line.startswith("-r "):
            names |= requirements((file.parent / line.removeprefix("-r ")).resolve())
        elif found := re.match(r"[A-Za-z0-9._-]+", line):
            names.add(found[0].lower().replace("_", "-"))
    return names


def environment(image: Image, more: Mapping[str, str]) -> dict[str, str]:
    """What a container starts with, and `more`; directories of the image are those here."""
    inside = {
        name: str(image.path(value)) if value.startswith("/") else value for name, value in image.env.items()
    }
    return {"PATH": str(Path(sys.executable).parent), **inside, **more}
