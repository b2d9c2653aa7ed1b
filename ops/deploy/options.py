"""What of a stage is no setting of the functions: `infra/<stage>.json`, and what follows from the settings.

    {
      "Parameters": {"AllowedOrigins": "https://app.example.com"},
      "Tags": {"team": "files"},
      "LogRetentionInDays": 30,
      "Throttle": {"RatePerSecond": 50, "Burst": 100}
    }

All of it may be left out, and the file as well. `Parameters` and `Tags` are as in a template configuration
file of CloudFormation, so that other tools can read them.
"""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from chalicelib.settings import GiB, Settings
from ops.deploy.config import StageConfig
from ops.deploy.refusal import Refused
from ops.policies import Prefixes
from ops.template import Template

LOG_RETENTION_DAYS = 30

RETENTIONS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
"""Days that CloudWatch Logs takes (API reference, PutRetentionPolicy)."""

KEYS = ("Parameters", "Tags", "LogRetentionInDays", "Throttle")
DERIVED = {
    "Stage": "the stage's name",
    "RequireTls": "where it is deployed to",
    "MalwareScan": "MALWARE_SCAN in .chalice/config.json",
    "Tracing": "xray in .chalice/config.json",
    "ApiStage": "api_gateway_stage in .chalice/config.json",
    "ApiName": "how it is deployed",
}
"""Parameters that nobody chooses, and what each follows from."""

AT_LEAST = ("MaxSignatureAge", "FunctionTimeout")
"""Parameters that may be chosen larger than the settings ask for."""


@dataclass(frozen=True)
class Options:
    """Of one stage, as its operator wrote them."""

    source: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    log_retention_days: int = LOG_RETENTION_DAYS
    throttle: tuple[float, int] | None = None
    """Requests a second, and at once; None leaves the account's own limits."""

    @classmethod
    def read(cls, project: Path, stage: str) -> Self:
        """
        Raises:
            Refused: there is something in the file that nothing knows of, or a value that cannot be.
        """
        path = project / "infra" / f"{stage}.json"
        source = f"infra/{stage}.json"
        if not path.exists():
            return cls(source)
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise Refused(f"{source} is not JSON: {error}") from None
        if not isinstance(written, dict) or (unknown := set(written) - set(KEYS)):
            what = f"has {', '.join(sorted(unknown))}" if isinstance(written, dict) else "is no object"
            raise Refused(f"{source} {what}: it takes {', '.join(KEYS)}")
        days = written.get("LogRetentionInDays", LOG_RETENTION_DAYS)
        if days not in RETENTIONS:
            raise Refused(
                f"LogRetentionInDays in {source} is {days!r}: CloudWatch Logs takes one of {RETENTIONS}"
            )
        return cls(
            source,
            _texts(source, "Parameters", written),
            _texts(source, "Tags", written),
            int(days),
            _throttle(source, written.get("Throttle")),
        )


def _texts(source: str, name: str, written: Mapping[str, Any]) -> dict[str, str]:
    found = written.get(name, {})
    if not isinstance(found, dict) or not all(isinstance(one, str | int) for one in found.values()):
        raise Refused(f'{name} in {source} takes names and texts, such as {{"name": "text"}}')
    # CloudFormation says true and false as JSON does.
    return {key: json.dumps(one) if isinstance(one, bool) else str(one) for key, one in found.items()}


def _throttle(source: str, written: Any) -> tuple[float, int] | None:
    if written is None:
        return None
    try:
        rate, burst = written["RatePerSecond"], written["Burst"]
        if set(written) == {"RatePerSecond", "Burst"} and float(rate) > 0 and int(burst) >= 1:
            return float(rate), int(burst)
    except (KeyError, TypeError, ValueError):
        pass
    raise Refused(f'Throttle in {source} takes {{"RatePerSecond": 50, "Burst": 100}}, numbers above zero')


