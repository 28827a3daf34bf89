"""`tollhouse events import`: the rows of a file as events."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tollhouse.cli import backfill
from tollhouse.cli.connection import connected
from tollhouse.cli.output import AsJson, InOrganization, print_json, progress, show
from tollhouse.kit import times
from tollhouse.kit.errors import BadInput


class Format(StrEnum):
    """What a file of events may be."""

    csv = "csv"
    ndjson = "ndjson"
    parquet = "parquet"


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
