"""One row of the journal: who did what to which thing, and when."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.kit import ids
from tollhouse.store.records import Record


class Entry(Record):
    """`actor` did `verb` to the `noun` named `subject`; `detail` holds what a reader would ask next."""

    __tablename__ = "journal"
    __table_args__ = (
        sa.Index("ix_journal_noun", "organization", "noun", "id"),
        sa.Index("ix_journal_subject", "organization", "noun", "subject", "at"),
    )

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.String(40))
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


def newest(session: Session, organization: str) -> str | None:
    """The id of the last row, or None."""
    return session.scalar(sa.select(sa.func.max(Entry.id)).where(Entry.organization == organization))


def read_on(session: Session, organization: str, nouns: Sequence[str], after: str, limit: int) -> list[Entry]:
    """The rows about these nouns behind the row `after`, oldest first.

    A transaction that took long may commit a row behind one that was read already: who must miss none starts some
    minutes before the last row that was read.
    """
    query = sa.select(Entry).where(Entry.organization == organization, Entry.noun.in_(nouns), Entry.id > after)
    return list(session.scalars(query.order_by(Entry.id).limit(limit)))


def leading_to(
    session: Session, entries: Sequence[Entry], verbs: Sequence[str], span: timedelta, late: timedelta = timedelta(minutes=5)
) -> list[Entry]:
    """The rows of the same noun with these verbs, from `span` before the first of these rows to the last, by time.

    A row's id is made after its `at`, by `late` at most; so ids bound the search, and an index leads to them.
    """
    first, last, one = min(entry.at for entry in entries), max(entry.at for entry in entries), entries[0]
    query = sa.select(Entry).where(Entry.organization == one.organization, Entry.noun == one.noun, Entry.verb.in_(verbs))
    query = query.where(Entry.id > ids.least(min(entry.id for entry in entries), span + late), Entry.at > first - span, Entry.at <= last)
    return list(session.scalars(query.order_by(Entry.at, Entry.id)))


def last_seen(session: Session, organization: str, noun: str, verbs: Sequence[str]) -> dict[str, datetime]:
    """When each subject of a noun last had one of these verbs."""
    query = sa.select(Entry.subject, sa.func.max(Entry.at)).where(Entry.organization == organization, Entry.noun == noun)
    return {row[0]: row[1] for row in session.execute(query.where(Entry.verb.in_(verbs)).group_by(Entry.subject))}
