"""The forecast and the revenue over HTTP agree with the bill and with each other."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.scenarios.serving import Tenant


def test_the_forecast_begins_with_the_bill_and_expects_more(manga: Tenant) -> None:
    now = datetime.now(UTC)
    used = [
        {
            "id": f"{at}",
            "type": "compute_seconds",
            "subject": "carol",
            "time": (now - timedelta(days=at, seconds=60)).isoformat(),
            "data": {"seconds": 36000, "job_id": "j"},
        }
        for at in range(40)
    ]
    manga.send(*used)
    foreseen = manga.api.get("/api/billing/forecast", params={"user_id": "carol"}).json(parse_float=Decimal)
    bill = manga.api.get("/api/billing/bill", params={"user_id": "carol"}).json(parse_float=Decimal)
    assert foreseen["so_far"] == bill["net"]
    assert foreseen["expected"] >= foreseen["so_far"]
    assert manga.api.get("/api/billing/forecast", params={"user_id": "nobody"}).json()["expected"] == 0


def test_revenue_is_the_sum_of_everybodys_days(manga: Tenant) -> None:
    now = datetime.now(UTC)
    for customer, seconds in (("carol", 1000), ("dave", 3000)):
        manga.send(
            {
                "id": customer,
                "type": "compute_seconds",
                "subject": customer,
                "time": (now - timedelta(hours=30)).isoformat(),
                "data": {"seconds": seconds, "job_id": "j"},
            }
        )
    found = manga.api.get("/api/billing/revenue").json(parse_float=Decimal)
    assert [user["user_id"] for user in found["users"]] == ["dave", "carol"]
    assert found["revenue"] == Decimal("0.4")
    assert sum(sum(Decimal(cost) for cost in day["costs"].values()) for day in found["days"]) == Decimal("0.4")
    assert manga.api.get("/api/billing/revenue", params={"start_date": "2026-02-01", "end_date": "2026-01-01"}).status_code == 422
