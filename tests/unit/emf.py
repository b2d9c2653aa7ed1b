"""The embedded metric format, read as CloudWatch reads it.

Amazon CloudWatch User Guide, "Specification: Embedded metric format", with the limits of PutMetricData; the
units are those of its `MetricDatum`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fastjsonschema

MAX_BYTES = 256 * 1024

UNITS = [
    *("Seconds", "Microseconds", "Milliseconds"),
    *(f"{size}{kind}" for size in ("", "Kilo", "Mega", "Giga", "Tera") for kind in ("bytes", "bits")),
    *("Bytes", "Bits", "Percent", "Count", "None"),
    *("Bytes/Second", "Bits/Second", "Count/Second"),
]

SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "additionalProperties": False,
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 0},
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 255},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "maxItems": 30,
                                    "uniqueItems": True,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": {"type": "string", "minLength": 1, "maxLength": 255},
                                        "Unit": {"enum": UNITS},
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}

_check = fastjsonschema.compile(SCHEMA)


@dataclass(frozen=True)
class Datum:
    """One value of one metric, as it can be looked up: under each set of dimensions it is one of its own."""

    name: str
    value: float
    dimensions: Mapping[str, str]
    unit: str


def data(lines: Iterable[str]) -> list[Datum]:
    """All values that these lines of a log tell; lines that are no metrics tell none."""
    return [datum for line in lines for datum in _of(line)]


def _of(line: str) -> Iterator[Datum]:
    try:
        fields: Any = json.loads(line)
    except ValueError:
        return
    if not isinstance(fields, dict) or "_aws" not in fields:
        return
    _check(fields)
    assert len(line.encode()) <= MAX_BYTES
    for directive in fields["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = {name: fields[name] for name in names}
            assert all(isinstance(value, str) and 1 <= len(value) <= 1024 for value in dimensions.values())
            for metric in directive["Metrics"]:
                value = fields[metric["Name"]]
                assert isinstance(value, int | float)
                assert not isinstance(value, bool)
                yield Datum(metric["Name"], value, dimensions, metric["Unit"])
