"""How far the journal has been read, and when each subject was last seen by a rule that waits for it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.kit import ids
from tollhouse.store.records import Record


class Cursor(Record):
    """The last row of an organization's journal that was read."""

    __tablename__ = "alert_cursors"

    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"), primary_key=True)
    entry: Mapped[str] = mapped_column(sa.String(40))


class Sighting(Record):
    """When a rule's kind of row was last written about a subject."""

    __tablename__ = "alert_sightings"

    rule: Mapped[str] = mapped_column(sa.ForeignKey("alert_rules.id", ondelete="CASCADE"), primary_key=True)
    subject: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    at: Mapped[datetime]


def start_reading(session: Session, organization: str) -> None:
    """Begin at the journal's end, where it has not been read before."""
    newest = journal.newest(session, organization) or ids.new("log")
    insert_new(session, Cursor, {"organization": organization, "entry": newest})


def cursor(session: Session, organization: str) -> str | None:
    """The last row that was read, or None where nothing has been watched yet."""
    return session.scalar(sa.select(Cursor.entry).where(Cursor.organization == organization))


def read_to(session: Session, organization: str, entry: str) -> None:
    """Remember the last row that was read; never goes back."""
    moved = sa.update(Cursor).where(Cursor.organization == organization, Cursor.entry < entry)
    session.execute(moved.values(entry=entry))


def note(session: Session, seen: Mapping[tuple[str, str], datetime]) -> None:
    """Remember when (rule, subject) was seen; an earlier time than is known changes nothing."""
    for (rule, subject), at in sorted(seen.items()):
        insert_new(session, Sighting, {"rule": rule, "subject": subject, "at": at})
        later = sa.update(Sighting).where(Sighting.rule == rule, Sighting.subject == subject, Sighting.at < at)
        session.execute(later.values(at=at))


def silent_since(session: Session, rule: str, before: datetime) -> dict[str, datetime]:
    """The subjects that were last seen before that instant, and when."""
    query = sa.select(Sighting.subject, Sighting.at).where(Sighting.rule == rule, Sighting.at < before)
    return {row[0]: row[1] for row in session.execute(query)}


def insert_new(session: Session, table: type[Record], values: dict[str, Any]) -> bool:
    """Insert a row unless its key is taken: the database decides between two processes. Returns whether it was new."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    inserted = dialect.insert(table).values(**values).on_conflict_do_nothing().returning(sa.literal(1))
    return session.execute(inserted).first() is not None
