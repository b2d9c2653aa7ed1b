"""`results.json`: what was measured last, of every comparison, and on which machine."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.comparison import Result

PATH = Path(__file__).with_name("results.json")
ABOUT = "about"
"""The one key of the file that is no comparison: machine, versions and day."""

COMPARED = (
    "boto3",
    "chalice",
    "fastapi",
    "mangum",
    "aws-lambda-powertools",
    "pyvips",
    "pyvips-binary",
    "Pillow",
    "pypdfium2",
    "pypdf",
    "ministack",
)


def read(path: Path = PATH) -> dict[str, Any]:
    """Of a checkout that has not measured yet, nothing."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write(results: Sequence[Result], more_versions: dict[str, str], path: Path = PATH) -> None:
    """Put the results in the place of those of the same names; the others stay as they are."""
    known = read(path)
    versions = known.get(ABOUT, {}).get("versions", {}) | _versions() | more_versions
    written = {ABOUT: _machine() | {"versions": versions}}
    written |= {name: result for name, result in known.items() if name != ABOUT}
    written |= {result.name: result.written() for result in results}
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.rename(path)


def _machine() -> dict[str, Any]:
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memoryGiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    """As the kernel calls it; where it does not, by its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _versions() -> dict[str, str]:
    return {name: version(name) for name in COMPARED}
