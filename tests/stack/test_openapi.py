"""The API keeps to its own description: Schemathesis sends what it allows and what it does not."""

import os
import subprocess
import sys
from pathlib import Path

from ops.stack import LocalStack
from tests.stack.user import User

EXAMPLES = 10  # of each operation, in each phase

# A schema cannot say which URL may be a webhook, or which cursor has been given: such a 400 is right.
BEYOND_A_SCHEMA = "positive_data_acceptance"

# It knows a webhook by where it has its id from: one that it deleted by an id out of the list, it goes on
# looking for by the id out of the answer that made it.
BY_ONE_LINK = "ensure_resource_availability"

# With an id from nowhere, every answer about a job or a webhook would be the same 404.
KNOWN_IDS = """
[[operations]]
include-path-regex = "^/jobs/.*"
include-method = ["GET", "POST"]
parameters = {{ jobId = "{job_id}" }}

[[operations]]
include-path = "/jobs/{{jobId}}/files/{{name}}"
parameters = {{ jobId = "{job_id}", name = "{name}" }}

[[operations]]
include-path-regex = "^/webhooks/.*"
include-method = ["GET", "POST"]
parameters = {{ webhookId = "{webhook_id}" }}
"""


def test_nothing_is_found_against_the_running_stack(stack: LocalStack, tmp_path: Path) -> None:
    user = User(stack)
    job = user.ended(user.upload(b"some text")["jobId"])
    config = tmp_path / "schemathesis.toml"
    hook = user.call("POST", "/webhooks", {"url": "http://127.0.0.1:9/nobody"}).json
    config.write_text(
        KNOWN_IDS.format(job_id=job["jobId"], name=job["outputs"][0]["name"], webhook_id=hook["id"])
    )

    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
            *("run", f"{stack.api_url}/openapi.json"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(EXAMPLES)),
            *("--exclude-checks", f"{BEYOND_A_SCHEMA},{BY_ONE_LINK}", "--max-redirects", "0", "--seed", "1"),
            # Where the path is all there is and its ids are given, there is nothing left to be made up.
            *("--suppress-health-check", "filter_too_much"),
            *("--generation-database", "none", "--continue-on-failure", "--warnings", "off", "--no-color"),
        ],
        cwd=tmp_path,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    for made in user.call("GET", "/webhooks").json["webhooks"]:  # what was made up is in nobody's way
        user.call("DELETE", f"/webhooks/{made['id']}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 0" not in done.stdout


def test_both_front_doors_describe_the_same_api(stack: LocalStack) -> None:
    here, there = (
        User(stack, url).call("GET", "/openapi.json").json for url in (stack.api_url, stack.gateway_url)
    )

    assert here.pop("servers") == [{"url": stack.api_url}]
    assert there.pop("servers")[0]["url"].startswith(stack.endpoint_url)
    assert here == there
