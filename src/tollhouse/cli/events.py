"""`tollhouse events`: sent, listed, imported, exported, deleted."""

import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tollhouse.cli import backfill
from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, print_json, progress, show
from tollhouse.kit import ids, times
from tollhouse.kit.errors import BadInput

app = typer.Typer(name="events", help="Usage events.", no_args_is_help=True)


class Format(StrEnum):
    """What a file of events may be."""

    csv = "csv"
    ndjson = "ndjson"
    parquet = "parquet"


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


@app.command("import")
def import_file(
    file: Path,
    format: Annotated[Format, typer.Option(help="What the file is.")] = Format.ndjson,
    type: Annotated[str | None, typer.Option(help="The events' type; left out, each NDJSON line is an event already.")] = None,
    subject: Annotated[str | None, typer.Option(help="Column of the customer.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of the time.")] = None,
    data: Annotated[str, typer.Option(help="Columns of the data, separated by commas; all others if left out.")] = "",
    id: Annotated[str | None, typer.Option(help="Template of the id, such as {order}-{line}; else file name and row number.")] = None,
    source: Annotated[str, typer.Option(help="The events' source; the file's name if left out.")] = "",
    time_zone: Annotated[str, typer.Option(help="Zone of times that name none.")] = "UTC",
    missing: Annotated[list[str] | None, typer.Option(help="A text that stands for no value, besides an empty one.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    as_json: AsJson = False,
    organization: InOrganization = None,
) -> None:
    """Import a file's rows as events. Run it again to resume; what is stored is not stored twice."""
    if not file.is_file():
        raise BadInput(f"{file}: there is no such file.")
    if type is None and format is not Format.ndjson:
        raise BadInput("--type: name the type that the rows' events get.")
    times.zone(time_zone, "--time-zone")
    columns = tuple(name.strip() for name in data.split(",") if name.strip())
    template = f"{{{id}}}" if id and "{" not in id else id
    mapping = backfill.Mapping(format.value, type, subject, time, columns, template, source, time_zone, ("", *(missing or [])))
    with connected(organization) as server, progress("import", backfill.count(file, mapping)) as advance:
        outcome = backfill.run(server, file, mapping, strict, advance)
    _report(outcome, as_json)


def _report(outcome: backfill.Outcome, as_json: bool) -> None:
    bad = [{"row": fault.index, "detail": fault.detail} for fault in outcome.bad]
    counts = {
        "rows": outcome.rows,
        "resumed_after": outcome.resumed_after,
        "inserted": outcome.inserted,
        "duplicates": outcome.duplicates,
        "bad": len(bad),
    }
    if as_json:
        print_json(counts | {"bad_rows": bad})
        return
    show(counts, False, [name.replace("_", " ") for name in counts], [list(counts.values())])
    for fault in bad[:20]:
        sys.stderr.write(f"row {fault['row']}: {fault['detail']}\n")
    if len(bad) > 20:
        sys.stderr.write(f"… and {len(bad) - 20} more bad rows\n")


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
