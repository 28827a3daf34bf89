"""A meter: which events count, and what is counted of them.

What a meter counts never changes under it: only its unit and description can be edited. To count something else,
make another meter; it counts all events that are stored, also those from before it was made.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.events import Promotion
from tollhouse.kit import ids, money
from tollhouse.kit.errors import Conflict, Fault, NotFound, Unprocessable
from tollhouse.kit.jsonpath import JsonPath
from tollhouse.kit.paging import Page
from tollhouse.metering.aggregation import AGGREGATIONS, Aggregation
from tollhouse.store.records import Record

_SLUG = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?")


class Meter(Record):
    """`group_by` maps a name to a JSON path; `filters` maps a JSON path to the texts that count."""

    __tablename__ = "meters"
    __table_args__ = (
        sa.Index(
            "ix_meters_live_slug",
            "organization",
            "slug",
            unique=True,
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    slug: Mapped[str] = mapped_column(sa.String(64))
    description: Mapped[str] = mapped_column(sa.String(500))
    event_type: Mapped[str] = mapped_column(sa.String(255))
    aggregation: Mapped[str] = mapped_column(sa.String(20))
    value_property: Mapped[str | None] = mapped_column(sa.String(500))
    group_by: Mapped[dict[str, Any]]
    filters: Mapped[dict[str, Any]]
    unit: Mapped[str] = mapped_column(sa.String(40))
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    @property
    def rule(self) -> Aggregation:
        """How it aggregates."""
        return AGGREGATIONS[self.aggregation]

    @property
    def value_path(self) -> JsonPath | None:
        """Where its value stands in an event's data."""
        return None if self.value_property is None else JsonPath.parse(self.value_property)

    @property
    def group_names(self) -> list[str]:
        """The names of its group-by values in the order in which rollups list them."""
        return sorted(self.group_by)


@dataclass(frozen=True)
class NewMeter:
    """What a meter is made from; `group_by` and `filters` as in `Meter`, a filter's texts as one or as a list."""

    slug: str
    event_type: str
    aggregation: str = "sum"
    value_property: str | None = None
    group_by: dict[str, str] = field(default_factory=dict)
    filters: dict[str, Any] = field(default_factory=dict)
    unit: str = ""
    description: str = ""

    def faults(self) -> list[Fault]:
        """Everything that is wrong with it."""
        found: list[Fault] = []
        if _SLUG.fullmatch(self.slug) is None:
            found.append(Fault(f"slug: {self.slug[:80]!r} is not one; use 1 to 64 of a-z, 0-9, - and _", "slug"))
        if not 1 <= len(self.event_type) <= 255:
            found.append(Fault("event_type: give the type of the events to count, 1 to 255 characters", "event_type"))
        if self.aggregation not in AGGREGATIONS:
            found.append(Fault(f"aggregation: {self.aggregation[:40]!r} is none of {', '.join(AGGREGATIONS)}", "aggregation"))
        elif AGGREGATIONS[self.aggregation].reads_value and self.value_property is None:
            found.append(Fault(f"value_property: {self.aggregation} needs one; write it like $.quantity", "value_property"))
        if len(self.group_by) > 10 or any(not 1 <= len(name) <= 64 or name == "subject" for name in self.group_by):
            found.append(Fault("group_by: give at most 10 names of 1 to 64 characters, none of them subject", "group_by"))
        paths = {"value_property": self.value_property} if self.value_property is not None else {}
        for name, path in [*paths.items(), *(("group_by", path) for path in self.group_by.values())]:
            found += _path_faults(name, path)
        for path, texts in self.filters.items():
            found += _path_faults("filters", path)
            if not _texts(texts):
                found.append(Fault(f"filters: give {path[:60]!r} one text or a list of texts", "filters"))
        found += [
            Fault(f"{name}: holds a NUL character; leave it out", name)
            for name in ("event_type", "unit", "description")
            if "\0" in getattr(self, name)
        ]
        if len(self.unit) > 40 or len(self.description) > 500:
            found.append(Fault("unit and description: at most 40 and 500 characters", "unit"))
        if "\0" in repr((self.group_by, self.filters)) or "\\x00" in repr((self.group_by, self.filters)):
            found.append(Fault("group_by and filters: hold a NUL character; leave it out", "group_by"))
        return found


def _path_faults(field: str, path: str) -> list[Fault]:
    try:
        JsonPath.parse(path, field)
    except Unprocessable as error:
        return [Fault(error.detail, field)]
    return []


