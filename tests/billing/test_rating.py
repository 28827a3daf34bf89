"""Rating: amounts by hand, and what holds for every price and quantity."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollhouse.billing import DiscountTable, DiscountTier, Rate, Tier, draw_up, rate
from tollhouse.billing.rating import MODELS
from tollhouse.kit.money import round_half_even

D = Decimal
GRADUATED = Rate("graduated", tiers=(Tier(D(10), D(5)), Tier(D(20), D(4), D(1)), Tier(None, D(3))))
VOLUME = Rate("volume", tiers=(Tier(D(10), D(5)), Tier(D(20), D(4), D(1)), Tier(None, D(3))))
SEED_TABLE = DiscountTable((DiscountTier(D(100), D(10)), DiscountTier(D(500), D(20)), DiscountTier(D(2000), D(30))))


@pytest.mark.parametrize(
    ("rule", "quantity", "amount"),
    [
        (Rate("per_unit", D("0.001"), D(1024**3)), D(1024**3), "0.001"),
        (Rate("per_unit", D("0.0001")), D(3600), "0.36"),
        (Rate("per_unit", D("0.1")), D("0.3"), "0.03"),
        (Rate("flat", D(9)), D("0.5"), "9"),
        (Rate("flat", D(9)), D(0), "0"),
        (Rate("package", D(2), D(100)), D(100), "2"),
        (Rate("package", D(2), D(100)), D("100.000000000001"), "4"),
        (GRADUATED, D(10), "50"),
        (GRADUATED, D(11), "55"),
        (GRADUATED, D(25), "106"),
        (VOLUME, D(10), "50"),
        (VOLUME, D(11), "45"),
        (VOLUME, D(25), "75"),
        (GRADUATED, D(-4), "0"),
    ],
)
def test_a_quantity_costs_what_the_model_says(rule: Rate, quantity: Decimal, amount: str) -> None:
    assert rate(rule, quantity) == D(amount)


def test_one_gigabyte_and_one_hour_cost_0_361() -> None:
    lines = [
        ("bytes", "byte", Rate("per_unit", D("0.001"), D(1024**3)), D(1024**3)),
        ("seconds", "second", Rate("per_unit", D("0.0001")), D(3600)),
    ]
    assert draw_up(lines, SEED_TABLE).gross == D("0.361")


@pytest.mark.parametrize(
    ("total", "percent"),
    [("99.99", 0), ("100", 10), ("499.999999", 10), ("500", 20), ("1999.99", 20), ("2000", 30), ("99999", 30)],
)
def test_the_tier_that_the_total_reaches_applies_to_the_whole_total(total: str, percent: int) -> None:
    bill = draw_up([("m", "", Rate("per_unit", D(1)), D(total))], SEED_TABLE)
    assert bill.discount_percent == percent
    assert bill.net == D(total) * (100 - percent) / 100


@pytest.mark.parametrize(
    ("lines", "gross", "percent"),
    [
        (("33.334", "33.334", "33.334"), "99.99", 0),
        (("33.336", "33.324", "33.336"), "100.00", 10),
        (("33.335", "33.325", "33.335"), "100.00", 10),
        (("99.995",), "100.00", 10),
        (("99.994",), "99.99", 0),
    ],
)
def test_the_tier_is_that_of_the_total_that_the_bill_shows(lines: tuple[str, ...], gross: str, percent: int) -> None:
    usage = [("m", "", Rate("per_unit", D(1)), D(line)) for line in lines]
    bill, estimate = draw_up(usage, SEED_TABLE, 2, 2), draw_up(usage, SEED_TABLE, minor=2)
    assert bill.gross == D(gross)
    assert bill.discount_percent == estimate.discount_percent == percent
    assert estimate.gross == sum(map(D, lines))


amounts = st.decimals(0, 1000, places=4)
quantities = st.decimals(0, 10**9, places=6)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    model = draw(st.sampled_from(MODELS))
    if model not in ("graduated", "volume"):
        return Rate(model, draw(amounts), draw(st.sampled_from([D(1), D(1024**3), D("0.25"), D(3)])))
    ends = sorted(draw(st.sets(st.integers(1, 10**6), max_size=4)))
    tiers = [Tier(D(end), draw(amounts), draw(amounts)) for end in ends]
    return Rate(model, tiers=(*tiers, Tier(None, draw(amounts), draw(amounts))))


@given(rates())
def test_every_rate_that_can_be_made_is_free_of_faults(rule: Rate) -> None:
    assert rule.faults() == []


@given(rates().filter(lambda rule: rule.model != "volume"), quantities, quantities)
def test_more_never_costs_less(rule: Rate, one: Decimal, other: Decimal) -> None:
    """But under volume pricing, where reaching a tier may make the whole quantity cheaper: that is its point."""
    less, more = sorted((one, other))
    assert rate(rule, less) <= rate(rule, more)


@given(quantities, amounts, st.sampled_from([1, 3, 7, 1024**3]))
def test_a_unit_price_is_the_exact_product_rounded_once(quantity: Decimal, amount: Decimal, per: int) -> None:
    exact = Fraction(quantity) * Fraction(amount) / per
    assert abs(Fraction(rate(Rate("per_unit", amount, D(per)), quantity)) - exact) <= Fraction(1, 2 * 10**12)


@given(st.lists(st.tuples(rates(), quantities), max_size=6), st.sampled_from([0, 2, 3, 12]))
def test_a_bill_is_the_sum_of_its_lines_in_whole_units(usage: list[tuple[Rate, Decimal]], places: int) -> None:
    bill = draw_up([("m", "", rule, quantity) for rule, quantity in usage], SEED_TABLE, places)
    assert bill.gross == sum((line.amount for line in bill.lines), D(0))
    assert bill.net + bill.discount == bill.gross
    for amount in (bill.gross, bill.discount, bill.net, *(line.amount for line in bill.lines)):
        assert amount == round_half_even(amount, places)


near_a_tier = st.builds(lambda threshold, off: D(threshold) + D(off) / 10**4, st.sampled_from([100, 500, 2000]), st.integers(-200, 200))


@st.composite
def usages(draw: st.DrawFn) -> list[tuple[str, str, Rate, Decimal]]:
    """Some lines of any size, or some that come to nearly a tier's threshold."""
    if draw(st.booleans()):
        return [("m", "", draw(rates()), draw(quantities)) for _ in range(draw(st.integers(0, 6)))]
    total, parts = draw(near_a_tier), draw(st.lists(st.decimals(0, 20, places=4), max_size=4))
    return [("m", "", Rate("per_unit", D(1)), amount) for amount in (*parts, total - sum(parts, D(0)))]


