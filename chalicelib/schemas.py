"""What the API takes, as JSON Schema: the one source for checking requests and for describing them."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chalicelib.errors import BadRequest
from chalicelib.status import EVENT_TYPES, VISIBLE

if TYPE_CHECKING:
    from collections.abc import Callable

Schema = Mapping[str, Any]

MAX_URL_LENGTH = 2048
"""Characters of a webhook's URL."""

STATUS: Schema = {"enum": [status.value for status in VISIBLE]}

_LONGEST_SHOWN = 60

_FILENAME: Schema = {"type": "string", "minLength": 1, "maxLength": 4096}
_SIZE: Schema = {"type": "integer", "minimum": 1, "description": "the size of the file in bytes"}
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}
_MEDIA_TYPE = r"[A-Za-z0-9!#&^_.+-]+/[A-Za-z0-9!#&^_.+-]+( *; *[\x20-\x7e]+)?"  # RFC 6838, section 4.2

PRESIGN: Schema = {
    "$id": "presign",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "filename": _FILENAME,
        "contentType": {
            "type": "string",
            "maxLength": 255,
            "pattern": f"^{_MEDIA_TYPE}$",
            "description": "a media type such as text/plain or text/csv; charset=utf-8",
        },
        "size": _SIZE,
        "sha256": {**_SHA256, "description": "the SHA-256 of the file, as 64 hexadecimal digits"},
        "metadata": {
            "type": "object",
            "description": "kept with the file, and shown as `declared` of its job once that has ended",
            "maxProperties": 20,
            "propertyNames": {"pattern": "^(?!waybill-)[a-z0-9][a-z0-9-]{0,62}$"},
            "additionalProperties": {
                "type": "string",
                "pattern": r"^[\x21-\x7e]([\x20-\x7e]{0,254}[\x21-\x7e])?$",
                "description": "1 to 256 printable ASCII characters, with no space at either end",
            },
        },
        "method": {"enum": ["PUT", "POST"]},
    },
}

WEBHOOK: Schema = {
    "$id": "webhook",
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {
        "url": {"type": "string", "minLength": 1, "maxLength": MAX_URL_LENGTH},
        "types": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"enum": list(EVENT_TYPES)},
        },
    },
}

# What an uploader sends that speaks to Companion; an empty type is one that it does not know.
_COMPANION_FILE: Schema = {
    "filename": {"type": "string", "maxLength": 4096},
    "type": {
        "type": "string",
        "maxLength": 255,
        "pattern": f"^({_MEDIA_TYPE})?$",
        "description": "a media type such as text/plain or text/csv; charset=utf-8",
    },
}

S3_PARAMS_QUERY: Schema = {
    "$id": "s3-params-query",
    "type": "object",
    "additionalProperties": False,
    "properties": _COMPANION_FILE,
    "patternProperties": {r"^metadata\[[^\[\]]{1,255}\]$": {"type": "string"}},
}

MULTIPART: Schema = {
    "$id": "multipart",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **_COMPANION_FILE,
        "size": _SIZE,
        "metadata": {
            "type": ["object", "null"],
            "description": "as for /presign; empty values, and name, type and relativePath, are left out",
        },
        "checksum": {"enum": ["SHA256"], "description": "every part will be signed with its sha256"},
    },
}

_KEY: Schema = {"type": "string", "maxLength": 1024, "description": "the key of the upload"}

MULTIPART_QUERY: Schema = {
    "$id": "multipart-query",
    "type": "object",
    "additionalProperties": False,
    "required": ["key"],
    "properties": {"key": _KEY},
}

MULTIPART_PART_QUERY: Schema = {
    "$id": "multipart-part-query",
    "type": "object",
    "additionalProperties": False,
    "required": ["key"],
    "properties": {
        "key": _KEY,
        "sha256": {**_SHA256, "description": "the SHA-256 of the part, as 64 hexadecimal digits"},
    },
}

MULTIPART_BATCH_QUERY: Schema = {
    "$id": "multipart-batch-query",
    "type": "object",
    "additionalProperties": False,
    "required": ["key", "partNumbers"],
    "properties": {
        "key": _KEY,
        "partNumbers": {
            "type": "string",
            "maxLength": 6000,
            "pattern": "^[0-9]+(,[0-9]+)*$",
            "description": "part numbers with commas between them, such as 1,2,3",
        },
    },
}

MULTIPART_PARTS: Schema = {
    "$id": "multipart-parts",
    "type": "object",
    "additionalProperties": False,
    "required": ["parts"],
    "properties": {
        "parts": {
            "type": "array",
            "minItems": 1,
            "maxItems": 10_000,
            "items": {
                "type": "object",
                "required": ["PartNumber", "ETag"],
                "properties": {
                    "PartNumber": {"type": "integer", "minimum": 1, "maximum": 10_000},
                    "ETag": {"type": "string", "minLength": 1, "maxLength": 128},
                },
            },
        },
    },
}

