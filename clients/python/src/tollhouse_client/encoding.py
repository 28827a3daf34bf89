"""JSON out and in, with decimals digit for digit.

The standard encoder can write a `Decimal` only by way of a float or of a string; both would change what is billed.
"""

import json
import math
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any
from uuid import UUID


def encode(value: Any) -> bytes:
    """The value as compact JSON in UTF-8.

    Takes what JSON has, and `Decimal` (as a number), dates, times and UUIDs (as text). Raises ValueError or TypeError for
    anything else: NaN and the infinities, half a surrogate pair, an object of another type.
    """
    return _text(value).encode()


def decode(content: bytes) -> Any:
    """JSON with its fractions as `Decimal`; raises ValueError."""
    return json.loads(content, parse_float=Decimal, parse_constant=_no_number)


def _text(value: Any) -> str:  # noqa: PLR0911  # one line a type
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else _no_number(value)
    if isinstance(value, Decimal):
        return _digits(value) if value.is_finite() else _no_number(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_key(key)}:{_text(member)}" for key, member in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, date):  # a datetime is one, too
        return f'"{value.isoformat()}"'
    if isinstance(value, UUID):
        return f'"{value}"'
    raise TypeError(f"JSON has no {type(value).__name__}; send numbers, texts, lists and dictionaries")


def _digits(value: Decimal) -> str:
    """All digits, and no others: small fractions plain, and an exponent where zeros would have to be made up."""
    return format(value, "f") if value.adjusted() > -40 and str(value.as_tuple().exponent).startswith(("-", "0")) else str(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return encode_basestring(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return f'"{int.__repr__(key)}"'
    raise TypeError(f"a {type(key).__name__} cannot be a key in JSON; use texts")


def _no_number(value: object) -> str:
    raise ValueError(f"{value} is not a JSON number; send finite ones")
