"""The small parts: money, paths, ids, secrets, errors."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollhouse.kit import errors, ids, money, tokens
from tollhouse.kit.errors import TollhouseError, Unprocessable
from tollhouse.kit.jsonpath import JsonPath

decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**25), max_value=10**25)


@given(decimals, st.integers(0, 12))
def test_rounding_moves_an_amount_by_half_a_unit_at_most(amount: Decimal, places: int) -> None:
    with money.wide():
        assert abs(money.round_half_even(amount, places) - amount) * 2 <= Decimal(1).scaleb(-places)


@pytest.mark.parametrize(("amount", "rounded"), [("0.125", "0.12"), ("0.135", "0.14"), ("-0.125", "-0.12"), ("2.5", "2.50")])
def test_halves_go_to_the_even_neighbour(amount: str, rounded: str) -> None:
    assert money.round_half_even(Decimal(amount), 2) == Decimal(rounded)


@given(decimals)
def test_a_plain_amount_is_the_same_amount_without_an_exponent(amount: Decimal) -> None:
    assert money.plain(amount) == amount
    assert not str(format(money.plain(amount), "f")).endswith(".")


def test_currencies_have_their_own_smallest_unit() -> None:
    assert [money.minor_places(currency) for currency in ("USD", "JPY", "KWD")] == [2, 0, 3]


@given(st.lists(st.one_of(st.integers(0, 9999), st.from_regex(r'[^"\\\x00-\x1f]{1,20}', fullmatch=True)), min_size=1, max_size=8))
def test_a_path_is_read_as_it_is_written(steps: list[str | int]) -> None:
    path = JsonPath(tuple(steps))
    assert JsonPath.parse(str(path)) == path


@pytest.mark.parametrize(
    "text", ["", "$", "a", "$.", "$..a", "$.a[", "$.a[-1]", "$.a b", "$['a']", "$.a; DROP TABLE events", "$." + "a" * 0, "$.a\n"]
)
def test_what_is_no_path_is_named(text: str) -> None:
    with pytest.raises(Unprocessable, match=r"value_property: .*write it like"):
        JsonPath.parse(text, "value_property")


def test_a_path_finds_what_it_points_at() -> None:
    data = {"a": [{"b c": 7}], "n": None}
    assert JsonPath.parse('$.a[0]."b c"').find(data) == 7
    assert [JsonPath.parse(path).find(data) for path in ("$.a[1]", "$.n.x", "$.a.b", "$.z")] == [None] * 4


def test_ids_are_unique_and_sort_by_time() -> None:
    made = [ids.new("org") for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(re.fullmatch(r"org_[0-9a-hjkmnp-tv-z]{26}", one) for one in made)
    assert sorted(one[:14] for one in made) == [one[:14] for one in made]


def test_a_secret_is_long_and_only_its_fingerprint_is_kept() -> None:
    secret = tokens.new("sk")
    assert len(secret) >= 45
    assert secret not in tokens.fingerprint(secret)
    assert tokens.same(secret, secret)
    assert not tokens.same(secret, secret[:-1])


def every_error() -> list[type[TollhouseError]]:
    found, waiting = [], [TollhouseError]
    while waiting:
        found.append(waiting.pop())
        waiting += [one for one in found[-1].__subclasses__() if one.__module__ == errors.__name__]
    return found


@pytest.mark.parametrize("error", every_error())
def test_every_error_has_a_sentence_a_status_an_exit_code_and_a_place_in_the_tree(error: type[TollhouseError]) -> None:
    assert error.title().endswith(".") or ";" in error.title()
    assert 400 <= error.status < 600
    assert error.exit_code > 0
    assert error.__name__ in (errors.__doc__ or "")
    assert str(error()) == error.title()


@pytest.mark.parametrize("error", every_error())
def test_every_error_is_in_the_docs(error: type[TollhouseError]) -> None:
    assert f"`{error.__name__}`" in (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
