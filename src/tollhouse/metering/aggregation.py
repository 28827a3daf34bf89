"""The seven ways to aggregate, each in one place: what it reads of an event, and how partial results merge.

A partial result is a row of `n, total, low, high, mark, last`; each aggregation names the columns it needs, as SQL
over one event's `value` and `mark`, and computes its answer from the merged row. `unique_count` alone cannot be
merged from partial counts and is always counted over the events themselves.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from tollhouse.kit.money import QUANTITY_PLACES, divide, plain, round_half_even, wide
from tollhouse.store.events import Expressions

Name = Literal["sum", "count", "unique_count", "avg", "min", "max", "latest"]
PARTIALS = ("n", "total", "low", "high", "mark", "last")
Answer = Decimal | int | None


@dataclass(frozen=True)
class Aggregation:
    """`partials` maps a partial column to its aggregate over events; `answer` turns the merged row into the result."""

    name: Name
    partials: Mapping[str, str]
    answer: Callable[[Mapping[str, Any]], Answer]
    reads_value: bool = True
    of_nothing: int | None = 0

    @property
    def merges(self) -> bool:
        """Whether partial results can be merged, and so be rolled up."""
        return bool(self.partials)

    def together(self, earlier: Decimal, later: Decimal) -> Decimal:
        """The answers of two adjoining ranges as one; a mean and a count of different ones cannot be put together."""
        with wide():
            return _TOGETHER[self.name](earlier, later) if self.name in _TOGETHER else later

    def over_events(self, x: Expressions, column: str) -> str:
        """The partial column as an aggregate over events with `value` and `mark`."""
        if column == "last" and column in self.partials:
            return x.at_highest("value", "mark")
        return self.partials.get(column, "NULL")

    def over_partials(self, x: Expressions, column: str) -> str:
        """The partial column as an aggregate over partial rows."""
        if column not in self.partials:
            return "NULL"
        return x.at_highest("last", "mark") if column == "last" else _MERGE[column]


_TOGETHER: Mapping[str, Callable[[Decimal, Decimal], Decimal]] = {"sum": operator.add, "count": operator.add, "min": min, "max": max}
_MERGE = {"n": "sum(n)", "total": "sum(total)", "low": "min(low)", "high": "max(high)", "mark": "max(mark)"}


def _mean(row: Mapping[str, Any]) -> Answer:
    """Total over count, rounded to the places a quantity has: a mean may never end."""
    return plain(round_half_even(divide(Decimal(row["total"]), Decimal(row["n"])), QUANTITY_PLACES))


def _column(name: str) -> Callable[[Mapping[str, Any]], Answer]:
    return lambda row: None if row[name] is None else plain(Decimal(row[name]))


AGGREGATIONS: dict[str, Aggregation] = {
    aggregation.name: aggregation
    for aggregation in (
        Aggregation("count", {"n": "count(*)"}, lambda row: int(row["n"]), reads_value=False),
        Aggregation("sum", {"n": "count(*)", "total": "sum(value)"}, _column("total")),
        Aggregation("avg", {"n": "count(*)", "total": "sum(value)"}, _mean, of_nothing=None),
        Aggregation("min", {"n": "count(*)", "low": "min(value)"}, _column("low"), of_nothing=None),
        Aggregation("max", {"n": "count(*)", "high": "max(value)"}, _column("high"), of_nothing=None),
        Aggregation("latest", {"n": "count(*)", "mark": "max(mark)", "last": ""}, _column("last"), of_nothing=None),
        Aggregation("unique_count", {}, lambda row: int(row["n"])),
    )
}
