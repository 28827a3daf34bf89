"""What commands print: tables for people, JSON with `--json`, one sentence for an error."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tollhouse.kit.errors import TollhouseError
from tollhouse.kit.printing import visible

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
InOrganization = Annotated[str | None, typer.Option("--organization", help="Id of the organization, if not the first one.")]


def console() -> Console:
    """Standard output, as wide as the terminal, or 120 columns where there is none."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def show(answer: Any, as_json: bool, columns: Sequence[str] = (), rows: Sequence[Sequence[Any]] = (), title: str = "") -> None:
    """Print an answer as JSON, or as a table of `rows` under `columns`."""
    if as_json:
        print_json(answer)
        return
    if title:
        console().print(title, soft_wrap=True, style="italic")
    table = Table(*[], box=None, pad_edge=False, header_style="bold")
    for at, column in enumerate(columns):
        numeric = bool(rows) and all(_numeric(row[at]) or row[at] in (None, "") for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[_text(cell) for cell in row])
    console().print(table)
    if not rows:
        console().print("none", style="dim")


def print_json(answer: Any) -> None:
    """Print JSON with every digit that the server sent."""
    text = json.dumps(_marked(answer), indent=2, ensure_ascii=False)
    sys.stdout.write(text.replace('"\uffff', "").replace('\uffff"', "") + "\n")


def _marked(value: Any) -> Any:
    """Numbers kept as digits are printed as numbers: marked here, and the quotes around the marks taken away."""
    if isinstance(value, str) and type(value) is not str:
        return f"\uffff{value}\uffff"
    if isinstance(value, dict):
        return {name: _marked(member) for name, member in value.items()}
    return [_marked(member) for member in value] if isinstance(value, list) else value


def _numeric(cell: Any) -> bool:
    return (isinstance(cell, int | Decimal) and not isinstance(cell, bool)) or (isinstance(cell, str) and type(cell) is not str)


def _text(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    if _numeric(cell):
        return f"{Decimal(cell):,f}"
    return str(cell)


def plain(text: str) -> str:
    """A name from elsewhere, such as an object's key, for a table's cell or title: no markup, and nothing that a terminal obeys."""
    return escape(visible(text))


def fail(error: TollhouseError) -> int:
    """Print the sentence, in which names from elsewhere may be; returns the error's exit code."""
    sentence = "\n".join(map(visible, error.detail.split("\n")))
    sys.stderr.write(f"tollhouse: {sentence}\n")
    for fault in error.faults[:20]:
        where = f"event {fault.index}: " if fault.index is not None else ""
        sys.stderr.write(f"  {where}{fault.detail}\n")
    return error.exit_code


@contextmanager
def progress(label: str, total: int) -> Iterator[Any]:
    """A bar on standard error; yields a function that takes how far it has come."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=not sys.stderr.isatty()) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)
