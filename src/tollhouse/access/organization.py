"""An organization: the team that runs an app. Everything in Tollhouse belongs to exactly one."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.kit import ids, times
from tollhouse.kit.errors import NotFound, Unprocessable
from tollhouse.store.records import Record


class Organization(Record):
    """`time_zone` decides where a day and a month of usage and billing begin; it is set once."""

    __tablename__ = "organizations"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(200))
    time_zone: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]


def found(session: Session, now: datetime, name: str = "default", time_zone: str = "UTC", actor: str = "setup") -> Organization:
    """Create an organization; raises Unprocessable for an empty name or an unknown zone."""
    if not name.strip() or len(name) > 200:
        raise Unprocessable("name: an organization's name has 1 to 200 characters")
    times.zone(time_zone)
    created = Organization(id=ids.new("org"), name=name.strip(), time_zone=time_zone, created_at=now)
    session.add(created)
    session.flush()
    journal.write(session, created.id, now, actor, "created", "organization", created.id, name=created.name)
    return created


def organization(session: Session, id: str) -> Organization:
    """The organization with that id; raises NotFound."""
    kept = session.get(Organization, id)
    if kept is None:
        raise NotFound(f"There is no organization {id[:60]!r}.")
    return kept


def default_organization(session: Session) -> Organization | None:
    """The first one that was founded, or None on a new installation."""
    return session.scalar(sa.select(Organization).order_by(Organization.id).limit(1))


def list_organizations(session: Session) -> list[Organization]:
    """All of them, oldest first."""
    return list(session.scalars(sa.select(Organization).order_by(Organization.id)))
