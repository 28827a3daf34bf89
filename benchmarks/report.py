"""A section of the report: a table of measured figures, their targets, and the raw limit of the same run beside them."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.table import Table

_terminal = Console()
console = _terminal if _terminal.is_terminal else Console(width=150)  # a table in a file is not to be folded
Better = Literal["more", "less"]


@dataclass(frozen=True)
class Figure:
    """One measured figure; `raw` is the limit of the same run, in the same unit. None means there is no such thing."""

    name: str
    measured: float
    unit: str
    target: float | None = None
    raw: float | None = None
    better: Better = "less"

    @property
    def verdict(self) -> str:
        """Whether the target is met, as a mark."""
        if self.target is None:
            return ""
        met = self.measured >= self.target if self.better == "more" else self.measured <= self.target
        return "[green]met[/green]" if met else "[red]missed[/red]"

    @property
    def ratio(self) -> str:
        """Measured over raw: a share of the limit for a rate, a multiple of it for a time."""
        if self.raw is None or math.isnan(self.measured):
            return ""
        ratio = self.measured / self.raw
        return f"{ratio:.0%}" if self.better == "more" else f"{ratio:.2f} ×"


@dataclass
class Section:
    """A titled table; `notes` are the sentences below it."""

    title: str
    raw_name: str = "raw limit"
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self) -> None:
        """Print it."""
        table = Table(title=self.title, title_justify="left", title_style="bold")
        table.add_column("what", no_wrap=True)
        for heading in ("measured", "target"):
            table.add_column(heading, justify="right")
        table.add_column("")
        for heading in (self.raw_name, "ratio"):
            table.add_column(heading, justify="right")
        for figure in self.figures:
            sign = "≥ " if figure.better == "more" else "≤ "
            target = "" if figure.target is None else sign + _shown(figure.target, figure.unit)
            raw = "" if figure.raw is None else _shown(figure.raw, figure.unit)
            table.add_row(figure.name, _shown(figure.measured, figure.unit), target, figure.verdict, raw, figure.ratio)
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}", highlight=False)
        console.print()


def _shown(number: float, unit: str) -> str:
    if math.isnan(number):
        return "out of memory"
    places = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2
    return f"{number:,.{places}f} {unit}"


def millions(events: int) -> str:
    """A count of events as a heading says it: 10 M, or the digits of fewer than a million."""
    return f"{events / 1_000_000:g} M" if events >= 1_000_000 else f"{events:,}"


def median_ms(run: Callable[[], object], repeats: int = 7, most_seconds: float = 20.0) -> float:
    """The median time of `repeats` runs after a first one that warms up; at least three, once `most_seconds` are over."""
    run()
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < repeats and not (len(taken) >= 3 and time.perf_counter() - began > most_seconds):
        start = time.perf_counter()
        run()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def seconds(run: Callable[[], object]) -> float:
    """How long one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