@given(usages(), st.sampled_from([0, 2, 3]))
def test_a_bill_earns_what_its_own_total_earns_and_its_estimate_the_same(usage: list[tuple[str, str, Rate, Decimal]], minor: int) -> None:
    bill, estimate = draw_up(usage, SEED_TABLE, minor, minor), draw_up(usage, SEED_TABLE, minor=minor)
    assert bill.discount_percent == SEED_TABLE.percent(bill.gross)
    assert estimate.discount_percent == bill.discount_percent


@pytest.mark.parametrize(
    "rule",
    [
        Rate("per_unit", D(-1)),
        Rate("per_unit", D("NaN")),
        Rate("per_unit", D(1), D(0)),
        Rate("graduated"),
        Rate("graduated", D(1), tiers=(Tier(None, D(1)),)),
        Rate("flat", D(1), tiers=(Tier(None, D(1)),)),
        Rate("volume", tiers=(Tier(D(10), D(1)),)),
        Rate("volume", tiers=(Tier(D(10), D(1)), Tier(D(5), D(1)), Tier(None, D(1)))),
        Rate("volume", tiers=(Tier(None, D(1)), Tier(None, D(1)))),
        Rate("per_unit", D("1e-30")),
        Rate("each", D(1)),  # type: ignore[arg-type]
    ],
)
def test_a_rate_that_makes_no_sense_is_told_what_is_wrong(rule: Rate) -> None:
    assert rule.faults()
