"""What the HTTP function does not load, and the others do."""

import os
import subprocess
import sys

import pytest

from benchmarks import presign
from ops.state import CHECKOUT

LOADED = "import app, sys; print('chalicelib.pipeline' in sys.modules, 'boto3' in sys.modules)"


@pytest.mark.parametrize(
    ("handler", "loaded"),
    [("", "False"), ("app.app", "False"), ("app.consume", "True"), ("app.sweep", "True")],
)
def test_only_functions_of_events_load_all_before_they_are_called(handler: str, loaded: str) -> None:
    env = {"PATH": os.environ["PATH"], **presign.variables(), "_HANDLER": handler}
    asked = [sys.executable, "-c", LOADED]
    said = subprocess.run(asked, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=True).stdout

    assert said.split() == [loaded, "False"]
