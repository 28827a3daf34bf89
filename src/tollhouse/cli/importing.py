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
from tollhouse.kit.errors import BadInput, Fault, Unprocessable


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
    data: Annotated[
        list[str] | None, typer.Option(help="Columns of the data, separated by commas or one each time; all others if left out.")
    ] = None,
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
    columns = tuple(name.strip() for name in ",".join(data or []).split(",") if name.strip())
    template = f"{{{id}}}" if id and "{" not in id else id
    mapping = backfill.Mapping(format.value, type, subject, time, columns, template, source, time_zone, ("", *(missing or [])))
    with connected(organization) as server, progress("import", backfill.count(file, mapping)) as advance:
        outcome = backfill.run(server, file, mapping, strict, advance)
    _report(outcome, as_json)
    if outcome.conflicts and mapping.type and not mapping.id and not as_json:
        sys.stderr.write("Without --id a row is named by file and number: a row put in or taken out renames all behind it.\n")
    if outcome.stopped:
        raise Unprocessable(outcome.stopped)


def _report(outcome: backfill.Outcome, as_json: bool) -> None:
    counts = {
        "rows": outcome.rows,
        "resumed_after": outcome.resumed_after,
        "inserted": outcome.inserted,
        "duplicates": outcome.duplicates,
        "conflicts": len(outcome.conflicts),
        "bad": len(outcome.bad),
    }
    if as_json:
        print_json(counts | {"conflict_rows": _shown(outcome.conflicts), "bad_rows": _shown(outcome.bad)})
        return
    show(counts, False, [name.replace("_", " ") for name in counts], [list(counts.values())])
    if outcome.stopped and len(outcome.faults) == 1:
        return  # the error is going to say it
    _list(outcome.bad, "bad rows")
    _list(outcome.conflicts, "conflicts")


def _shown(faults: list[Fault]) -> list[dict[str, int | str | None]]:
    return [{"row": fault.index, "detail": fault.detail} for fault in faults]


def _list(faults: list[Fault], what: str) -> None:
    for fault in faults[:20]:
        sys.stderr.write(f"row {fault.index}: {fault.detail}\n")
    if len(faults) > 20:
        sys.stderr.write(f"… and {len(faults) - 20} more {what}\n")
