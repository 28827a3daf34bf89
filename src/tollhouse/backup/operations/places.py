"""The repositories that a server knows by name, with what 3-2-1 asks about each: on which medium, and whether offsite."""

import os
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, NotFound, Unprocessable
from tollhouse.store.records import Record


class BackupPlace(Record):
    """`passphrase_file` is empty where the server's own passphrase opens it."""

    __tablename__ = "backup_repositories"
    __table_args__ = (sa.UniqueConstraint("organization", "name"),)

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(sa.String(80))
    address: Mapped[str] = mapped_column(sa.String(1000))
    passphrase_file: Mapped[str] = mapped_column(sa.String(1000))
    medium: Mapped[str] = mapped_column(sa.String(40))
    offsite: Mapped[bool]
    created_at: Mapped[datetime]

    @property
    def resolved(self) -> str:
        """Where it lies, whichever way that is written: a directory without links, anything else without a slash at its end."""
        return self.address.rstrip("/") if "://" in self.address else os.path.realpath(self.address)


def add_place(
    session: Session,
    organization: str,
    now: datetime,
    actor: str,
    name: str,
    address: str,
    passphrase_file: str,
    medium: str,
    offsite: bool,
) -> BackupPlace:
    """Make a repository known; raises Unprocessable or Conflict."""
    if not 1 <= len(name) <= 80 or not name.isprintable() or not 1 <= len(address) <= 1000:
        raise Unprocessable("name: a repository has a name of 1 to 80 characters and an address.")
    if find_place_or_none(session, organization, name) is not None:
        raise Conflict(f"There is a repository {name!r} already; choose another name.")
    place = BackupPlace(
        id=ids.new("bkr"),
        organization=organization,
        name=name,
        address=address,
        passphrase_file=passphrase_file,
        medium=medium or ("s3" if address.startswith("s3://") else "disk"),
        offsite=offsite,
        created_at=now,
    )
    session.add(place)
    session.flush()
    journal.write(session, organization, now, actor, "created", "repository", place.name)
    return place


def list_places(session: Session, organization: str) -> list[BackupPlace]:
    """The organization's repositories, oldest first."""
    return list(session.scalars(sa.select(BackupPlace).where(BackupPlace.organization == organization).order_by(BackupPlace.id)))


def find_place_or_none(session: Session, organization: str, name: str) -> BackupPlace | None:
    """The repository of that name or id."""
    named = sa.or_(BackupPlace.name == name, BackupPlace.id == name)
    return session.scalar(sa.select(BackupPlace).where(BackupPlace.organization == organization, named))


def find_place(session: Session, organization: str, name: str) -> BackupPlace:
    """The same; raises NotFound."""
    place = find_place_or_none(session, organization, name)
    if place is None:
        raise NotFound(f"There is no backup repository {name[:80]!r}; `tollhouse backup-repositories list` lists them.")
    return place
