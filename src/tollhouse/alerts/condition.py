"""What a rule watches: a typed condition, which is one of three.

*Happened*: a journal row with that noun and one of those verbs, whose detail compares as wanted. *Counted*: at least so
many such rows about one subject within a time. *Missing*: none about a subject for longer than a time, though there was one
before. Each variant carries its own JSON form, its own check, and its own words.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from tollhouse.journal import Entry

LONGEST_SECONDS = 366 * 86_400
LONGEST_COUNT_SECONDS = 7 * 86_400
"""What is counted is held in memory."""
OWN_NOUN = "alert"
_TESTS = {">": "more than", ">=": "at least", "<": "less than", "<=": "at most", "==": ""}


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A comparison of one field of a row's detail with `value`, or with the row's own field `than`."""

    field: str
    op: Literal[">", ">=", "<", "<=", "=="]
    value: int | float | str | None = None
    than: str = ""

    def faults(self) -> list[str]:
        """What is wrong with it."""
        if (self.value is None) == (not self.than):
            return ["where: compare the field either with a value or with another field, its than"]
        if self.op != "==" and not self.than and _number(self.value) is None:
            return [f"where: {self.op} compares numbers; {str(self.value)[:40]!r} is none"]
        return [] if 0 < len(self.field) <= 60 and len(self.than) <= 60 else ["where: a field's name has 1 to 60 characters"]

    def holds(self, detail: dict[str, Any]) -> bool:
        """Whether it is so; a row without the field, or with one that does not compare, is not meant."""
        left, right = detail.get(self.field), detail.get(self.than) if self.than else self.value
        if left is None or right is None:
            return False
        one, other = _number(left), _number(right)
        if one is None or other is None:
            return self.op == "==" and str(left) == str(right)
        return {">": one > other, ">=": one >= other, "<": one < other, "<=": one <= other, "==": one == other}[self.op]

    def words(self) -> str:
        """Such as `bytes more than 100`."""
        against = spoken(self.than) if self.than else str(self.value)
        return " ".join(filter(None, (spoken(self.field), _TESTS[self.op] or "is", against)))


