"""The secret of HS256 tokens, on its way from the operator's shell into the HTTP handler's environment.

It is in no file: not in `.chalice/config.json`, which is tracked, and not in the package. What a deployment
is not told it takes from the function that is deployed, so that later ones need not know it.
"""

import os
from collections.abc import Mapping

from ops.deploy.config import SECRET, StageConfig
from ops.deploy.target import Target
from ops.policies import HTTP_HANDLER, function_name


def find(target: Target, config: StageConfig, environ: Mapping[str, str] = os.environ) -> str | None:
    """None where tokens are checked by an issuer's keys, or where nobody knows of one."""
    variables = config.variables()
    if variables.get("JWT_JWKS_URL"):
        return None
    return variables.get(SECRET) or environ.get(SECRET) or deployed(target)


def deployed(target: Target) -> str | None:
    functions = target.client("lambda")
    try:
        found = functions.get_function_configuration(FunctionName=function_name(target.stage, HTTP_HANDLER))
    except functions.exceptions.ResourceNotFoundException:
        return None
    secret: str | None = found.get("Environment", {}).get("Variables", {}).get(SECRET)
    return secret or None
