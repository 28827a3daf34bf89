"""What all customers cost together, and what the running month will cost: held against the figures that each customer is shown."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from tollhouse import access, billing, metering
from tollhouse.billing import SECONDS, Books, DefaultRates, DiscountTable, DiscountTier, NewPrice, Rate, Tier
from tollhouse.events import EventLimits, parse
from tollhouse.kit import times
from tollhouse.kit.errors import Unprocessable
from tollhouse.store.events import EventStore
from tollhouse.store.records import Records

D = Decimal
NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)
LATER = datetime(2024, 7, 1, tzinfo=UTC)
FIRST = date(2024, 4, 1)
UNDISCOUNTED = DiscountTable()
CAST = ("carol", "dave", "erin")
MODELS = {
    "per_unit": Rate("per_unit", D("0.0037"), D(7)),
    "flat": Rate("flat", D(9)),
    "package": Rate("package", D("0.3"), D(250)),
    "graduated": Rate("graduated", tiers=(Tier(D(1000), D("0.01")), Tier(D(5000), D("0.005"), D(2)), Tier(None, D("0.001"), D(1)))),
    "volume": Rate("volume", tiers=(Tier(D(1000), D("0.01")), Tier(None, D("0.003"), D(5)))),
}


@dataclass(frozen=True)
class Use:
    """What a customer used at one time, so many days after the first of April."""

    customer: str
    day: int
    hour: int
    seconds: Decimal
    bytes: int
    jobs: int


class Ledger:
    """One new organization on real stores."""

    def __init__(self, session: Session, store: EventStore, zone: str) -> None:
        self.session, self.store, self.zone = session, store, zone
        self.organization = access.found(session, NOW, "Manga", zone).id
        billing.lay_meters(session, self.organization, NOW)

    def write(self, used: list[Use]) -> None:
        """Send it all, in the three events that a job-running app sends."""
        events: list[dict[str, Any]] = []
        for use in used:
            local = datetime(2024, 4, 1, use.hour, tzinfo=times.zone(self.zone)) + timedelta(days=use.day)
            common = {"subject": use.customer, "time": local.isoformat()}
            events.append(common | {"type": "compute_seconds", "data": {"seconds": str(use.seconds)}})
            events.append(common | {"type": "bytes_processed", "data": {"bytes": use.bytes}})
            events += [common | {"type": "job_completion", "data": {"status": "completed"}}] * use.jobs
        if not events:
            return
        body = json.dumps([event | {"id": f"e{at}"} for at, event in enumerate(events)]).encode()
        lifted = metering.promotions(self.session, self.organization)
        submission = parse(body, "application/json", self.organization, times.micros(LATER), EventLimits(), lifted)
        assert not submission.faults
        assert set(self.store.append(submission.batch)) == {0}

    def price(self, slug: str, rule: Rate, customer: str | None = None) -> None:
        """Put a price on a meter."""
        billing.add_price(self.session, self.organization, NOW, "alice", NewPrice(slug, rule, customer))

    def aggregate(self) -> None:
        """Bring the rollups up to date."""
        books = self.books()
        metering.aggregate(self.store, [(meter, books.home) for meter in books.meters])

    def books(self, now: datetime = NOW, discounts: DiscountTable = UNDISCOUNTED) -> Books:
        """The books at an instant."""
        meters, _ = metering.list_meters(self.session, self.organization)
        rates = DefaultRates().by_slug()
        defaults = {meter.id: rates[meter.slug] for meter in meters if meter.slug in rates}
        book = billing.price_book(self.session, self.organization, defaults)
        return Books(self.store, self.organization, tuple(meters), book, discounts, times.zone(self.zone), "USD", times.micros(now))


Open = Callable[..., Ledger]


@pytest.fixture
def ledgers(event_store: EventStore, tmp_path: Path) -> Iterator[Open]:
    """Opens a new ledger each time: one an example."""
    records = Records(f"sqlite:///{tmp_path / 'records.db'}")
    records.migrate()
    with records.transaction() as session:
        yield lambda zone="UTC": Ledger(session, event_store, zone)
    records.close()


uses = st.builds(
    Use,
    st.sampled_from(CAST),
    st.integers(0, 60),
    st.integers(0, 23),
    st.decimals(0, 10**5, places=3),
    st.integers(0, 10**12),
    st.integers(0, 2),
)
usage = st.lists(uses, max_size=10)
models = st.sampled_from(list(MODELS))
many = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def opened(ledgers: Open, used: list[Use], model: str, aggregated: bool, zone: str = "UTC") -> Ledger:
    ledger = ledgers(zone)
    ledger.price(SECONDS, MODELS[model])
    ledger.write(used)
    if aggregated:
        ledger.aggregate()
    return ledger


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


@many
@given(usage, models, st.integers(0, 60), st.integers(0, 60), st.booleans(), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
def test_a_customers_revenue_is_the_sum_of_their_days(
    ledgers: Open, used: list[Use], model: str, one: int, other: int, aggregated: bool, zone: str
) -> None:
    start, end = (day(number) for number in sorted((one, other)))
    books = opened(ledgers, used, model, aggregated, zone).books()
    found = billing.revenue(books, start, end)
    of = {row.user_id: row for row in found.customers}
    for name in CAST:
        days = billing.daily_usage(books, name, start, end)
        expected = {key: sum((shown[key] for shown in days), D(0)) for key in ("cost", "bytes_processed", "compute_seconds", "job_count")}
        shown = {key: getattr(of[name], key) if name in of else 0 for key in expected}
        assert shown == expected
    assert found.total == sum((row.cost for row in found.customers), D(0))
    assert set(of) <= set(CAST)


@many
@given(usage, models, st.tuples(st.integers(0, 61), st.integers(0, 61), st.integers(0, 61)).filter(lambda cut: len(set(cut)) == 3))
def test_ranges_that_adjoin_add_up(ledgers: Open, used: list[Use], model: str, cut: tuple[int, int, int]) -> None:
    first, middle, last = sorted(cut)
    books = opened(ledgers, used, model, False).books()
    parts = [billing.revenue(books, day(first), day(middle - 1)), billing.revenue(books, day(middle), day(last - 1))]
    whole = billing.revenue(books, day(first), day(last - 1))
    assert whole.total == sum(part.total for part in parts)
    for row in whole.customers:
        mine = [one for part in parts for one in part.customers if one.user_id == row.user_id]
        for figure in ("cost", "bytes_processed", "compute_seconds", "job_count"):
            assert getattr(row, figure) == sum(getattr(one, figure) for one in mine)


@many
@given(st.lists(uses.map(lambda use: replace(use, day=use.day % 30)), max_size=10), models, st.booleans())
def test_a_whole_month_is_what_all_users_are_estimated_to_cost(ledgers: Open, used: list[Use], model: str, aggregated: bool) -> None:
    ledger = opened(ledgers, used, model, aggregated)
    books = ledger.books()
    found = {row.user_id: row for row in billing.revenue(books, FIRST, date(2024, 4, 30)).customers}
    for user in billing.all_users(ledger.session, books, list(CAST)):
        row = found.get(user["user_id"])
        if row is None:
            assert (user["estimated_cost"], user["job_count"]) == (0, 0)
            continue
        assert row.cost == user["estimated_cost"]
        assert (row.bytes_processed, row.compute_seconds, row.job_count) == (
            user["bytes_processed"],
            user["compute_seconds"],
            user["job_count"],
        )
    assert billing.revenue(books, date(2024, 5, 1), date(2024, 5, 31)).total == 0


@many
@given(usage, st.integers(0, 60), st.integers(0, 60), st.sampled_from(["UTC", "America/New_York"]))
def test_the_days_add_up_to_the_total_where_a_unit_costs_the_same(ledgers: Open, used: list[Use], one: int, other: int, zone: str) -> None:
    start, end = (day(number) for number in sorted((one, other)))
    found = billing.revenue(opened(ledgers, used, "per_unit", False, zone).books(), start, end)
    assert [shown for shown, _ in found.days] == [start + timedelta(days=at) for at in range((end - start).days + 1)]
    assert abs(sum((cost for _, costs in found.days for cost in costs.values()), D(0)) - found.total) < D("1e-9")


def test_a_days_revenue_is_what_it_cost_to_the_digit(ledgers: Open) -> None:
    used = [Use("carol", 0, 5, D("70"), 0, 0), Use("dave", 0, 6, D("7"), 0, 1), Use("carol", 2, 0, D("700"), 0, 0)]
    found = billing.revenue(opened(ledgers, used, "per_unit", False).books(), FIRST, day(2))
    assert [costs[SECONDS] if costs else None for _, costs in found.days] == [D("0.0407"), None, D("0.37")]
    assert [(row.user_id, row.cost, row.job_count) for row in found.customers] == [("carol", D("0.407"), 0), ("dave", D("0.0037"), 1)]


def test_the_dearest_customer_comes_first_and_equals_by_name(ledgers: Open) -> None:
    used = [Use(name, 1, 1, D(seconds), 0, 0) for name, seconds in (("erin", 10), ("dave", 10), ("carol", 5))]
    assert [row.user_id for row in billing.revenue(opened(ledgers, used, "per_unit", False).books(), FIRST, day(9)).customers] == [
        "dave",
        "erin",
        "carol",
    ]


def test_a_flat_price_is_earned_once_a_month_on_the_first_day_of_use(ledgers: Open) -> None:
    used = [Use("carol", 3, 1, D(1), 0, 0), Use("carol", 20, 1, D(1), 0, 0), Use("carol", 33, 1, D(1), 0, 0)]
    books = opened(ledgers, used, "flat", False).books()
    assert billing.revenue(books, FIRST, day(29)).total == 9
    assert billing.revenue(books, FIRST, day(3)).total == 9
    assert billing.revenue(books, day(4), day(29)).total == 0
    assert billing.revenue(books, FIRST, day(60)).total == 18


def test_a_customers_own_price_counts_in_the_revenue(ledgers: Open) -> None:
    ledger = ledgers()
    ledger.price(SECONDS, Rate("per_unit", D(1)))
    ledger.price(SECONDS, Rate("per_unit", D(3)), "carol")
    ledger.write([Use("carol", 0, 1, D(10), 0, 0), Use("dave", 0, 1, D(10), 0, 0)])
    found = billing.revenue(ledger.books(), FIRST, FIRST)
    assert [(row.user_id, row.cost) for row in found.customers] == [("carol", D(30)), ("dave", D(10))]
    ((_, costs),) = found.days
    assert costs[SECONDS] == 40


def test_a_range_that_ends_before_it_starts_is_refused(ledgers: Open) -> None:
    with pytest.raises(Unprocessable):
        billing.revenue(ledgers().books(), day(2), day(1))


# The forecast


def steady(customer: str, per_hour: Decimal, first: date, until: datetime) -> list[Use]:
    """The same in each hour from that day on, up to an instant."""
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    hours = int((until - begin).total_seconds() // 3600)
    offset = (first - FIRST).days * 24
    return [Use(customer, (offset + at) // 24, (offset + at) % 24, per_hour, 0, 0) for at in range(hours)]


@pytest.mark.parametrize(
    ("now", "days"),
    [
        (datetime(2024, 6, 15, 12, tzinfo=UTC), 30),
        (datetime(2024, 5, 31, 23, tzinfo=UTC), 31),
        (datetime(2024, 6, 1, tzinfo=UTC), 30),
        (datetime(2024, 6, 29, tzinfo=UTC), 30),
    ],
)
def test_the_same_use_every_day_costs_as_many_days_as_the_month_has(ledgers: Open, now: datetime, days: int) -> None:
    ledger = ledgers()
    ledger.price(SECONDS, Rate("per_unit", D("0.5")))
    ledger.write(steady("carol", D(2), (now - timedelta(days=31)).date(), now))
    (found,) = billing.forecast(ledger.books(now)).values()
    assert found.expected.gross == days * 24
    assert found.so_far.gross == (now.day - 1) * 24 + now.hour
    assert found.month == f"{now:%Y-%m}"


def test_who_began_this_week_is_foreseen_by_this_week(ledgers: Open) -> None:
    now = datetime(2024, 6, 15, tzinfo=UTC)
    ledger = ledgers()
    ledger.price(SECONDS, Rate("per_unit", D(1)))
    ledger.write(steady("carol", D(1), date(2024, 6, 8), now))
    assert billing.forecast(ledger.books(now))["carol"].expected.gross == 7 * 24 + 16 * 24


def test_who_began_today_is_foreseen_by_today(ledgers: Open) -> None:
    now = datetime(2024, 6, 15, 12, tzinfo=UTC)
    ledger = ledgers()
    ledger.price(SECONDS, Rate("per_unit", D(1)))
    ledger.write(steady("carol", D(1), date(2024, 6, 15), now))
    assert billing.forecast(ledger.books(now))["carol"].expected.gross == 12 + D("15.5") * 24


def test_who_stopped_four_weeks_ago_is_foreseen_to_use_nothing_more(ledgers: Open) -> None:
    ledger = ledgers()
    ledger.price(SECONDS, Rate("per_unit", D(1)))
    ledger.write([Use("carol", 30, 5, D(1000), 0, 0)])  # the first of May
    now = datetime(2024, 5, 31, 6, tzinfo=UTC)
    assert billing.forecast(ledger.books(now))["carol"].expected.gross == 1000


def test_who_uses_nothing_is_not_foreseen(ledgers: Open) -> None:
    ledger = ledgers()
    ledger.write([Use("carol", 0, 5, D(1000), 0, 0)])
    assert billing.forecast(ledger.books()) == {}
    assert billing.forecast(ledger.books(), "dave") == {}


def test_the_discount_of_the_months_end_is_foreseen(ledgers: Open) -> None:
    now = datetime(2024, 6, 16, tzinfo=UTC)
    ledger = ledgers()
    ledger.price(SECONDS, Rate("per_unit", D(1)))
    ledger.write(steady("carol", D("0.25"), date(2024, 5, 10), now))
    found = billing.forecast(ledger.books(now, DiscountTable((DiscountTier(D(100), D(10)),))))["carol"]
    assert (found.so_far.discount_percent, found.expected.discount_percent) == (D(0), D(10))
    assert (found.expected.gross, found.expected.net) == (D(180), D(162))


@many
@given(usage, st.sampled_from([model for model in MODELS if model != "volume"]), st.integers(0, 60), st.integers(0, 23))
def test_the_month_never_ends_below_what_it_is_now(ledgers: Open, used: list[Use], model: str, at: int, hour: int) -> None:
    now = datetime(2024, 4, 1, hour, tzinfo=UTC) + timedelta(days=at)
    before = [use for use in used if (use.day, use.hour) < (at, hour)]
    found = billing.forecast(opened(ledgers, before, model, False).books(now))
    month = [use for use in before if day(use.day).month == now.month]
    assert {use.customer for use in month} <= set(found)
    for one in found.values():
        assert one.expected.gross >= one.so_far.gross
        quantities = [{line.meter: line.quantity for line in bill.lines} for bill in (one.so_far, one.expected)]
        assert all(quantities[1][meter] >= quantity for meter, quantity in quantities[0].items())
