"""`tollhouse billing`: what customers have used and what it costs."""

from typing import Annotated, Any

import typer

from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, show

app = typer.Typer(name="billing", help="Usage and cost per customer.", no_args_is_help=True)
Period = Annotated[str | None, typer.Option(help="A month such as 2024-01.")]


@app.command()
def summary(user_id: str, period: Period = None, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Show a customer's totals, since the beginning or in a month."""
    params = {"user_id": user_id} | ({"period": period} if period else {})
    with connected(organization) as server:
        answer = server.call("GET", "/api/billing/summary", params=params)
    show(answer, as_json, ("", ""), [(name.replace("_", " "), value) for name, value in answer.items()])


@app.command()
def daily(
    user_id: str, start: str | None = None, end: str | None = None, as_json: AsJson = False, organization: InOrganization = None
) -> None:
    """Show a customer's days; the last 30 when left out."""
    given: dict[str, Any] = {"user_id": user_id, "start_date": start, "end_date": end}
    with connected(organization) as server:
        answer = server.call("GET", "/api/billing/daily-usage", params={k: v for k, v in given.items() if v is not None})
    names = ("date", "bytes_processed", "compute_seconds", "job_count", "jobs_completed", "jobs_failed", "cost")
    rows = [tuple(day[name] for name in names) for day in answer["daily_usage"]]
    show(answer, as_json, tuple(name.replace("_", " ") for name in names), rows)


@app.command()
def bill(user_id: str, period: Period = None, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Show a customer's bill of a month, line by line."""
    params = {"user_id": user_id} | ({"period": period} if period else {})
    with connected(organization) as server:
        answer = server.call("GET", "/api/billing/bill", params=params)
    show_bill(answer, as_json)


@app.command("all-users")
def all_users(limit: int = 1000, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Show every customer's totals, dearest first."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/billing/all-users", params={"limit": limit})
    names = ("user_id", "bytes_processed", "compute_seconds", "job_count", "estimated_cost", "discounted_cost", "currency")
    rows = [tuple(user[name] for name in names) for user in answer["users"]]
    show(answer, as_json, tuple(name.replace("_", " ") for name in names), rows)


@app.command()
def forecast(user_id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Show what a customer's running month is going to cost."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/billing/forecast", params={"user_id": user_id})
    row = (answer["period"], answer["so_far"], answer["expected"], answer["discount_percent"], answer["currency"])
    show(answer, as_json, ("month", "so far", "expected", "discount %", "currency"), [row])


@app.command()
def revenue(start: str | None = None, end: str | None = None, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Show what all customers cost in a range of days, dearest first; the last 30 when left out."""
    given = {"start_date": start, "end_date": end}
    with connected(organization) as server:
        answer = server.call("GET", "/api/billing/revenue", params={name: text for name, text in given.items() if text is not None})
    names = ("user_id", "bytes_processed", "compute_seconds", "job_count", "cost")
    rows = [tuple(user[name] for name in names) for user in answer["users"]]
    title = f"{answer['start_date']} to {answer['end_date']}: {answer['revenue']} {answer['currency']}"
    show(answer, as_json, tuple(name.replace("_", " ") for name in names), rows, title)


@app.command()
def reset(user_id: str, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Start a customer's lifetime totals again from now; nothing is deleted."""
    with connected(organization) as server:
        answer = server.call("POST", f"/api/billing/users/{user_id}/reset")
    show(answer, as_json, ("customer", "counts again from"), [(answer["user_id"], answer["reset_at"])])


def show_bill(answer: dict[str, Any], as_json: bool = False) -> None:
    """Print a bill: its lines, their sum, the discount and what is due."""
    rows = [(line["meter"], line["quantity"], line["unit"], line["model"], line["amount"]) for line in answer["lines"]]
    percent = f"discount {answer['discount_percent']} %"
    rows += [("total", "", "", "", answer["gross"]), (percent, "", "", "", answer["discount"]), ("due", "", "", "", answer["net"])]
    title = f"{answer['user_id']}, {answer['period']}"
    show(answer, as_json, ("meter", "quantity", "unit", "price", answer["currency"]), rows, title)