SIGN: Schema = {
    "$id": "sign",
    "type": "object",
    "additionalProperties": False,
    "required": ["method", "key"],
    "properties": {
        "method": {"enum": ["PUT", "POST", "GET", "DELETE"]},
        "key": {
            "type": "string",
            "maxLength": 4096,
            "description": "with uploadId the key of the upload, else the name of the file",
        },
        "uploadId": {"type": "string", "minLength": 1, "maxLength": 1024},
        "partNumber": {"type": "integer", "minimum": 1, "maximum": 10_000},
        "contentType": _COMPANION_FILE["type"],
        "size": {**_SIZE, "description": "the size in bytes of what is sent, the file or the part"},
    },
}

NOTHING: Schema = {"$id": "nothing", "type": "object", "additionalProperties": False, "properties": {}}

_PAGE: Schema = {
    "limit": {
        "type": "string",
        "pattern": "^([1-9][0-9]?|100)$",
        "description": "a whole number from 1 to 100",
    },
    "cursor": {"type": "string", "maxLength": 200},
}

JOBS_QUERY: Schema = {
    "$id": "jobs-query",
    "type": "object",
    "additionalProperties": False,
    "properties": {**_PAGE, "status": STATUS},
}

DELIVERIES_QUERY: Schema = {
    "$id": "deliveries-query",
    "type": "object",
    "additionalProperties": False,
    "properties": _PAGE,
}

_ALL = (
    PRESIGN,
    S3_PARAMS_QUERY,
    MULTIPART,
    MULTIPART_QUERY,
    MULTIPART_PART_QUERY,
    MULTIPART_BATCH_QUERY,
    MULTIPART_PARTS,
    SIGN,
    WEBHOOK,
    NOTHING,
    JOBS_QUERY,
    DELIVERIES_QUERY,
)


@lru_cache(maxsize=128)
def _checker(schema_id: str, kind: str, name: str) -> "Callable[[object], object]":
    """What checks one of the `properties` or `patternProperties` of a schema. It is compiled when somebody
    first sends such a thing: a cold start need not wait for those that nobody has sent."""
    import fastjsonschema

    schema = next(s for s in _ALL if s["$id"] == schema_id)
    checker: Callable[[object], object] = fastjsonschema.compile({kind: {name: schema[kind][name]}})
    return checker


def check(schema: Schema, value: Mapping[str, Any]) -> None:
    """
    Raises:
        BadRequest: naming the field, and what it takes.
    """
    properties, required = schema["properties"], schema.get("required")
    patterns = schema.get("patternProperties")
    if not value and not required:
        return
    unknown = value.keys() - properties.keys()
    if unknown and patterns:
        unknown = {name for name in unknown if not any(re.search(pattern, name) for pattern in patterns)}
    if unknown:
        field = min(unknown)[:_LONGEST_SHOWN]
        known = ", ".join(schema["properties"])
        known = f"known here: {known}" if known else "none is taken here"
        raise BadRequest(f"{field!r}: no such field; {known}.", field=field)
    for name in required or ():
        if name not in value:
            raise BadRequest(f"{name}: is missing.", field=name)
    try:
        for name in properties:
            if name in value:
                _checker(schema["$id"], "properties", name)(value)
        for pattern in patterns or ():
            _checker(schema["$id"], "patternProperties", pattern)(value)
    except ValueError as error:
        raise _refused(error) from None


def _refused(broken: Any) -> BadRequest:
    """What a `JsonSchemaValueException` says, in words; its module loads when there is something to check."""
    field = ".".join(map(str, broken.path[1:]))
    return BadRequest(f"{field}: {_wanted(str(broken.rule), broken.definition or {})}.", field=field)


def _wanted(rule: str, schema: Schema) -> str:
    """The rule of a schema that was broken, in words."""
    wanted = schema.get(rule)
    return {
        "type": f"must be {_type_in_words(wanted)}",
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
        "maximum": f"must be at most {wanted}",
        "maxItems": f"must have at most {wanted} entries",
        "required": f"must have {' and '.join(wanted) if isinstance(wanted, list) else wanted}",
        "uniqueItems": "must not hold the same twice",
    }.get(rule, f"breaks the rule {rule}: {wanted}")


def _type_in_words(wanted: Any) -> str:
    first = wanted[0] if isinstance(wanted, list) else wanted
    return _TYPES.get(str(first), str(first))


_TYPES = {
    "array": "an array",
    "integer": "a whole number",
    "object": "an object",
    "string": "a string",
}
