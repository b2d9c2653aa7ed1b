"""Sizes of the functions: what docs/functions.md says is what is deployed."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from chalicelib.settings import Settings

ROOT = Path(__file__).parents[2]
CONFIG = json.loads((ROOT / ".chalice" / "config.json").read_text())
PAGE = (ROOT / "docs" / "functions.md").read_text()


def described() -> dict[str, tuple[int, int]]:
    """Memory and timeout by function, as the page has them."""
    rows = re.findall(r"^\| (`.*?`) \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)
    return {
        name: (int(memory), int(timeout))
        for names, memory, timeout in rows
        for name in re.findall(r"`(\w+)`", names)
    }


def test_the_page_has_every_function_as_it_is_deployed() -> None:
    assert described() == {
        name: (function["lambda_memory_size"], function["lambda_timeout"])
        for name, function in CONFIG["lambda_functions"].items()
    }


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`app.py`, deployed with other numbers than the defaults."""
    from chalicelib import settings as module

    del settings
    monkeypatch.setenv("CONSUME_CONCURRENCY", "7")
    monkeypatch.setenv("DELIVER_CONCURRENCY", "3")
    module.get.cache_clear()
    sys.modules.pop("app", None)
    yield importlib.import_module("app")
    sys.modules.pop("app", None)
    module.get.cache_clear()


def test_a_backlog_takes_no_more_of_the_account_than_the_settings_say(app: ModuleType) -> None:
    mappings = {source.name: source for source in app.app.event_sources if hasattr(source, "queue")}

    assert {name: mapping.maximum_concurrency for name, mapping in mappings.items()} == {
        "consume": 7,
        "deliver": 3,
    }
    assert {mapping.maximum_batching_window_in_seconds for mapping in mappings.values()} == {0}
    assert {mapping.batch_size for mapping in mappings.values()} == {10}


def test_a_first_deploy_to_an_account_with_few_processes_is_not_refused() -> None:
    stages = [CONFIG, *CONFIG["stages"].values()]

    assert not [
        name
        for stage in stages
        for name, function in stage.get("lambda_functions", {}).items()
        if "reserved_concurrency" in function
    ]


def test_the_laptop_runs_fewer_consumers_than_aws() -> None:
    assert int(CONFIG["stages"]["local"]["environment_variables"]["CONSUME_CONCURRENCY"]) <= 5
