import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollhouse_client.encoding import decode, encode

scalars = st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def as_read(value: Any) -> Any:
    """What comes back: whole decimals as integers."""
    if isinstance(value, Decimal):
        return decode(encode(value))
    if isinstance(value, dict):
        return {key: as_read(member) for key, member in value.items()}
    return [as_read(item) for item in value] if isinstance(value, list) else value


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert decode(encode(value)) == as_read(value)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimal_keeps_every_digit(value: Decimal) -> None:
    read = Decimal(encode(value).decode())
    assert read.as_tuple() == value.as_tuple()
    json.loads(encode(value))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_keeps_its_value(value: float) -> None:
    assert float(encode(value)) == value


def test_times_and_uuids_become_texts() -> None:
    written = encode({"at": datetime(2024, 1, 1, tzinfo=UTC), "id": UUID(int=1), 7: "seven"})
    assert written == b'{"at":"2024-01-01T00:00:00+00:00","id":"00000000-0000-0000-0000-000000000001","7":"seven"}'


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"[1", b"\xff"])
def test_what_is_no_json_is_not_read(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|not a JSON number|decode|delimiter"):
        decode(text)
