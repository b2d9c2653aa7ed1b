"""Byte code beside every source of a directory that is to become the code of a function.

Lambda's `/var/task` is read-only: without byte code every cold start compiles what it imports, and throws it
away. Python trusts a `.pyc` by the time of its source, which a zip does not keep; so these are of the kind
that is never compared with it (PEP 552, unchecked hash).
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import cache_from_source
from pathlib import Path

TASK_ROOT = "/var/task"
"""Where Lambda unpacks the zip, and so the path that compiled code is marked with."""


class DoesNotCompile(Exception):
    """A source is no Python of this interpreter's version; the message names it."""


def add(root: Path, *, exempt: Iterable[str] = ()) -> None:
    """Compile every source under `root`, for this interpreter's version, which must be the functions'.

    A new process does it, without site-packages and one file after another: what else an interpreter has
    loaded shows in the byte code it writes, and the same sources shall always give the same bytes.

    Args:
        exempt: sources that need not compile, as paths from `root`.

    Raises:
        DoesNotCompile
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", TASK_ROOT]
    compiled = subprocess.run(
        [sys.executable, "-P", "-S", "-W", "ignore", "-m", "compileall", *options, str(root)],
        env={**env, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
    )
    sources = {str(source.relative_to(root)): source for source in root.rglob("*.py")}
    without = [
        name for name, source in sorted(sources.items()) if not Path(cache_from_source(source)).exists()
    ]
    if broken := [name for name in without if name not in exempt]:
        said = next(reversed((compiled.stdout + compiled.stderr).strip().splitlines()), "")
        raise DoesNotCompile(f"{broken[0]} does not compile: {said.strip(' *')}")
