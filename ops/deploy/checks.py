"""What is looked at before anything is touched: that it is safe, complete, and meant for here."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from chalicelib.errors import SettingsError
from chalicelib.settings import Settings
from ops.deploy.config import SECRET, StageConfig
from ops.deploy.refusal import Refused
from ops.deploy.target import Target
from ops.policies import HTTP_HANDLER
from ops.snapshot import FROM_OUTPUTS

OLDEST = (3, 12)
"""On 3.10 and 3.11 Chalice takes no wheels that the functions need: none above manylinux_2_26."""

LAMBDAS_OWN = (
    "_HANDLER",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
"""Lambda sets them itself, and takes no function that does (Developer Guide, "Defined runtime environment
variables"). Endpoints of another AWS are for the machine that it runs on."""

NEWEST = (3, 13)
"""That Lambda and Chalice both have a runtime for."""


def interpreter(target: Target, version: tuple[int, int] = sys.version_info[:2]) -> None:
    """
    Raises:
        Refused: what this Python packages does not run on Lambda. The embedded AWS runs it with this one.
    """
    if not target.embedded and not OLDEST <= version <= NEWEST:
        raise Refused(
            f"this is Python {version[0]}.{version[1]}, and AWS is deployed to from 3.12 or 3.13: "
            f"make PYTHON=python3.12 deploy STAGE={target.stage}"
        )


def right_place(target: Target, config: StageConfig) -> None:
    """
    Raises:
        Refused: the configuration names resources of another account, or of another region.
    """
    topic = config.variables().get("TOPIC_ARN", "")
    if not topic:
        return
    region, account = topic.split(":")[3:5] if topic.count(":") == 5 else ("", "")
    if (region, account) != (target.region, target.account):
        raise Refused(
            f"stage {target.stage} lives in {region}, account {account} (TOPIC_ARN in .chalice/config.json), "
            f"and your credentials are of {target.region}, account {target.account}: change AWS_REGION or "
            "AWS_PROFILE, or name another STAGE"
        )


def settings(target: Target, config: StageConfig, secret: str | None) -> Settings:
    """The settings of the HTTP handler, as they will be.

    Raises:
        Refused: they would not work, or would let everybody in.
    """
    variables = config.variables()
    if variables.get("AUTH_MODE") != "jwt":
        raise Refused(
            f"AUTH_MODE is {variables.get('AUTH_MODE') or 'not set'} in stage {target.stage} of "
            ".chalice/config.json: what is deployed takes jwt, or everybody reads everything (docs/auth.md)"
        )
    for function in config.functions:
        _are_texts(config.variables(function))
    for variable in variables:
        if variable in LAMBDAS_OWN or variable.startswith("AWS_ENDPOINT_URL"):
            raise Refused(
                f"{variable} in .chalice/config.json is Lambda's own: leave it out of stage {target.stage}"
            )
    env = {**names_to_come(target), **variables, "AWS_REGION": target.region}
    env |= {SECRET: secret} if secret else {}
    try:
        found = Settings.from_env(env)
    except SettingsError as error:
        raise Refused(_with_a_hint(error, target.stage)) from None
    for function in config.functions:
        if function != HTTP_HANDLER:
            _of_function(target, config, function)
    timeout = config.timeout("consume")
    if found.lease_seconds <= timeout:
        raise Refused(
            f"LEASE_SECONDS is {found.lease_seconds}, and consume may take {timeout} s (lambda_timeout): "
            "a worker would lose its job while it is at it. Make it longer."
        )
    return found


def _are_texts(variables: Mapping[str, Any]) -> None:
    for variable, value in variables.items():
        if not isinstance(value, str):
            raise Refused(
                f"{variable} in .chalice/config.json is {json.dumps(value)}, and an environment holds texts: "
                f'write "{json.dumps(value)}"'
            )


def _of_function(target: Target, config: StageConfig, function: str) -> None:
    env = {**names_to_come(target), **config.variables(function), "AWS_REGION": target.region}
    try:
        Settings.from_env(env, serves=False)
    except SettingsError as error:
        raise Refused(f"the settings of {function} are wrong: {error.message}") from None


def _with_a_hint(error: SettingsError, stage: str) -> str:
    if f"{SECRET} and" not in error.message or "not set" not in error.message:
        return error.message
    return (
        f"nothing says whose tokens stage {stage} believes: set JWT_JWKS_URL, JWT_ISSUER and JWT_AUDIENCE in "
        ".chalice/config.json, or export JWT_SECRET=$(openssl rand -hex 32) (docs/auth.md)"
    )


def names_to_come(target: Target) -> dict[str, str]:
    """What infra/template.yaml will make, near enough to be checked with what there is."""
    name = f"waybill-{target.stage}"
    arn = f"{target.region}:{target.account}"
    queue = f"https://sqs.{target.region}.amazonaws.com/{target.account}/{name}"
    made = {
        "BUCKET_NAME": f"{name}-{target.account}",
        "TOPIC_ARN": f"arn:{target.partition}:sns:{arn}:{name}-events",
        "STATE_MACHINE_ARN": f"arn:{target.partition}:states:{arn}:stateMachine:{name}-heavy",
        "QUEUE_URL": f"{queue}-jobs",
        "DELIVERIES_QUEUE_URL": f"{queue}-deliveries",
        "DELIVERIES_DEAD_LETTER_QUEUE_URL": f"{queue}-deliveries-dead",
    }
    made |= {
        f"{table.upper()}_TABLE": f"{name}-{table}" for table in ("jobs", "events", "webhooks", "deliveries")
    }
    return {variable: value for variable, value in made.items() if variable in FROM_OUTPUTS}
