"""One row of the journal: who did what to which thing, and when."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.kit import ids
from tollhouse.store.records import Record


class Entry(Record):
    """`actor` did `verb` to the `noun` named `subject`; `detail` holds what a reader would ask next."""

    __tablename__ = "journal"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.String(40), index=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(sa.String(200))
    verb: Mapped[str] = mapped_column(sa.String(60))
    noun: Mapped[str] = mapped_column(sa.String(60))
    subject: Mapped[str] = mapped_column(sa.String(255))
    detail: Mapped[dict[str, Any]]


def write(session: Session, organization: str, now: datetime, actor: str, verb: str, noun: str, subject: str, **detail: Any) -> Entry:
    """Add a row; it is kept exactly if the change beside it is."""
    entry = Entry(id=ids.new("log"), organization=organization, at=now, actor=actor, verb=verb, noun=noun, subject=subject, detail=detail)
    session.add(entry)
    return entry


def history(session: Session, organization: str, noun: str, subject: str) -> list[Entry]:
    """What happened to one thing, oldest first."""
    query = sa.select(Entry).where(Entry.organization == organization, Entry.noun == noun, Entry.subject == subject)
    return list(session.scalars(query.order_by(Entry.id)))
