"""A change set, in lines that people read."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ops.columns import table

SIGNS = {"Add": "+", "Modify": "~", "Remove": "-", "Import": "<", "Dynamic": "?"}
VERBS = {
    "Add": "create",
    "Modify": "change",
    "Remove": "delete",
    "Import": "take in",
    "Dynamic": "may change",
}

KEPT = ("Retain", "RetainExceptOnCreate")

Change = Mapping[str, Any]


def lines(changes: Sequence[Change]) -> Iterator[str]:
    """One for each resource, and what of it changes."""
    rows: list[Sequence[str]] = []
    for change in sorted(_of_resources(changes), key=lambda one: (one["Action"], one["LogicalResourceId"])):
        sign = "!" if replaces(change) else SIGNS.get(change["Action"], "?")
        rows.append((sign, change["LogicalResourceId"], change["ResourceType"], _what(change)))
    yield from (f"  {row}" for row in table(rows))


def summary(changes: Sequence[Change]) -> str:
    """Such as `2 to create, 1 to change`."""
    counts: dict[str, int] = {}
    for change in _of_resources(changes):
        verb = "replace" if replaces(change) else VERBS.get(change["Action"], "change")
        counts[verb] = counts.get(verb, 0) + 1
    return ", ".join(f"{count} to {verb}" for verb, count in counts.items())


def replaces(change: Change) -> bool:
    """Whether the resource may come out as another one, without what is in it now."""
    return change.get("Replacement") == "True"


def would_part_with(changes: Sequence[Change], resources: Mapping[str, Any]) -> list[str]:
    """Resources with data in them that a change set would replace, or no longer know of."""
    return [
        change["LogicalResourceId"]
        for change in _of_resources(changes)
        if (replaces(change) and resources.get(change["LogicalResourceId"], {}).get("DeletionPolicy") in KEPT)
        or (change["Action"] == "Remove" and change.get("PolicyAction") == "Retain")
    ]


def _of_resources(changes: Sequence[Change]) -> list[Change]:
    return [change["ResourceChange"] for change in changes if change.get("Type", "Resource") == "Resource"]


def _what(change: Change) -> str:
    if change["Action"] != "Modify":
        return ""
    names = []
    for detail in change.get("Details", []):
        target = detail.get("Target", {})
        name = target.get("Name") or target.get("Attribute", "")
        if name and name not in names:
            names.append(name)
    return ("replaced: " if replaces(change) else "") + ", ".join(names)
