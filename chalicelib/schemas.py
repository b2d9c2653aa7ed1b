"""What the API takes, as JSON Schema: the one source for checking requests and for describing them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chalicelib.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

Schema = Mapping[str, Any]

_LONGEST_SHOWN = 60

PRESIGN: Schema = {
    "$id": "presign",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "filename": {"type": "string", "minLength": 1, "maxLength": 4096},
        "contentType": {
            "type": "string",
            "maxLength": 255,
            # RFC 6838, section 4.2
            "pattern": r"^[A-Za-z0-9!#&^_.+-]+/[A-Za-z0-9!#&^_.+-]+( *; *[\x20-\x7e]+)?$",
            "description": "a media type such as text/plain or text/csv; charset=utf-8",
        },
        "size": {"type": "integer", "minimum": 1, "description": "the size of the file in bytes"},
        "sha256": {
            "type": "string",
            "pattern": "^[0-9a-fA-F]{64}$",
            "description": "the SHA-256 of the file, as 64 hexadecimal digits",
        },
        "metadata": {
            "type": "object",
            "maxProperties": 20,
            "propertyNames": {"pattern": "^(?!waybill-)[a-z0-9][a-z0-9-]{0,62}$"},
            "additionalProperties": {
                "type": "string",
                "pattern": r"^[\x21-\x7e]([\x20-\x7e]{0,254}[\x21-\x7e])?$",
                "description": "1 to 256 printable ASCII characters, with no space at either end",
            },
        },
        "method": {"enum": ["PUT"]},
    },
}

WEBHOOK: Schema = {
    "$id": "webhook",
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {
        "url": {"type": "string", "minLength": 1, "maxLength": 2048},
        "types": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {
                "enum": ["waybill.job.completed", "waybill.job.rejected", "waybill.job.failed"],
            },
        },
    },
}

NOTHING: Schema = {"$id": "nothing", "type": "object", "additionalProperties": False, "properties": {}}

JOBS_QUERY: Schema = {
    "$id": "jobs-query",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "limit": {
            "type": "string",
            "pattern": "^([1-9][0-9]?|100)$",
            "description": "a whole number from 1 to 100",
        },
        "cursor": {"type": "string", "maxLength": 200},
        "status": {"enum": ["QUEUED", "PROCESSING", "COMPLETED", "REJECTED", "FAILED"]},
    },
}


@lru_cache(maxsize=16)
def _checker(schema_id: str) -> "Callable[[object], object]":
    import fastjsonschema

    schema = next(s for s in (PRESIGN, WEBHOOK, NOTHING, JOBS_QUERY) if s["$id"] == schema_id)
    checker: Callable[[object], object] = fastjsonschema.compile(dict(schema))
    return checker


def check(schema: Schema, value: Mapping[str, Any]) -> None:
    """
    Raises:
        BadRequest: naming the field, and what it takes.
    """
    unknown = sorted(set(value) - set(schema["properties"]))
    if unknown:
        field = unknown[0][:_LONGEST_SHOWN]
        known = ", ".join(schema["properties"])
        known = f"known here: {known}" if known else "none is taken here"
        raise BadRequest(f"{field!r}: no such field; {known}.", field=field)
    if not value and not schema.get("required"):
        return  # nothing to check, and no checker to make for it
    from fastjsonschema import JsonSchemaValueException

    try:
        _checker(schema["$id"])(value)
    except JsonSchemaValueException as error:
        missing = [name for name in schema.get("required", ()) if name not in value]
        field = ".".join(map(str, error.path[1:])) or (missing[0] if missing else "")
        wanted = _wanted(str(error.rule), error.definition or {})
        raise BadRequest(f"{field}: {'is missing' if missing else wanted}.", field=field) from None


def _wanted(rule: str, schema: Schema) -> str:
    """The rule of a schema that was broken, in words."""
    wanted = schema.get(rule)
    return {
        "type": f"must be {_TYPES.get(str(wanted), wanted)}",
        "enum": f"must be one of: {', '.join(wanted) if isinstance(wanted, list) else wanted}",
        "minimum": f"must be at least {wanted}",
        "minLength": "must not be empty",
        "maxLength": f"must have at most {wanted} characters",
        "pattern": f"must be {schema.get('description', wanted)}",
        "propertyNames": (
            "takes names of at most 63 lower-case letters, digits and '-' that begin with a letter or digit, "
            "and not with waybill-"
        ),
        "maxProperties": f"must have at most {wanted} entries",
        "minItems": "must not be empty",
        "uniqueItems": "must not hold the same twice",
    }.get(rule, f"breaks the rule {rule}: {wanted}")


_TYPES = {
    "array": "an array",
    "integer": "a whole number",
    "object": "an object",
    "string": "a string",
}
