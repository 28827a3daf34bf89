"""What a customer is shown: months, days, jobs, resets, prices that change, all out of one rating function."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from tollhouse import access, billing, metering
from tollhouse.billing import Books, DefaultRates, DiscountTable, DiscountTier, NewPrice, Rate, Tier
from tollhouse.events import EventFilter, EventLimits, parse
from tollhouse.kit import times
from tollhouse.kit.errors import Conflict, NotFound
from tollhouse.metering import NewMeter
from tollhouse.store.events import EventStore
from tollhouse.store.records import Records

D = Decimal
NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)
TABLE = DiscountTable((DiscountTier(D(100), D(10)), DiscountTier(D(500), D(20)), DiscountTier(D(2000), D(30))))


class Desk:
    """Manga's books on real stores."""

    def __init__(self, session: Session, store: EventStore, zone: str = "UTC") -> None:
        self.session, self.store, self.zone = session, store, zone
        self.organization = access.found(session, NOW, "Manga", zone).id
        billing.lay_meters(session, self.organization, NOW)
        self.sent = 0

    def send(self, type: str, subject: str, when: str, **data: Any) -> None:
        self.sent += 1
        event = {"id": f"e{self.sent}", "type": type, "subject": subject, "time": when, "data": data}
        lifted = metering.promotions(self.session, self.organization)
        body = json.dumps(event).encode()
        submission = parse(body, "application/json", self.organization, times.micros(NOW), EventLimits(), lifted)
        assert not submission.faults
        assert self.store.append(submission.batch) == [0]

    def books(self) -> Books:
        meters, _ = metering.list_meters(self.session, self.organization)
        rates = DefaultRates().by_slug()
        defaults = {meter.id: rates[meter.slug] for meter in meters if meter.slug in rates}
        book = billing.price_book(self.session, self.organization, defaults)
        zone = times.zone(self.zone)
        return Books(self.store, self.organization, tuple(meters), book, TABLE, zone, "USD", times.micros(NOW))

    def delete(self, type: str, start: int, end: int) -> None:
        books = self.books()
        wanted = EventFilter(self.organization, type, start=start, end=end)
        metering.erase(self.store, [(meter, books.home) for meter in books.meters], wanted)

    def aggregate(self) -> None:
        books = self.books()
        metering.aggregate(self.store, [(meter, books.home) for meter in books.meters])


@pytest.fixture
def desk(records: Records, event_store: EventStore) -> Iterator[Desk]:
    with records.transaction() as session:
        yield Desk(session, event_store)


def test_a_months_discount_applies_to_that_month_alone(desk: Desk) -> None:
    desk.send("compute_seconds", "carol", "2024-04-10T00:00:00Z", seconds=1_500_000)  # 150 USD: 10 %
    desk.send("compute_seconds", "carol", "2024-05-10T00:00:00Z", seconds=900_000)  # 90 USD: none
    shown = billing.summary(desk.session, desk.books(), "carol")
    assert (shown["estimated_cost"], shown["discounted_cost"]) == (240, 225)
    assert shown["discount_percent"] == D("6.25")
    april = billing.summary(desk.session, desk.books(), "carol", "2024-04")
    assert (april["estimated_cost"], april["discount_percent"], april["discounted_cost"]) == (150, 10, 135)


def test_a_bill_says_the_same_as_the_estimate_to_the_cent(desk: Desk) -> None:
    desk.send("compute_seconds", "carol", "2024-04-10T00:00:00Z", seconds="12345678.9")
    desk.send("bytes_processed", "carol", "2024-04-11T00:00:00Z", bytes=10**15)
    bill, _ = billing.month_bill(desk.books(), "carol", "2024-04")
    april = billing.summary(desk.session, desk.books(), "carol", "2024-04")
    assert bill.discount_percent == april["discount_percent"] == 20 + 10
    assert abs(bill.net - april["discounted_cost"]) < D("0.02")
    assert [line.amount for line in bill.lines] == [D("931.32"), D("1234.57")]


