"""`tollhouse usage`: aggregating, rebuilding, retention."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from tollhouse.cli.connection import Connection, connected
from tollhouse.cli.output import AsJson, InOrganization, progress, show

app = typer.Typer(name="usage", help="Rollups and retention.", no_args_is_help=True)
OneMeter = Annotated[str | None, typer.Option("--meter", help="Only this meter.")]


class Grain(StrEnum):
    """The grains of a rollup; a run brings all of them up to date, and reports one."""

    hourly = "hourly"
    daily = "daily"
    monthly = "monthly"


_PERIODS = {Grain.hourly: "hour", Grain.daily: "day", Grain.monthly: "month"}


@app.command()
def aggregate(
    grain: Annotated[Grain, typer.Argument(help="Whose periods to report; all are brought up to date.")] = Grain.hourly,
    meter: OneMeter = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Merge new events into the rollups; `tollhouse up` does this every minute by itself."""
    answer = _each_meter(organization, meter, "aggregate")
    period = _PERIODS[grain]
    row = (answer["meters"], answer["events"], answer["periods"][period])
    show(answer, as_json, ("meters", "events merged", f"{period}s written"), [row])


@app.command()
def rebuild(meter: OneMeter = None, as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Compute the rollups again from the events."""
    answer = _each_meter(organization, meter, "rebuild")
    periods = answer["periods"]
    row = (answer["meters"], periods["hour"], periods["day"], periods["month"])
    show(answer, as_json, ("meters", "hours", "days", "months"), [row])


@app.command()
def trim(as_json: AsJson = False, organization: InOrganization = None) -> None:
    """Remove what retention no longer keeps; `tollhouse up` does this every night by itself."""
    with connected(organization) as server:
        answer = server.call("POST", "/api/usage/trim")
    show(answer, as_json, ("hourly rows", "daily rows", "events"), [(answer["hours"], answer["days"], answer["events"])])


def _each_meter(organization: str | None, meter: str | None, verb: str) -> dict[str, Any]:
    """Run a verb for one meter after the other, with a bar, and add up what was done."""
    with connected(organization) as server:
        slugs = [meter] if meter else _slugs(server)
        total: dict[str, Any] = {"meters": 0, "events": 0, "periods": {"hour": 0, "day": 0, "month": 0}}
        with progress(verb, len(slugs)) as advance:
            for done, slug in enumerate(slugs):
                one = server.call("POST", f"/api/usage/{verb}", params={"meter": slug})
                total["meters"] += one["meters"]
                total["events"] += one["events"]
                total["periods"] = {name: count + one["periods"][name] for name, count in total["periods"].items()}
                advance(done + 1)
    return total


def _slugs(server: Connection) -> list[str]:
    answer = server.call("GET", "/api/meters", params={"limit": 1000})
    return [one["slug"] for one in answer["meters"]]
