"""`tollhouse events`: sent, listed, imported, exported, deleted."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, show
from tollhouse.cli.stand_in import Place, group_of
from tollhouse.kit import ids

IMPORT = Place("importing", "import_file", "Import a file's rows as events. Run it again to resume; what is stored is not stored twice.")
app = typer.Typer(name="events", cls=group_of({"import": IMPORT}), help="Usage events.", no_args_is_help=True)


@app.command()
def send(
    type: str,
    subject: Annotated[str | None, typer.Option(help="Whose usage it is.")] = None,
    data: Annotated[str, typer.Option(help="JSON.")] = "{}",
    id: Annotated[str | None, typer.Option(help="Its id; sending one id twice counts once.")] = None,
    source: str = "cli",
    time: Annotated[str | None, typer.Option(help="When it happened; now if left out.")] = None,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Send one event."""
    when = time or datetime.now(UTC).isoformat()
    named = json.dumps({"id": id or ids.new("evt"), "type": type, "source": source, "subject": subject, "time": when})
    body = f'{named[:-1]},"data":{data}}}'
    with connected(organization) as server:
        answer = server.call("POST", "/api/events", content=body.encode(), headers={"content-type": "application/json"})
    show(answer, as_json, ("inserted", "duplicates"), [(answer["inserted"], answer["duplicates"])])


@app.command("list")
def list_events(
    type: str | None = None,
    subject: str | None = None,
    source: str | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: int = 20,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """List the newest events."""
    given = {"type": type, "subject": subject, "source": source, "start": start, "end": end, "limit": limit}
    with connected(organization) as server:
        answer = server.call("GET", "/api/events", params={name: value for name, value in given.items() if value is not None})
    rows = [(one["time"], one["type"], one["subject"], one["id"], str(one["data"])[:60]) for one in answer["events"]]
    show(answer, as_json, ("time", "type", "subject", "id", "data"), rows)


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The CSV file to write.")],
    type: str | None = None,
    subject: str | None = None,
    start: str | None = None,
    end: str | None = None,
    organization: InOrganization = None,
) -> None:
    """Write events to a CSV file."""
    given = {"type": type, "subject": subject, "start": start, "end": end}
    params = {name: value for name, value in given.items() if value is not None}
    partial = output.with_name(output.name + ".part")
    with connected(organization) as server, server.stream("/api/events/export", params) as chunks, partial.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    partial.replace(output)
    typer.echo(f"Wrote {output}.")


@app.command()
def delete(
    type: str | None = None,
    subject: str | None = None,
    source: str | None = None,
    id: str | None = None,
    start: str | None = None,
    end: str | None = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    organization: InOrganization = None,
) -> None:
    """Delete the events that match, and take them out of every meter."""
    given = {"type": type, "subject": subject, "source": source, "id": id, "start": start, "end": end}
    params = {name: value for name, value in given.items() if value is not None}
    if not yes:
        typer.confirm(f"Delete the events with {params}? This cannot be undone.", abort=True)
    with connected(organization) as server:
        answer = server.call("DELETE", "/api/events", params=params)
    typer.echo(f"Deleted {answer['deleted']} events.")
