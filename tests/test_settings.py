"""Settings that make no sense are refused at the start, in one sentence that names where the bad value came from."""

from decimal import Decimal

import pytest

from tollhouse.kit.errors import BadInput
from tollhouse.settings import load

THRESHOLD, PERCENT = "BILLING_DISCOUNT_TIER_{}_THRESHOLD", "BILLING_DISCOUNT_TIER_{}_PERCENT"


@pytest.mark.parametrize("tier", [1, 2, 3])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("100.01", "100.01 is too large; give at most 100."),
        ("-1", "-1 is too small; give at least 0."),
        ("NaN", "'NaN' is not a decimal number."),
        ("-Infinity", "'-Infinity' is not a decimal number."),
        ("ten", "'ten' is not a decimal number."),
    ],
)
def test_a_percent_lies_between_0_and_100(tier: int, value: str, said: str) -> None:
    name = PERCENT.format(tier)
    with pytest.raises(BadInput) as refused:
        load({name: value})
    assert str(refused.value) == f"{name}: {said}"


@pytest.mark.parametrize("name", ["BILLING_RATE_GB", "BILLING_RATE_SECOND", THRESHOLD.format(3)])
@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity"])
def test_an_amount_is_finite(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=f"{name}: '{value}' is not a decimal number"):
        load({name: value})


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"2": "50"}, f"{THRESHOLD.format(2)}: 50 is too small for tier 2; give more than tier 1's 100."),
        ({"1": "60", "2": "60"}, f"{THRESHOLD.format(2)}: 60 is too small for tier 2; give more than tier 1's 60."),
        ({"1": "600"}, f"{THRESHOLD.format(1)}: 600 is too large for tier 1; give less than tier 2's 500, or raise that."),
        ({"2": "3000"}, f"{THRESHOLD.format(2)}: 3000 is too large for tier 2; give less than tier 3's 2000, or raise that."),
    ],
)
def test_each_tier_begins_above_the_one_before_it(environment: dict[str, str], said: str) -> None:
    given = {THRESHOLD.format(tier): value for tier, value in environment.items()}
    with pytest.raises(BadInput) as refused:
        load(given)
    assert str(refused.value) == said
    assert load(given | {"BILLING_VOLUME_DISCOUNT_ENABLED": "false"})


def test_tiers_that_rise_are_taken_as_they_are() -> None:
    taken = load({THRESHOLD.format(1): "10", THRESHOLD.format(2): "10.5", PERCENT.format(1): "0", PERCENT.format(3): "100"})
    assert (taken.billing_discount_tier_2_threshold, taken.billing_discount_tier_3_percent) == (Decimal("10.5"), Decimal(100))