def _texts(value: Any) -> list[str]:
    """A filter's texts as a list, empty where they are not texts."""
    texts = value if isinstance(value, list) else [value]
    return texts if texts and len(texts) <= 100 and all(isinstance(text, str) for text in texts) else []


def add(session: Session, organization: str, now: datetime, actor: str, new: NewMeter) -> Meter:
    """Make a meter; raises Unprocessable with every fault, or Conflict where the slug is taken."""
    if faults := new.faults():
        raise Unprocessable("; ".join(fault.detail for fault in faults) + ".", faults)
    if _named(session, organization, new.slug) is not None:
        raise Conflict(f"There is a meter {new.slug!r} already; choose another slug, or delete that one first.")
    meter = Meter(
        id=ids.new("mtr"),
        organization=organization,
        slug=new.slug,
        description=new.description,
        event_type=new.event_type,
        aggregation=new.aggregation,
        value_property=new.value_property,
        group_by=dict(new.group_by),
        filters={path: _texts(texts) for path, texts in new.filters.items()},
        unit=new.unit,
        created_at=now,
        deleted_at=None,
    )
    session.add(meter)
    journal.write(session, organization, now, actor, "created", "meter", meter.id, slug=meter.slug)
    session.flush()
    return meter


def find(session: Session, organization: str, slug: str) -> Meter:
    """The organization's meter of that slug, or of that id; raises NotFound."""
    meter = _named(session, organization, slug)
    if meter is None:
        raise NotFound(f"There is no meter {slug[:80]!r}.")
    return meter


def _named(session: Session, organization: str, slug: str) -> Meter | None:
    either = sa.or_(Meter.slug == slug, Meter.id == slug)
    live = sa.select(Meter).where(Meter.organization == organization, either, Meter.deleted_at.is_(None))
    return session.scalar(live)


def list_meters(session: Session, organization: str, page: Page | None = None) -> tuple[list[Meter], int]:
    """An organization's meters by slug, one page or all, and how many there are."""
    live = sa.select(Meter).where(Meter.organization == organization, Meter.deleted_at.is_(None)).order_by(Meter.slug)
    total = session.scalar(sa.select(sa.func.count()).select_from(live.subquery())) or 0
    if page is not None:
        live = live.limit(page.limit).offset(page.offset)
    return list(session.scalars(live)), total


def change(session: Session, organization: str, slug: str, now: datetime, actor: str, unit: str | None, description: str | None) -> Meter:
    """Edit what does not change what is counted."""
    meter = find(session, organization, slug)
    wanted = NewMeter(meter.slug, meter.event_type, "count", unit=unit or "", description=description or "")
    if faults := wanted.faults():
        raise Unprocessable("; ".join(fault.detail for fault in faults) + ".", faults)
    meter.unit = meter.unit if unit is None else unit
    meter.description = meter.description if description is None else description
    journal.write(session, organization, now, actor, "changed", "meter", meter.id, slug=slug, unit=meter.unit)
    return meter


def remove(session: Session, organization: str, slug: str, now: datetime, actor: str) -> Meter:
    """Take a meter out of use. Events stay; its slug is free again."""
    meter = find(session, organization, slug)
    meter.deleted_at = now
    journal.write(session, organization, now, actor, "deleted", "meter", meter.id, slug=slug)
    return meter


def promotions(session: Session, organization: str) -> dict[str, Promotion]:
    """Which property of each event type ingest lifts out: that of the type's oldest meter that reads a number."""
    chosen: dict[str, Promotion] = {}
    meters, _ = list_meters(session, organization)
    for meter in sorted(meters, key=lambda meter: meter.id):
        if meter.value_path is not None and meter.aggregation != "unique_count":
            chosen.setdefault(meter.event_type, Promotion.of(meter.value_path))
    return chosen


def decoded(data: str) -> Any:
    """An event's data with its numbers digit for digit, as `Decimal`."""
    return json.loads(data, parse_float=Decimal, parse_int=Decimal)


def value_of(meter: Meter, data: str) -> Decimal | None:
    """What one event's data counts for, by the same rule as the stores."""
    found = meter.value_path.find(decoded(data)) if meter.value_path is not None else None
    text = money.value_text(str(found)) if isinstance(found, Decimal | str) else None
    return None if text is None else Decimal(text)