@pytest.mark.parametrize(("seconds", "percent"), [("999949", 0), ("999950", 10), ("999999", 10)])
def test_a_bill_at_the_edge_of_a_tier_says_the_same_as_the_estimate(desk: Desk, seconds: str, percent: int) -> None:
    """999950 seconds cost 99.995 USD: the bill says 100.00, and who reads that expects ten per cent off."""
    desk.send("compute_seconds", "carol", "2024-04-10T00:00:00Z", seconds=seconds)
    bill, _ = billing.month_bill(desk.books(), "carol", "2024-04")
    april = billing.summary(desk.session, desk.books(), "carol", "2024-04")
    assert bill.discount_percent == april["discount_percent"] == percent
    assert TABLE.percent(bill.gross) == percent
    assert april["estimated_cost"] == D(seconds) / 10000


def test_days_begin_where_the_organization_lives(records: Records, event_store: EventStore) -> None:
    with records.transaction() as session:
        desk = Desk(session, event_store, "Europe/Berlin")
        desk.send("compute_seconds", "carol", "2024-03-30T23:30:00Z", seconds=10)
        desk.send("compute_seconds", "carol", "2024-03-31T21:59:59Z", seconds=20)
        desk.send("compute_seconds", "carol", "2024-03-31T22:00:00Z", seconds=40)
        days = billing.daily_usage(desk.books(), "carol", date(2024, 3, 30), date(2024, 4, 1))
        assert [day["compute_seconds"] for day in days] == [0, 30, 40]
        assert billing.month_bill(desk.books(), "carol", "2024-04")[0].lines[0].quantity == 40


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 60), st.decimals(0, 10**7, places=3)), max_size=12), st.booleans(), st.booleans())
def test_the_days_of_a_month_add_up_to_the_month(desk: Desk, used: list[tuple[int, Decimal]], graduated: bool, aggregated: bool) -> None:
    customer = f"c{desk.sent}-{graduated}-{len(used)}-{aggregated}-{hash(tuple(used))}"
    if graduated:
        tiers = (Tier(D(1000), D("0.01")), Tier(None, D("0.003"), D(5)))
        meter = next(meter for meter in desk.books().meters if meter.slug == "compute_seconds")
        billing.add_price(desk.session, desk.organization, NOW, "alice", NewPrice(meter.slug, Rate("graduated", tiers=tiers), customer))
    start = date(2024, 4, 1)
    for day, seconds in used:
        desk.send("compute_seconds", customer, f"{start + timedelta(days=day)}T10:00:00Z", seconds=str(seconds))
    if aggregated:
        desk.aggregate()
    days = billing.daily_usage(desk.books(), customer, start, start + timedelta(days=60))
    assert len(days) == 61
    for month in ("2024-04", "2024-05"):
        costs = sum((day["cost"] for day in days if day["date"].startswith(month)), D(0))
        assert costs == billing.summary(desk.session, desk.books(), customer, month)["estimated_cost"]


def test_a_reset_starts_the_totals_again_and_leaves_the_bill(desk: Desk) -> None:
    desk.send("compute_seconds", "carol", "2024-06-01T00:00:00Z", seconds=1000)
    desk.send("job_completion", "carol", "2024-06-01T00:00:00Z", job_id="j1", status="completed")
    billing.reset(desk.session, desk.books(), "carol", NOW, "alice")
    desk.session.flush()
    desk.send("compute_seconds", "carol", "2024-06-02T00:00:00Z", seconds=7)
    shown = billing.summary(desk.session, desk.books(), "carol")
    assert (shown["compute_seconds"], shown["job_count"], shown["estimated_cost"]) == (7, 0, D("0.0007"))
    assert billing.month_bill(desk.books(), "carol", "2024-06")[0].lines[0].quantity == 1007


