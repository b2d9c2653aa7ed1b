"""How many requests the deployed API takes: rate and burst of its API Gateway stage.

Chalice has no setting for them, and no deployment of it takes them away: `CreateDeployment` leaves a stage's
method settings as they are. What goes beyond them is answered with 429 by API Gateway itself, and calls no
function.
"""

import json
from pathlib import Path
from typing import Any

ALL_METHODS = "*/*"
"""Of the stage; each method of each path has the limits for itself (API Gateway Developer Guide, "Throttle
requests to your REST APIs")."""


def patches(rate: float, burst: int) -> list[dict[str, str]]:
    """As UpdateStage takes them.

    Args:
        rate: requests a second, in the long run.
        burst: requests at once.
    """
    return [
        {"op": "replace", "path": f"/{ALL_METHODS}/throttling/rateLimit", "value": str(rate)},
        {"op": "replace", "path": f"/{ALL_METHODS}/throttling/burstLimit", "value": str(burst)},
    ]


def limits(stage: dict[str, Any]) -> tuple[float, int] | None:
    """Rate and burst of a stage as GetStage describes it; None where it has none of its own."""
    set_for_all = stage.get("methodSettings", {}).get(ALL_METHODS, {})
    if "throttlingRateLimit" not in set_for_all:
        return None
    return float(set_for_all["throttlingRateLimit"]), int(set_for_all["throttlingBurstLimit"])


def apply(apigateway: Any, rest_api_id: str, gateway_stage: str, rate: float, burst: int) -> bool:
    """Have the stage throttle so; whether anything had to change."""
    which = {"restApiId": rest_api_id, "stageName": gateway_stage}
    if limits(apigateway.get_stage(**which)) == (rate, burst):
        return False
    apigateway.update_stage(**which, patchOperations=patches(rate, burst))
    return True


def deployed(app_dir: Path, stage: str) -> tuple[str, str]:
    """The REST API's id and its stage's name, as Chalice has noted them.

    Raises:
        LookupError: this stage was not deployed from there.
    """
    noted = app_dir / ".chalice" / "deployed" / f"{stage}.json"
    if not noted.exists():
        raise LookupError(f"{noted} is not there: deploy the stage first, or run this where it was deployed")
    for resource in json.loads(noted.read_text())["resources"]:
        if "rest_api_id" in resource:
            config = json.loads((app_dir / ".chalice" / "config.json").read_text())
            own = config.get("stages", {}).get(stage, {})
            name = own.get("api_gateway_stage") or config.get("api_gateway_stage") or "api"
            return str(resource["rest_api_id"]), str(name)
    raise LookupError(f"{noted} names no REST API")
