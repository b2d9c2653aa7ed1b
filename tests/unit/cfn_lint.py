"""cfn-lint and its tables, loaded by those tests alone that use them: it takes half a second.

Each process of a test run imports every test file.
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any


def findings(template: Path) -> list[Any]:
    from cfnlint.api import lint_file  # type: ignore[import-untyped]

    found: list[Any] = lint_file(template)
    return found


@cache
def services() -> dict[str, Any]:
    """The Service Authorization Reference: service → `Actions` → name in lower case → what is known of it."""
    table = files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json")
    known: dict[str, Any] = json.loads(table.read_text(encoding="utf-8"))
    return known


def schema_of(resource_type: str, region: str) -> dict[str, Any]:
    """As CloudFormation publishes it: its `handlers` and `tagging` name the actions that they need."""
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

    schema: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, resource_type).schema
    return schema