def test_deleting_events_from_before_a_reset_takes_no_total_below_zero(desk: Desk) -> None:
    desk.send("compute_seconds", "carol", "2024-05-01T00:00:00Z", seconds=3600)
    desk.send("compute_seconds", "carol", "2024-06-01T00:00:00Z", seconds=3600)
    for job in ("j1", "j2"):
        desk.send("job_completion", "carol", "2024-06-01T00:00:00Z", job_id=job, status="completed")
    billing.reset(desk.session, desk.books(), "carol", NOW, "alice")
    desk.session.flush()
    desk.send("compute_seconds", "carol", "2024-05-31T00:00:00Z", seconds=7)
    desk.send("compute_seconds", "carol", "2024-06-02T00:00:00Z", seconds=10)
    desk.send("job_completion", "carol", "2024-06-02T00:00:00Z", job_id="j3", status="failed")
    for type in ("compute_seconds", "job_completion"):
        desk.delete(type, times.parse_time("2024-06-01T00:00:00Z"), times.parse_time("2024-06-01T12:00:00Z"))
    shown = billing.summary(desk.session, desk.books(), "carol")
    assert (shown["compute_seconds"], shown["estimated_cost"]) == (7, D("0.0007"))
    assert (shown["job_count"], shown["jobs_completed"], shown["jobs_failed"]) == (1, 0, 1)
    assert billing.all_users(desk.session, desk.books(), ["carol"])[0]["compute_seconds"] == 7


def test_a_new_price_leaves_the_bills_of_months_before_it(desk: Desk) -> None:
    for month in ("04", "05"):
        desk.send("compute_seconds", "carol", f"2024-{month}-10T00:00:00Z", seconds=1000)
    billing.add_price(desk.session, desk.organization, NOW, "alice", NewPrice("compute_seconds", Rate("per_unit", D(1)), None, "2024-05"))
    with pytest.raises(Conflict):
        billing.add_price(
            desk.session, desk.organization, NOW, "alice", NewPrice("compute_seconds", Rate("per_unit", D(2)), None, "2024-05")
        )
    assert billing.month_bill(desk.books(), "carol", "2024-04")[0].gross == D("0.10")
    assert billing.month_bill(desk.books(), "carol", "2024-05")[0].gross == 1000


def test_a_customers_own_price_beats_everybodys(desk: Desk) -> None:
    for customer in ("carol", "dave"):
        desk.send("compute_seconds", customer, "2024-06-10T00:00:00Z", seconds=100)
    billing.add_price(desk.session, desk.organization, NOW, "alice", NewPrice("compute_seconds", Rate("per_unit", D(1)), "carol"))
    users = billing.all_users(desk.session, desk.books(), ["carol", "dave"])
    assert [(user["user_id"], user["estimated_cost"]) for user in users] == [("carol", 100), ("dave", D("0.01"))]


def test_a_price_on_any_meter_joins_the_bill(desk: Desk) -> None:
    metering.add(desk.session, desk.organization, NOW, "alice", NewMeter("seats", "seat", "max", "$.n"))
    billing.add_price(desk.session, desk.organization, NOW, "alice", NewPrice("seats", Rate("per_unit", D(3))))
    for day, seats in ((1, 4), (2, 9), (3, 2)):
        desk.send("seat", "carol", f"2024-06-0{day}T00:00:00Z", n=seats)
    assert billing.summary(desk.session, desk.books(), "carol")["estimated_cost"] == 27
    days = billing.daily_usage(desk.books(), "carol", date(2024, 6, 1), date(2024, 6, 3))
    assert [day["cost"] for day in days] == [12, 15, 0]


def test_a_job_shows_what_it_used_and_another_customer_cannot_see_it(desk: Desk) -> None:
    desk.send("bytes_processed", "carol", "2024-06-01T00:00:00Z", bytes=1024**3, job_id="j1")
    assert billing.job_bill(desk.books(), "j1", None)["status"] == "processing"
    desk.send("compute_seconds", "carol", "2024-06-01T00:10:00Z", seconds=3600, job_id="j1")
    desk.send("job_completion", "carol", "2024-06-01T00:11:00Z", job_id="j1", status="completed", metadata={"pages": 12})
    job = billing.job_bill(desk.books(), "j1", "carol")
    assert (job["job_cost"], job["bytes_processed_mb"], job["status"]) == (D("0.361"), 1024, "completed")
    assert (job["metadata"], job["completed_at"]) == ({"pages": 12}, "2024-06-01T00:11:00Z")
    with pytest.raises(NotFound):
        billing.job_bill(desk.books(), "j1", "dave")
