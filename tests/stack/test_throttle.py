"""The deployed API Gateway keeps to the limits that the command sets, after another deployment too."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ops import throttle
from ops.stack import LocalStack
from ops.state import CHECKOUT
from tests.stack.user import http_call


def run(stack: LocalStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "ops",
            "throttle",
            "--stage",
            "local",
            "--app-dir",
            str(stack.app_dir),
            *arguments,
        ],
        cwd=CHECKOUT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextmanager
def afterwards_as_before(stack: LocalStack) -> Iterator[None]:
    """The stack is shared, and others want more of it than this test leaves."""
    try:
        yield
    finally:
        rest_api_id, name = throttle.deployed(stack.app_dir, "local")
        throttle.apply(stack.client("apigateway"), rest_api_id, name, 10_000, 5_000)


def test_what_goes_beyond_the_limits_is_answered_with_429(stack: LocalStack) -> None:
    with afterwards_as_before(stack):
        done = run(stack, "--rate", "1", "--burst", "2")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Now 1 requests a second, 2 at once")
        assert run(stack, "--rate", "1", "--burst", "2").stdout.startswith("As before")

        answers = [http_call("GET", f"{stack.gateway_url}/health") for _ in range(12)]

        assert answers[0].status == 200
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.json == {"error": "THROTTLED", "message": "Too Many Requests"}
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Access-Control-Allow-Origin"] == "*"
        assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"]
        stack._deploy()
        again = run(stack, "--rate", "1", "--burst", "2")
        assert again.stdout.startswith("As before")


def test_a_stage_that_was_not_deployed_is_told_so(stack: LocalStack) -> None:
    done = run(stack, "--rate", "1", "--burst", "2", "--stage", "prod")
    assert done.returncode == 1
    assert "deploy the stage first" in done.stderr
