"""What the HTTP function does not load, and the others do."""

import os
import subprocess
import sys

import pytest

from benchmarks import presign
from ops.state import CHECKOUT

LOADED = "import app, sys; print('chalicelib.pipeline' in sys.modules, 'boto3' in sys.modules)"

PUT_OFF = """
import sys
from chalicelib import lazy

with lazy.imports():
    from chalicelib import budget
    from chalicelib.webhooks import signature
print("chalicelib.budget" in sys.modules, "chalicelib.webhooks.signature" in sys.modules)
used = budget.Budget, signature.sign
print(used == (sys.modules["chalicelib.budget"].Budget, sys.modules["chalicelib.webhooks.signature"].sign))
"""

BESIDE = """
import sys, threading
from chalicelib import lazy

def load():
    from chalicelib import budget
    print(budget is sys.modules["chalicelib.budget"])

with lazy.imports():
    beside = threading.Thread(target=load)
    beside.start()
    beside.join()
"""

UNKNOWN = """
import chalicelib
from chalicelib import lazy

print(hasattr(chalicelib, "no_such_thing"))
try:
    from chalicelib import no_such_thing
except ImportError as error:
    print(error.name)
"""


def said_by(code: str, **variables: str) -> list[str]:
    """What a fresh interpreter prints, word by word."""
    env = {"PATH": os.environ["PATH"], **variables}
    asked = [sys.executable, "-c", code]
    done = subprocess.run(asked, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("handler", "loaded"),
    [("", "False"), ("app.app", "False"), ("app.consume", "True"), ("app.sweep", "True")],
)
def test_only_functions_of_events_load_all_before_they_are_called(handler: str, loaded: str) -> None:
    assert said_by(LOADED, **presign.variables(), _HANDLER=handler) == [loaded, "False"]


def test_a_module_loads_when_something_of_it_is_used() -> None:
    assert said_by(PUT_OFF) == ["False", "False", "True"]


def test_what_another_thread_imports_meanwhile_is_loaded_at_once() -> None:
    assert said_by(BESIDE) == ["True"]


def test_a_module_that_there_is_not_is_missed_where_nothing_is_put_off() -> None:
    assert said_by(UNKNOWN) == ["False", "chalicelib"]
