"""Cold starts: a fresh interpreter, until it has answered its first request, and its end.

CPU, as that is what a cold function waits for. Byte code is warm, unless its absence is what is measured.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks import cpu, presign
from benchmarks.bench import Bench
from benchmarks.comparison import CPU, Comparison, NotHere, Rounds, by_turns
from ops.state import CHECKOUT

ROUNDS = 9
PACKAGED_FOR = ("python3.12", "python3.13")

_ANSWER = """
import json, sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
module, _, name = sys.argv[2].partition(":")
handler = getattr(__import__(module), name)
answer = handler(json.loads(sys.argv[3]), SimpleNamespace(**json.loads(sys.argv[4])))
assert "X-Amz-Signature" in json.loads(answer["body"])["uploadUrl"], answer
"""
OURS = (str(CHECKOUT), "app:app")
BASELINES = str(CHECKOUT / "benchmarks" / "baselines")
CONTEXT = {name: value for name, value in vars(presign.CONTEXT).items() if not callable(value)}


def _first_answer(
    directory: str,
    handler: str,
    options: tuple[str, ...] = (),
    python: str = sys.executable,
    more: Mapping[str, str] | None = None,
) -> float:
    told = [directory, handler, json.dumps(presign.EVENT), json.dumps(CONTEXT)]
    env = cpu.plain_environment(**presign.variables(), **(more or {}))
    return cpu.of_process([python, *options, "-c", _ANSWER, *told], env, CHECKOUT / "build")


def _nothing() -> float:
    return cpu.of_process([sys.executable, "-c", "pass"], cpu.plain_environment(), CHECKOUT / "build")


def _beside(baseline: str, bench: Bench) -> Rounds:
    theirs = partial(_first_answer, BASELINES, f"{baseline}:handler")
    return by_turns(bench, partial(_first_answer, *OURS), theirs, rounds=ROUNDS)


def _beside_nothing(bench: Bench) -> Rounds:
    return by_turns(bench, partial(_first_answer, *OURS), _nothing, rounds=15)


def _packaged(bench: Bench) -> Rounds:
    """The zip of `make package`, from a directory that byte code cannot be written to, as on Lambda."""
    python, package = _package()
    roots = [bench.scratch / name for name in ("with-byte-code", "without")]
    for root in roots:
        with zipfile.ZipFile(package) as packed:
            packed.extractall(root)
    for cache in list(roots[1].rglob("__pycache__")):
        shutil.rmtree(cache)
    # -I -S: nothing but the package and the standard library; -B: root may write wherever it likes.
    ours, theirs = (partial(_first_answer, str(root), OURS[1], ("-I", "-S", "-B"), python) for root in roots)
    return by_turns(bench, ours, theirs, rounds=ROUNDS)


def _package() -> tuple[str, Path]:
    """A Python that Lambda runs, and the package for it, which is made if it is not there.

    Raises:
        NotHere: there is no such Python.
    """
    named = os.environ.get("PACKAGE_PYTHON")
    for name in [named] if named else PACKAGED_FOR:
        asked = [
            name,
            "-c",
            "import sys; print(sys.executable, f'{sys.version_info[0]}.{sys.version_info[1]}')",
        ]
        try:
            said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        python, version = said.rsplit(maxsplit=1)
        packed = subprocess.run(
            ["make", "package", f"PYTHON={python}"], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        if packed.returncode:
            raise RuntimeError(f"make package PYTHON={python} failed:\n{packed.stderr[-2000:]}")
        (package,) = (CHECKOUT / "build").glob(f"waybill-*-python{version}.zip")
        return python, package
    raise NotHere("it needs Python 3.12 or later: make bench PACKAGE_PYTHON=/path/to/python3.12")


def _whole_start(name: str, baseline: str, theirs: str, goal: str | None = None) -> Comparison:
    return Comparison(
        name,
        ours="a fresh interpreter to the first answer of POST /presign",
        theirs=theirs,
        unit=CPU,
        compare=partial(_beside, baseline),
        goal=goal,
    )


COMPARISONS = (
    _whole_start("cold_presign", "boto3_presign", "the usual handler, boto3 at module level", "≤ 0.25"),
    _whole_start("cold_presign_fastapi", "fastapi_presign", "FastAPI with Mangum, and boto3"),
    _whole_start("cold_presign_powertools", "powertools_presign", "Powertools' resolver, and boto3"),
    Comparison(
        "cold_presign_bare",
        ours="a fresh interpreter to the first answer of POST /presign",
        theirs="python -c pass",
        unit=CPU,
        compare=_beside_nothing,
        goal="≤ 6",
    ),
    Comparison(
        "cold_packaged",
        ours="the zip of `make package`, read-only, to the first answer",
        theirs="the same without byte code",
        unit=CPU,
        compare=_packaged,
        goal="≤ 0.5",
    ),
)
