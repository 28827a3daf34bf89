"""An upload: a place in the object store that somebody may fill, and that becomes a job's file or is swept away.

The row comes first and the object after it, so that whatever lies in the store is known: what no job has taken until the
row expires is litter, and `abandoned` finds it. One rule covers the file that is sent with a job, the one that is sent
directly to the store, the result of a worker, and the process that dies in between.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, NotFound
from tollhouse.store.records import Record


class Upload(Record):
    """`size` is what was announced, in bytes; `customer` is whose it is, None for a worker's result."""

    __tablename__ = "uploads"

    key: Mapped[str] = mapped_column(sa.String(600), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    customer: Mapped[str | None] = mapped_column(sa.String(255))
    name: Mapped[str] = mapped_column(sa.String(255))
    content_type: Mapped[str] = mapped_column(sa.String(120))
    size: Mapped[int] = mapped_column(sa.BigInteger)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


def reserve(
    session: Session, organization: str, customer: str | None, name: str, content_type: str, size: int, now: datetime, keep: timedelta
) -> Upload:
    """A fresh key for one file, which is kept until it expires or a job takes it."""
    upload = Upload(
        key=f"files/{organization}/{ids.new('upl')}/{name.replace('#', '_')}",  # a directory keeps no name that ends in #1
        organization=organization,
        customer=customer,
        name=name,
        content_type=content_type,
        size=size,
        created_at=now,
        expires_at=now + keep,
    )
    session.add(upload)
    session.flush()
    return upload


def upload(session: Session, organization: str, key: str, customer: str | None, now: datetime) -> Upload:
    """The upload with that key, if it waits to be used and is that customer's; raises NotFound."""
    kept = session.get(Upload, key)
    if kept is None or kept.organization != organization or kept.customer != customer or kept.expires_at <= now:
        raise NotFound(f"There is no upload {key[:200]!r} that waits for its job; it may have expired or been used already.")
    return kept


def is_open(session: Session, key: str, now: datetime) -> bool:
    """Whether the place may still be filled."""
    kept = session.get(Upload, key)
    return kept is not None and kept.expires_at > now


def take(session: Session, keys: Sequence[str]) -> None:
    """The uploads have become a job's files; raises Conflict where another job, or the sweep, was quicker."""
    if keys:
        taken = session.execute(sa.delete(Upload).where(Upload.key.in_(keys)))
        if taken.rowcount != len(set(keys)):  # type: ignore[attr-defined]
            raise Conflict("One of the uploads has been used for another job, or has expired; upload it again.")


def abandoned(session: Session, now: datetime, limit: int = 20_000) -> list[str]:
    """The keys of uploads that nobody used in time."""
    return list(session.scalars(sa.select(Upload.key).where(Upload.expires_at <= now).order_by(Upload.expires_at).limit(limit)))


def forget(session: Session, keys: Iterable[str]) -> None:
    """Those objects are gone."""
    session.execute(sa.delete(Upload).where(Upload.key.in_(list(keys))))
