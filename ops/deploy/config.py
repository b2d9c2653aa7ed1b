"""The stage's section of `.chalice/config.json`: what a plain `chalice deploy` goes by.

A deploy writes there the names of the stage's resources and of its policy files, and nothing else; whatever
an operator has set stays. The file is tracked, so it is written as it is kept: a value that does not change
changes no line.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chalice.config import Config

from ops.deploy.refusal import Refused
from ops.policies import GRANTS, HTTP_HANDLER
from ops.snapshot import FROM_OUTPUTS

PATTERN = "dev"
"""The stage that a new one is made after."""

OWN = ("JWT_SECRET", "JWT_JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE", "PUBLIC_URL")
"""Settings that no stage takes over from another: who may call it, and where it is found."""

SECRET = "JWT_SECRET"

EXPANDED = "environment_variables"
"""Always written a line each; every other object that has no objects in it is one line."""

Section = dict[str, Any]


class StageConfig:
    """The configuration file of a project, as one stage sees it.

    Raises:
        Refused: there is none, or it cannot be read.
    """

    def __init__(self, project: Path, stage: str) -> None:
        self.path = project / ".chalice" / "config.json"
        self.stage = stage
        try:
            self._read = self.path.read_text(encoding="utf-8")
            self._whole: Section = json.loads(self._read)
        except FileNotFoundError:
            raise Refused(f"{self.path} is not there: deploy a checkout of Waybill") from None
        except ValueError as error:
            raise Refused(f"{self.path} is not JSON: {error}") from None
        if not isinstance(self._whole, dict) or not isinstance(self._whole.get("lambda_functions"), dict):
            raise Refused(f"{self.path} has no lambda_functions: they name what app.py declares")
        stages = self._whole.setdefault("stages", {})
        self.is_new = stage not in stages
        if self.is_new:
            stages[stage] = _after(stages.get(PATTERN, {}))
        if not isinstance(stages[stage], dict):
            raise Refused(f"stage {stage} of {self.path} is no object: take it out, and it is made anew")
        self._section: Section = stages[stage]
        self._section.setdefault("environment_variables", {})

    def variables(self, function: str = HTTP_HANDLER) -> dict[str, str]:
        """A function's settings, merged as Chalice merges them."""
        merged: dict[str, str] = self._of(function).environment_variables
        return merged

    def timeout(self, function: str) -> int:
        """Seconds."""
        return int(self._of(function).lambda_timeout or 60)

    @property
    def api_gateway_stage(self) -> str:
        return str(self._of(HTTP_HANDLER).api_gateway_stage or "api")

    @property
    def traces(self) -> bool:
        """Whether AWS X-Ray traces the stage."""
        return bool(self._of(HTTP_HANDLER).xray_enabled)

    @property
    def functions(self) -> tuple[str, ...]:
        """What app.py declares, by the names of the handlers."""
        return tuple(self._whole["lambda_functions"])

    def take_outputs(self, outputs: Mapping[str, str]) -> None:
        """Name the resources of the stack, and the policies made for them."""
        self._section["environment_variables"] |= {
            variable: outputs[output] for variable, output in FROM_OUTPUTS.items()
        }
        functions = self._section.setdefault("lambda_functions", {})
        for function in GRANTS:
            file = f"policy-{self.stage}-{function}.json"
            functions[function] = {"iam_policy_file": file, **functions.get(function, {})}
            functions[function]["iam_policy_file"] = file

    def leave_out_the_secret(self) -> None:
        """Say that there is one, and not which: who deploys without knowing it is stopped.

        Chalice puts what is written here over what the shell has, and an empty value counts as none.
        """
        handler = self._section.setdefault("lambda_functions", {}).setdefault(HTTP_HANDLER, {})
        handler.setdefault("environment_variables", {}).setdefault(SECRET, "")

    def write(self) -> bool:
        """Whether anything had to change."""
        text = dumps(self._whole)
        if text == self._read:
            return False
        beside = self.path.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.path)
        self._read = text
        return True

    def _of(self, function: str) -> Config:
        return Config(chalice_stage=self.stage, function_name=function, config_from_disk=self._whole)


def _after(pattern: Section) -> Section:
    """A new stage's section: as the pattern's, without what is the pattern's own."""
    made: Section = json.loads(json.dumps(pattern))
    made["environment_variables"] = {
        "AUTH_MODE": "jwt",
        **{
            variable: value
            for variable, value in made.get("environment_variables", {}).items()
            if variable not in OWN and variable not in FROM_OUTPUTS
        },
    }
    for function in made.get("lambda_functions", {}).values():
        function.pop("iam_policy_file", None)
        for variable in OWN:
            function.get("environment_variables", {}).pop(variable, None)
        if not function.get("environment_variables", True):
            del function["environment_variables"]
    return made


def dumps(value: Section) -> str:
    return _dumps(value, "", "") + "\n"


def _dumps(value: Any, name: str, indent: str) -> str:
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if name != EXPANDED and value and not any(isinstance(one, dict) for one in value.values()):
        return json.dumps(value, ensure_ascii=False)
    if not value:
        return "{}"
    deeper = indent + "  "
    lines = [f"{deeper}{json.dumps(key)}: {_dumps(one, key, deeper)}" for key, one in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