def parameters(
    template: Template, config: StageConfig, options: Options, settings: Settings, *, embedded: bool
) -> dict[str, str]:
    """Of the template: those that were chosen, and those that follow from the settings of the functions.

    Raises:
        Refused: a chosen one that the template does not know, or that does not fit the settings.
    """
    known, source, chosen = template["Parameters"], options.source, dict(options.parameters)
    for name in chosen:
        if name in DERIVED:
            raise Refused(f"{name} in {source} follows from {DERIVED[name]}: leave it out")
        if name not in known:
            near = "".join(f"; is it {one}?" for one in difflib.get_close_matches(name, known, 1))
            raise Refused(f"infra/template.yaml has no parameter {name}, which {source} sets{near}")
        if (takes := _takes(known[name], chosen[name])) is not None:
            raise Refused(f"{name} in {source} is {chosen[name]!r}, and takes {takes}")
    derived = {
        "Stage": config.stage,
        "RequireTls": "false" if embedded else "true",
        "MalwareScan": settings.malware_scan,
        "Tracing": "true" if config.traces else "false",
        "ApiStage": config.api_gateway_stage,
        "MaxSignatureAge": _at_least(chosen, source, "MaxSignatureAge", settings.expires_in, "EXPIRES_IN"),
        "FunctionTimeout": _function_timeout(known, chosen, source, config.timeout("consume")),
        "Transcriber": chosen.get("Transcriber") or settings.transcriber,
    }
    made = {**chosen, **derived}
    _fits_the_prefixes(made, known, settings)
    _fits_the_worker(made, known, source, settings)
    return made


def _takes(parameter: Mapping[str, Any], value: str) -> str | None:
    """What a parameter of the template takes; None where this value is of it."""
    if "AllowedValues" in parameter:
        allowed = [str(one) for one in parameter["AllowedValues"]]
        return None if value in allowed else " or ".join(allowed)
    if parameter["Type"] == "Number":
        least, most = parameter["MinValue"], parameter["MaxValue"]
        fits = value.isascii() and value.isdigit() and least <= int(value) <= most
        return None if fits else f"{least} to {most}"
    pattern = parameter.get("AllowedPattern", "")
    if re.search(pattern, value):
        return None
    return str(parameter.get("ConstraintDescription") or f"what fits {pattern}")


def _at_least(chosen: Mapping[str, str], source: str, name: str, needed: int, setting: str) -> str:
    """What the setting asks for, or more where more was chosen."""
    value = chosen.get(name, str(needed))
    if not value.isdigit() or int(value) < needed:
        raise Refused(f"{name} in {source} is {value}, and {setting} is {needed}: leave it out, or say more")
    return value


def _function_timeout(known: Mapping[str, Any], chosen: Mapping[str, str], source: str, needed: int) -> str:
    enough = [one for one in known["FunctionTimeout"]["AllowedValues"] if int(one) >= needed]
    if not enough:
        raise Refused(
            f"lambda_timeout of consume in .chalice/config.json is {needed}: Lambda gives 900 at most"
        )
    return _at_least(
        {"FunctionTimeout": chosen.get("FunctionTimeout", enough[0])},
        source,
        "FunctionTimeout",
        needed,
        "consume's lambda_timeout",
    )


def _fits_the_prefixes(made: Mapping[str, str], known: Mapping[str, Any], settings: Settings) -> None:
    """The scanner, the container and Amazon Transcribe are given the bucket's prefixes by the template."""
    needs = {
        "MALWARE_SCAN": made["MalwareScan"] == "guardduty",
        "TRANSCRIBER": made["Transcriber"] == "amazon",
        "Worker": made.get("Worker", known["Worker"]["Default"]) == "fargate",
    }
    if Prefixes.of(settings) != Prefixes() and (names := [name for name, needed in needs.items() if needed]):
        raise Refused(
            f"with the {names[0]} that was chosen, every …_PREFIX has its default, as infra/template.yaml "
            "has it: leave them out of .chalice/config.json"
        )


def _fits_the_worker(
    made: Mapping[str, str], known: Mapping[str, Any], source: str, settings: Settings
) -> None:
    if made.get("Worker", known["Worker"]["Default"]) != "fargate":
        return
    for name in ("WorkerImage", "WorkerSubnets", "WorkerSecurityGroups"):
        if not made.get(name):
            raise Refused(f"Worker is fargate, which takes {name} in {source} (docs/worker.md)")
    disk = int(made.get("WorkerDisk", known["WorkerDisk"]["Default"]))
    if 2 * settings.worker_limit_bytes > disk * GiB:
        limit = settings.worker_limit_bytes // GiB
        raise Refused(
            f"WorkerDisk is {disk} GiB, and an original of up to {limit} GiB (WORKER_LIMIT_BYTES) takes its "
            "size twice"
        )
