"""`tollhouse meters` and `tollhouse prices`."""

import json
from typing import Annotated, Any

import typer

from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, show
from tollhouse.kit.errors import Unprocessable

app = typer.Typer(name="meters", help="What is counted.", no_args_is_help=True)
prices = typer.Typer(name="prices", help="What it costs.", no_args_is_help=True)


@app.command("list")
def list_meters(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """List the meters."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/meters", params={"limit": 1000})
    rows = [
        (one["slug"], one["event_type"], one["aggregation"], one["value_property"], ", ".join(one["group_by"]), one["unit"])
        for one in answer["meters"]
    ]
    show(answer, as_json, ("slug", "event type", "aggregation", "value", "group by", "unit"), rows)


@app.command("create")
def create_meter(
    slug: str,
    event_type: Annotated[str, typer.Option(help="Type of the events to count.")],
    aggregation: Annotated[str, typer.Option(help="sum, count, unique_count, avg, min, max or latest.")] = "sum",
    value: Annotated[str | None, typer.Option(help="JSON path of the value, such as $.quantity.")] = None,
    group_by: Annotated[list[str] | None, typer.Option(help="NAME=$.path, repeated.")] = None,
    unit: Annotated[str, typer.Option(help="What one of it is called.")] = "",
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Make a meter."""
    wanted = {
        "slug": slug,
        "event_type": event_type,
        "aggregation": aggregation,
        "value_property": value,
        "group_by": dict(pair.partition("=")[::2] for pair in group_by or []),
        "unit": unit,
    }
    with connected(organization) as server:
        answer = server.call("POST", "/api/meters", json=wanted)
    show(answer, as_json, ("slug", "id"), [(answer["slug"], answer["id"])])


@app.command("query")
def query_meter(
    slug: str,
    subject: Annotated[list[str] | None, typer.Option(help="Only this subject, repeated.")] = None,
    start: str | None = None,
    end: str | None = None,
    window: Annotated[str | None, typer.Option(help="minute, hour, day or month.")] = None,
    time_zone: str | None = None,
    group_by: Annotated[list[str] | None, typer.Option(help="subject, or one of the meter's groups, repeated.")] = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Ask a meter how much there was."""
    asked: dict[str, Any] = {"subject": subject, "start": start, "end": end, "window": window, "time_zone": time_zone}
    params = {name: value for name, value in {**asked, "group_by": group_by}.items() if value is not None}
    with connected(organization) as server:
        answer = server.call("GET", f"/api/meters/{slug}/query", params=params)
    groups = group_by or []
    rows = [
        (row["window_start"], row["window_end"], *({**row["group_by"], "subject": row["subject"]}[name] for name in groups), row["value"])
        for row in answer["data"]
    ]
    show(answer, as_json, ("from", "until", *groups, answer["unit"] or "value"), rows)


@app.command("delete")
def delete_meter(slug: str, organization: InOrganization = None) -> None:
    """Take a meter out of use; its events stay."""
    with connected(organization) as server:
        server.call("DELETE", f"/api/meters/{slug}")
    typer.echo(f"The meter {slug} is deleted; its events stay.")


@prices.command("list")
def list_prices(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """List the prices."""
    with connected(organization) as server:
        answer = server.call("GET", "/api/prices", params={"limit": 1000})
    rows = [
        (one["id"], one["meter"], one["model"], one["amount"], one["per"], len(one["tiers"]) or "", one["customer"], one["starts"])
        for one in answer["prices"]
    ]
    show(answer, as_json, ("id", "meter", "model", "amount", "per", "tiers", "customer", "starts"), rows)


@prices.command("create")
def create_price(
    meter: str,
    model: Annotated[str, typer.Option(help="per_unit, flat, package, graduated or volume.")] = "per_unit",
    amount: Annotated[str | None, typer.Option(help="Amount for each PER; tiers have their own.")] = None,
    per: Annotated[str, typer.Option(help="How many units that amount is for.")] = "1",
    tiers: Annotated[str | None, typer.Option(help='JSON: [{"up_to": 100, "amount": "0.10"}, {"amount": "0.05"}].')] = None,
    customer: Annotated[str | None, typer.Option(help="Only for this customer.")] = None,
    starts: Annotated[str | None, typer.Option(help="The month from which it applies, such as 2024-01.")] = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Put a price on a meter."""
    wanted = {"meter": meter, "model": model, "amount": amount, "per": per, "tiers": _tiers(tiers)}
    with connected(organization) as server:
        answer = server.call("POST", "/api/prices", json=wanted | {"customer": customer, "starts": starts})
    show(answer, as_json, ("id", "meter", "model"), [(answer["id"], answer["meter"], answer["model"])])


@prices.command("delete")
def delete_price(id: str, organization: InOrganization = None) -> None:
    """Take a price away."""
    with connected(organization) as server:
        server.call("DELETE", f"/api/prices/{id}")
    typer.echo(f"The price {id} is deleted.")


def _tiers(text: str | None) -> list[Any]:
    try:
        tiers = json.loads(text, parse_float=str) if text else []
    except ValueError as error:
        raise Unprocessable(f"--tiers is no JSON: {error}.") from None
    if not isinstance(tiers, list):
        raise Unprocessable("--tiers is not a JSON list of tiers.")
    return tiers
