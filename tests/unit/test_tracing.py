"""X-Ray: one line in the stage's section of .chalice/config.json turns all of it on."""

import json
from pathlib import Path

import pytest
from chalice.config import Config

from chalicelib.settings import Settings
from ops import template
from ops.deploy import options
from ops.deploy.config import StageConfig
from ops.deploy.options import Options
from ops.deploy.refusal import Refused
from ops.policies import GRANTS
from tests.unit.test_template import CONFIG, ROOT

TEMPLATE = template.of(ROOT)


def project(directory: Path, **section: object) -> StageConfig:
    """Of a project whose stage `dev` says this as well."""
    config = json.loads(json.dumps(CONFIG))
    config["stages"]["dev"].update(section)
    (directory / ".chalice").mkdir()
    (directory / ".chalice" / "config.json").write_text(json.dumps(config))
    return StageConfig(directory, "dev")


@pytest.mark.parametrize("on", [True, False])
def test_the_template_follows_what_chalice_is_told(tmp_path: Path, settings: Settings, on: bool) -> None:
    config = project(tmp_path, **({"xray": True} if on else {}))

    made = options.parameters(TEMPLATE, config, Options("infra/dev.json"), settings, embedded=False)

    assert made["Tracing"] == ("true" if on else "false")
    told = json.loads(config.path.read_text())
    for function in GRANTS:
        traced = Config(chalice_stage="dev", function_name=function, config_from_disk=told).xray_enabled
        assert bool(traced) is on


def test_nobody_can_say_the_one_without_the_other(tmp_path: Path, settings: Settings) -> None:
    chosen = Options("infra/dev.json", parameters={"Tracing": "true"})

    with pytest.raises(Refused, match=r"Tracing .* follows from xray"):
        options.parameters(TEMPLATE, project(tmp_path), chosen, settings, embedded=False)


def test_the_alarm_on_the_api_looks_at_the_stage_that_it_is_deployed_as(
    tmp_path: Path, settings: Settings
) -> None:
    config = project(tmp_path, api_gateway_stage="dev")

    made = options.parameters(TEMPLATE, config, Options("infra/dev.json"), settings, embedded=False)

    assert made["ApiStage"] == "dev"
