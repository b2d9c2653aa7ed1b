"""A copy of the app as it is now, made fit for one running local stack.

Functions and HTTP server both run from the copy. So what is served is what was deployed, an editor's save
does not change half of it, and nothing that runs writes into the checkout.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops import policies

STAGE = "local"

# Settings that differ from one local stack to the next, and the stack output each comes from.
FROM_OUTPUTS = {
    "BUCKET_NAME": "BucketName",
    "JOBS_TABLE": "JobsTable",
    "EVENTS_TABLE": "EventsTable",
    "WEBHOOKS_TABLE": "WebhooksTable",
    "DELIVERIES_TABLE": "DeliveriesTable",
    "QUEUE_URL": "QueueUrl",
    "DELIVERIES_QUEUE_URL": "DeliveriesQueueUrl",
    "DELIVERIES_DEAD_LETTER_QUEUE_URL": "DeliveriesDeadLetterQueueUrl",
    "TOPIC_ARN": "TopicArn",
    "STATE_MACHINE_ARN": "StateMachineArn",
    "TRANSCRIBER": "Transcriber",
}
# Settings that the template has to know of as well, and its parameter for each.
PARAMETERS = {"TRANSCRIBER": "Transcriber", "MALWARE_SCAN": "MalwareScan"}

# In .chalice/config.json for a plain `chalice local`; here every process has its own identity.
STATIC_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def take(
    checkout: Path,
    target: Path,
    *,
    endpoint_url: str,
    outputs: Mapping[str, str],
    variables: Mapping[str, str] | None = None,
) -> None:
    """Copy the app to `target`, with configuration and policies for `endpoint_url` and the stack's `outputs`.

    `variables` are settings beside or instead of those of the checkout's local stage.
    What Chalice remembers of its deployments in `target` stays, so that it updates them.
    """
    copy_code(checkout, target)
    chalice = target / ".chalice"
    config = json.loads((checkout / ".chalice" / "config.json").read_text())
    config["stages"] = {STAGE: _configured(config["stages"][STAGE], endpoint_url, outputs)}
    config["stages"][STAGE]["environment_variables"] |= variables or {}
    (chalice / "config.json").write_text(json.dumps(config, indent=2))
    policies.write(chalice, STAGE, policies.Resources.from_outputs(STAGE, outputs))


def copy_code(checkout: Path, target: Path) -> None:
    """What a package is made of, without the libraries."""
    (target / ".chalice").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target / "chalicelib", ignore_errors=True)
    shutil.copytree(
        checkout / "chalicelib", target / "chalicelib", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    shutil.copy(checkout / "app.py", target / "app.py")
    # MiniStack runs functions with this interpreter, which has everything installed already.
    (target / "requirements.txt").write_text("")


def parameters(checkout: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Of infra/template.yaml, as far as the local stage chooses them, or `variables` in its place."""
    config = json.loads((checkout / ".chalice" / "config.json").read_text())
    chosen = config["stages"][STAGE]["environment_variables"] | variables
    return {name: chosen[variable] for variable, name in PARAMETERS.items() if chosen.get(variable)}


def _configured(stage: dict[str, Any], endpoint_url: str, outputs: Mapping[str, str]) -> dict[str, Any]:
    functions = {
        name: {
            **function,
            "environment_variables": {
                variable: value
                for variable, value in function.get("environment_variables", {}).items()
                if variable not in STATIC_KEYS
            },
        }
        for name, function in stage["lambda_functions"].items()
    }
    variables = {
        **stage["environment_variables"],
        **{variable: outputs[output] for variable, output in FROM_OUTPUTS.items()},
        "AWS_ENDPOINT_URL": endpoint_url,
    }
    return {**stage, "environment_variables": variables, "lambda_functions": functions}
