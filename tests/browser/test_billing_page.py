"""The billing pages: figures that agree with the API, ranges, table, chart, and what an operator sees of everybody."""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from playwright.sync_api import Page, Response, expect

from tests.browser.conftest import CAROL, World


def figure(page: Page, label: str) -> str:
    """What a card says."""
    return page.locator(".figures li", has=page.get_by_text(label, exact=True)).locator("strong").inner_text()


def opened(page: Page, world: World) -> Page:
    """Carol's bills."""
    page.goto(world.token().replace("/dashboard/jobs", "/dashboard/billing"))
    return page


def test_the_cards_say_what_the_api_says(page: Page, world: World) -> None:
    opened(page, world)
    days = world.api.get("/api/billing/daily-usage", params={"user_id": CAROL}).json(parse_float=Decimal)["daily_usage"]
    cost = sum(Decimal(day["cost"]) for day in days)
    assert figure(page, "Cost") == f"${cost:,.2f}"
    assert figure(page, "Jobs") == f"{sum(day['job_count'] for day in days):,}"
    gigabytes = sum(Decimal(day["bytes_processed"]) for day in days) / 1024**3
    assert figure(page, "Data processed").startswith(f"{gigabytes / 1024:,.1f}" if gigabytes >= 1024 else f"{gigabytes:,.0f}")


def test_ranges_of_7_30_and_90_days_and_free_dates(page: Page, world: World) -> None:
    opened(page, world)
    picker = page.get_by_role("navigation", name="Range of days")
    expect(picker.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "true")
    picker.get_by_role("link", name="7 days").click()
    expect(page.locator("tbody tr")).to_have_count(7)
    picker.get_by_role("link", name="90 days").click()
    expect(page.get_by_text("Page 1 of 7")).to_be_visible()
    end = world.now().date()
    start = end - timedelta(days=2)
    page.get_by_label("From").fill(start.isoformat())
    page.get_by_label("to", exact=True).fill(end.isoformat())
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    assert page.locator("tbody tr th").all_inner_texts()[-1] == start.isoformat()
    assert "token=" in page.url


def test_dates_that_make_no_sense_are_explained(page: Page, world: World) -> None:
    opened(page, world)
    page.goto(page.url + "&start=2026-02-01&end=2026-01-01")
    expect(page.get_by_role("alert")).to_have_text("The first day lies after the last; choose them the other way round.")
    expect(page.locator("tbody tr")).not_to_have_count(0)


def test_the_table_has_pages(page: Page, world: World) -> None:
    opened(page, world)
    first = page.locator("tbody tr th").first.inner_text()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Page 2 of 3")).to_be_visible()
    second = page.locator("tbody tr th").first.inner_text()
    assert second < first
    page.get_by_role("link", name="Previous").click()
    expect(page.locator("tbody tr th").first).to_have_text(first)


def test_the_csv_has_every_digit_of_every_day(page: Page, world: World) -> None:
    opened(page, world)
    with page.expect_download() as started:
        page.get_by_role("link", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(started.value.path()).read_text())))
    days = world.api.get("/api/billing/daily-usage", params={"user_id": CAROL}).json(parse_float=Decimal)["daily_usage"]
    assert [row["date"] for row in rows] == [day["date"] for day in days]
    assert [Decimal(row["cost"]) for row in rows] == [Decimal(day["cost"]) for day in days]


def test_the_chart_is_drawn_and_follows_the_theme(page: Page, world: World) -> None:
    opened(page, world)
    canvas = page.locator("figure canvas")
    expect(canvas).to_be_visible()
    expect(canvas).to_have_attribute("aria-label", re.compile("^Cost by day"))
    light = canvas.evaluate("(canvas) => canvas.toDataURL()")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("figure canvas")).to_have_count(1)
    page.wait_for_function("(light) => document.querySelector('figure canvas')?.toDataURL() !== light", arg=light)


def test_the_chart_bundle_is_loaded_only_where_a_chart_is_and_is_cached_for_ever(page: Page, world: World) -> None:
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108  # Playwright takes no builtin

    def weights() -> dict[str, int]:
        page.wait_for_load_state("networkidle")
        return {answer.url.partition("?")[0]: len(answer.body()) for answer in answers if answer.ok and "/files/" not in answer.url}

    page.goto(world.token())
    found = weights()
    assert not any(url.endswith("charts.js") for url in found)
    assert sum(found.values()) < 100_000
    answers.clear()
    opened(page, world)
    page.locator("figure canvas").wait_for()
    bundle = next(answer for answer in answers if "/charts.js" in answer.url)
    assert bundle.headers["cache-control"].endswith("immutable")
    assert sum(size for url, size in weights().items() if not url.endswith("charts.js")) < 100_000


def test_prices_discounts_and_the_forecast_are_in_words(page: Page, world: World) -> None:
    opened(page, world)
    prices = page.get_by_role("region", name="Prices")
    expect(prices).to_contain_text("$0.001 per GB")
    expect(prices).to_contain_text("$0.0001 per second")
    expect(prices).to_contain_text("From $500.00 a month: 20 % off the whole month")
    month = page.get_by_role("region", name="This month")
    so_far, expected = (Decimal(re.sub(r"[$,]", "", month.locator("dd").nth(at).inner_text())) for at in (0, 1))
    bill = world.api.get("/api/billing/bill", params={"user_id": CAROL}).json(parse_float=Decimal)
    assert so_far == Decimal(bill["net"])
    assert expected >= so_far


def test_operators_see_all_customers_dearest_first(alice: Page, world: World) -> None:
    alice.get_by_role("link", name="Billing").click()
    costs = [Decimal(text.replace("$", "").replace(",", "")) for text in alice.locator("tbody td:last-child").all_inner_texts()]
    assert len(costs) == 25
    assert costs == sorted(costs, reverse=True)
    expect(alice.locator("tbody th").first).to_have_text(CAROL)
    alice.get_by_label("Search by customer").fill("reader-1")
    alice.get_by_role("button", name="Search").click()
    expect(alice.locator("tbody tr")).to_have_count(10)
    with alice.expect_download() as started:
        alice.get_by_role("link", name="Download CSV").click()
    assert len(list(csv.DictReader(io.StringIO(Path(started.value.path()).read_text())))) == 10
    alice.locator("tbody th a").first.click()
    expect(alice.get_by_text("You see what")).to_be_visible()


def test_operators_see_all_jobs_the_queue_and_what_fails(alice: Page, world: World) -> None:
    expect(alice.get_by_role("heading", name="All jobs")).to_be_visible()
    counts = {
        status: world.api.get("/api/jobs", params={"status": status}).json()["total"] for status in ("pending", "completed", "failed")
    }
    assert figure(alice, "Waiting") == f"{counts['pending']:,}"
    rate = counts["failed"] / (counts["failed"] + counts["completed"]) * 100
    assert figure(alice, "Failure rate") == f"{rate:.1f} %"
    alice.get_by_label("Search by customer, kind or id").fill("dave")
    alice.get_by_role("button", name="Search").click()
    assert set(alice.locator("tbody td:nth-child(2)").all_inner_texts()) == {"dave"}
    alice.locator("tbody th a").first.click()
    expect(alice.get_by_role("dialog").get_by_role("heading", level=1)).to_be_visible()
