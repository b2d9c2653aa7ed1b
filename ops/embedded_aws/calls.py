"""What every role and user may or may not do, as it was asked: for who wants to compare it with policies.

Off, unless `--record-calls` names a file. It gets a line for each new (caller, action, resource, answer), as
soon as IAM has answered, so that nothing is missing when the process is killed:

    {"caller": "arn:aws:sts::…:assumed-role/waybill-local-consume/…", "action": "s3:GetObject",
     "resource": "arn:aws:s3:::…", "allowed": true}

Left out are root, who may do everything, and requests that prove nobody's identity. What MiniStack does by
itself in a function's name, as taking messages off a queue for it, asks for no leave and is not seen here.
"""

import json
from pathlib import Path
from typing import Any

NAME = "calls.jsonl"


def record_calls(path: Path) -> None:
    """Write down what IAM is asked from now on, behind what the file holds already."""
    from ministack.core import iam_evaluator

    unrecorded = iam_evaluator.enforce
    file = path.open("a", encoding="utf-8")
    seen: set[tuple[str, str, str, bool]] = set()

    def enforce(
        access_key_id: str, iam_action: str, service: str, region: str, resource_arn: str = "*", **more: Any
    ) -> Any:
        refusal = unrecorded(access_key_id, iam_action, service, region, resource_arn=resource_arn, **more)
        caller = _caller(access_key_id)
        if caller and not isinstance(refusal, iam_evaluator.AuthError):
            call = (caller, iam_action, resource_arn, refusal is None)
            if call not in seen:
                seen.add(call)
                names = ("caller", "action", "resource", "allowed")
                print(json.dumps(dict(zip(names, call, strict=True))), file=file, flush=True)
        return refusal

    iam_evaluator.enforce = enforce


def _caller(access_key_id: str) -> str:
    """ARN of a role's session or of a user; empty for root and for nobody."""
    from ministack.core import iam_evaluator

    if not access_key_id or iam_evaluator.is_root_access_key(access_key_id):
        return ""
    identity: dict[str, Any] = iam_evaluator.resolve_caller_identity(access_key_id) or {}
    return str(identity.get("userArn", ""))
