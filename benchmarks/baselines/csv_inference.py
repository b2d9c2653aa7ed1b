"""A table's rows, columns and their types with the csv module: one pass, a cell at a time."""

import csv
from datetime import date, datetime
from pathlib import Path


def types_of(path: Path) -> tuple[int, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        found: list[set[str]] = [set() for _ in header]
        rows = 0
        for row in reader:
            rows += 1
            for types, cell in zip(found, row, strict=True):
                if "text" not in types:
                    types.add(type_of(cell))
    return rows, {name: _common(types) for name, types in zip(header, found, strict=True)}


def type_of(cell: str) -> str:
    cell = cell.strip()
    if not cell:
        return "empty"
    if cell.lower() in ("true", "false", "yes", "no"):
        return "boolean"
    for name, parse in (
        ("integer", int),
        ("number", float),
        ("date", date.fromisoformat),
        ("datetime", datetime.fromisoformat),
    ):
        try:
            parse(cell)
        except ValueError:
            continue
        return name
    return "text"


def _common(types: set[str]) -> str:
    types = types - {"empty"}
    return next(iter(types)) if len(types) == 1 else "text" if types else "empty"
