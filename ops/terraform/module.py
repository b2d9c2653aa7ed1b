"""The directory that Terraform works in: the files of infra/terraform, and what is made for one stage."""

import json
import shutil
from pathlib import Path
from typing import Any

from ops import template as templates
from ops.deploy import checks
from ops.deploy import options as chosen
from ops.deploy.config import StageConfig
from ops.deploy.options import Options
from ops.deploy.refusal import Refused
from ops.deploy.target import Target
from ops.policies import APP, Prefixes
from ops.terraform import chalice, functions, outputs


def prepare(target: Target, directory: Path) -> tuple[str, ...]:
    """Fill the directory; what Terraform itself keeps there stays, and so do files of other names.

    Returns:
        The secrets that Terraform has to be told.

    Raises:
        Refused: it would be unsafe, or cannot be: nothing was touched.
        Failed: the app cannot be packaged.
    """
    checks.interpreter(target)
    config = StageConfig(target.project, target.stage)
    checks.right_place(target, config)
    options = Options.read(target.project, target.stage)
    secrets = chalice.secrets_of(config)
    settings = checks.settings(target, config, "".join(secrets.values()) or None)
    parameters = chosen.parameters(target.template, config, options, settings, embedded=target.embedded)
    prefix = f"{APP}-{target.stage}"
    parameters["ApiName"] = prefix
    try:
        body = templates.body(target.template)
    except ValueError as error:
        raise Refused(str(error)) from None
    known = outputs.foretold(target, parameters)

    work = directory / "app"
    chalice.copy(target, work, known, Prefixes.of(settings))
    made = functions.made_valid(chalice.package(target, work, secrets), prefix, tuple(secrets))
    functions.hand_failed_events_over(made["resource"], _arn_of_queue(target, known["FailedEventsQueueUrl"]))
    if parameters["MalwareScan"] == "guardduty":
        functions.leave_the_scanner_its_events(made["resource"])
    if options.throttle:
        functions.limit_requests(made["resource"], *options.throttle)
    made["locals"] |= {
        "stage": target.stage,
        "account": target.account,
        "region": target.region,
        "tags": dict(options.tags),
        "log_retention_days": options.log_retention_days,
        "parameters": parameters,
        "fixed_parameters": sorted({*chosen.DERIVED, *chosen.AT_LEAST, "Transcriber"}),
        "outputs": known,
    }
    for source in sorted((target.project / "infra" / "terraform").glob("*.tf")):
        shutil.copy(source, directory / source.name)
    (directory / "template.json").write_text(body, encoding="utf-8")
    _write(directory / "functions.tf.json", made)
    (work / "package" / "deployment.zip").replace(directory / "deployment.zip")
    return tuple(secrets)


def write_backend(target: Target, directory: Path, bucket: str) -> None:
    """Where Terraform keeps the state of this stage."""
    lines = {"bucket": bucket, "key": f"{APP}/{target.stage}.tfstate", "region": target.region}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    (directory / "backend.hcl").write_text(text)


def _arn_of_queue(target: Target, url: str) -> str:
    return f"arn:{target.partition}:sqs:{target.region}:{target.account}:{url.rpartition('/')[2]}"


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