def _number(value: Any) -> Decimal | None:
    """The number that a JSON value is, also where it is written as text to keep its digits."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = Decimal(str(value))
    except InvalidOperation:
        return None
    return read if read.is_finite() else None


class _Watching(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", omit_defaults=True):
    noun: str
    verbs: tuple[str, ...]

    def faults(self) -> list[str]:
        """What is wrong with it."""
        if not 0 < len(self.noun) <= 60 or not self.verbs or len(self.verbs) > 20 or not all(0 < len(verb) <= 60 for verb in self.verbs):
            return ["condition: name a noun and 1 to 20 verbs of the journal, such as backup and failed, of 1 to 60 characters"]
        if self.noun.startswith(OWN_NOUN):
            return [f"condition: {self.noun[:60]!r} is what alerts write themselves; an alert on alerts would never end"]
        return []

    def matches(self, entry: Entry) -> bool:
        """Whether the row is one of those that are watched."""
        return entry.noun == self.noun and entry.verb in self.verbs

    def about(self, entry: Entry) -> str:
        """Whom an alert on the row is about."""
        return entry.subject


class Happened(_Watching, frozen=True, tag="happened"):
    """Such a row."""

    where: Where | None = None

    def faults(self) -> list[str]:
        """What is wrong with it."""
        return _Watching.faults(self) + (self.where.faults() if self.where else [])

    def matches(self, entry: Entry) -> bool:
        """Whether the row is one of those that are watched."""
        return _Watching.matches(self, entry) and (self.where is None or self.where.holds(entry.detail))

    def words(self) -> str:
        """Such as `backup failed`."""
        return f"{self.noun} {' or '.join(self.verbs)}" + (f", {self.where.words()}" if self.where else "")


class Counted(_Watching, frozen=True, tag="counted"):
    """At least so many such rows within so many seconds: about one subject, or `by` a field of their detail, or `*` all together."""

    at_least: int
    within_seconds: int
    where: Where | None = None
    by: str = ""

    @property
    def within(self) -> timedelta:
        """The time within which they count."""
        return timedelta(seconds=self.within_seconds)

    def faults(self) -> list[str]:
        """What is wrong with it."""
        found = _Watching.faults(self) + (self.where.faults() if self.where else [])
        if not 2 <= self.at_least <= 100_000:
            found.append("condition.at_least: count to a number from 2 to 100000")
        if len(self.by) > 60:
            found.append("condition.by: a field's name has at most 60 characters; * counts all together")
        return found + _seconds("within_seconds", self.within_seconds, LONGEST_COUNT_SECONDS)

    def matches(self, entry: Entry) -> bool:
        """Whether the row is one of those that are watched."""
        counts = self.by in ("", "*") or entry.detail.get(self.by) not in (None, "")
        return counts and _Watching.matches(self, entry) and (self.where is None or self.where.holds(entry.detail))

    def about(self, entry: Entry) -> str:
        """The subject, or what stands in the field that is counted by."""
        if self.by == "*":
            return f"every {self.noun}"
        return str(entry.detail.get(self.by, ""))[:255] if self.by else entry.subject

    def reached(self, at: datetime, times: Sequence[datetime]) -> bool:
        """Whether as many as are wanted, of these in order, lie in the time that ends at `at`."""
        return bisect_right(times, at) - bisect_right(times, at - self.within) >= self.at_least

    def words(self) -> str:
        """Such as `job failed, 5 times within 10 min`."""
        narrowed = f", {self.where.words()}" if self.where else ""
        by = {"": "", "*": " in all"}.get(self.by, f" by {spoken(self.by)}")
        return f"{self.noun} {' or '.join(self.verbs)}{narrowed}, {self.at_least} times within {span(self.within_seconds)}{by}"


class Missing(_Watching, frozen=True, tag="missing"):
    """No such row about a subject for longer than so many seconds, though there was one before."""

    longer_than_seconds: int

    @property
    def patience(self) -> timedelta:
        """How long a subject may be silent."""
        return timedelta(seconds=self.longer_than_seconds)

    def faults(self) -> list[str]:
        """What is wrong with it."""
        return _Watching.faults(self) + _seconds("longer_than_seconds", self.longer_than_seconds)

    def words(self) -> str:
        """Such as `no backup completed for longer than 26 h`."""
        return f"no {self.noun} {' or '.join(self.verbs)} for longer than {span(self.longer_than_seconds)}"


Condition = Happened | Counted | Missing


def _seconds(field: str, given: int, most: int = LONGEST_SECONDS) -> list[str]:
    return [] if 1 <= given <= most else [f"condition.{field}: give 1 to {most} seconds"]


def as_json(condition: Condition) -> dict[str, Any]:
    """The condition as it is kept and shown."""
    shown: dict[str, Any] = msgspec.to_builtins(condition)
    return shown


def from_json(kept: dict[str, Any]) -> Condition:
    """The condition that was kept."""
    read: Condition = msgspec.convert(kept, Happened | Counted | Missing)
    return read


def spoken(field: str) -> str:
    """A field's name in words: `rto_seconds` as `RTO seconds`."""
    return " ".join(word.upper() if word in ("rto", "rpo", "id", "url") else word for word in field.split("_"))


def span(seconds: int) -> str:
    """A length of time in words: 90 s, 10 min, 26 h, 7 days."""
    one = {86_400: "1 day", 3600: "1 h", 60: "1 min"}.get(seconds)
    sizes = ((86_400, "days"), (3600, "h"), (60, "min"))
    return one or next(
        (f"{seconds // size:,} {name}" for size, name in sizes if seconds % size == 0 and seconds >= 2 * size), f"{seconds:,} s"
    )
