"""Rate and burst of a deployed API."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ops import __main__ as command
from ops import throttle


class Gateway:
    """API Gateway, as far as it is asked."""

    def __init__(self, **settings: Any) -> None:
        self.stage: dict[str, Any] = {"methodSettings": {"*/*": settings} if settings else {}}
        self.updates: list[Any] = []

    def get_stage(self, **_: str) -> Any:
        return self.stage

    def update_stage(self, **update: Any) -> None:
        self.updates.append(update)


def test_a_stage_gets_its_limits() -> None:
    gateway = Gateway()

    assert throttle.apply(gateway, "abc", "api", 50, 100)

    (update,) = gateway.updates
    assert (update["restApiId"], update["stageName"]) == ("abc", "api")
    assert [(patch["path"], patch["value"]) for patch in update["patchOperations"]] == [
        ("/*/*/throttling/rateLimit", "50"),
        ("/*/*/throttling/burstLimit", "100"),
    ]


@pytest.mark.parametrize(("rate", "burst", "changes"), [(50, 100, 0), (51, 100, 1), (50, 99, 1)])
def test_what_is_so_already_is_left_alone(rate: int, burst: int, changes: int) -> None:
    gateway = Gateway(throttlingRateLimit=50.0, throttlingBurstLimit=100)

    assert throttle.apply(gateway, "abc", "api", rate, burst) == bool(changes)

    assert len(gateway.updates) == changes


def test_the_api_is_the_one_that_chalice_has_deployed(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="deploy the stage first"):
        throttle.deployed(tmp_path, "dev")
    (tmp_path / ".chalice" / "deployed").mkdir(parents=True)
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps({"stages": {"dev": {}}}))
    noted = tmp_path / ".chalice" / "deployed" / "dev.json"
    noted.write_text(json.dumps({"resources": [{"name": "consume"}]}))
    with pytest.raises(LookupError, match="names no REST API"):
        throttle.deployed(tmp_path, "dev")
    noted.write_text(json.dumps({"resources": [{"name": "consume"}, {"rest_api_id": "abc"}]}))

    assert throttle.deployed(tmp_path, "dev") == ("abc", "api")


def test_a_shell_without_a_region_is_told_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    noted = tmp_path / ".chalice"
    (noted / "deployed").mkdir(parents=True)
    (noted / "config.json").write_text("{}")
    (noted / "deployed" / "dev.json").write_text('{"resources": [{"rest_api_id": "abc"}]}')

    code = command.throttle(argparse.Namespace(stage="dev", app_dir=tmp_path, rate=1, burst=2))

    assert (code, capsys.readouterr().err) == (1, "error: no AWS region; set AWS_REGION\n")
