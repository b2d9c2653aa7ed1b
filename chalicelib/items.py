"""Python values as DynamoDB attribute values, and back.

Numbers go in and come out exactly: integers as `int`, all others as `Decimal`.
"""

from collections.abc import Mapping
from decimal import Context, Decimal, Inexact
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

MAX_DIGITS = 38


@lru_cache(maxsize=1)
def _serializer() -> "TypeSerializer":
    from boto3.dynamodb.types import TypeSerializer

    return TypeSerializer()


@lru_cache(maxsize=1)
def _deserializer() -> "TypeDeserializer":
    from boto3.dynamodb.types import TypeDeserializer

    return TypeDeserializer()


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None: an absent attribute and a null one would otherwise need two conditions.

    Raises:
        TypeError, ArithmeticError: a value that DynamoDB cannot hold, such as a number of 39 digits.
    """
    return {
        name: _serializer().serialize(_storable(value)) for name, value in values.items() if value is not None
    }


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(_deserializer().deserialize(value)) for name, value in item.items()}


def _storable(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Decimal):
        return _without_padding(value)
    if isinstance(value, Mapping):
        return {str(k): _storable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(v) for v in value]
    return value


def _without_padding(number: Decimal) -> Decimal:
    """Zeros at the end would count as digits, of which DynamoDB takes 38; those of zero, as its exponent."""
    if not number:
        return Decimal(0)
    if len(number.as_tuple().digits) <= MAX_DIGITS:
        return number
    return number.normalize(Context(prec=MAX_DIGITS, traps=[Inexact]))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else value
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value
