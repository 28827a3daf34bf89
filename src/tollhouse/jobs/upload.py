"""An upload: a place in the object store that somebody may fill, and that becomes a job's file or is swept away.

The row comes first and the object after it, so that whatever lies in the store is known: what no job has taken until the
row expires is litter, and `abandoned` finds it. One rule covers the file that is sent with a job, the one that is sent
directly to the store, the result of a worker, and the process that dies in between.

What is sent directly is never a job's file itself: S3 takes back no address that it has signed, so whoever holds one could
exchange the file after it was judged. The job takes the copy that was judged, under a key that no address was made for. The
place that it was sent to counts as used, and stays known until it expires, for what may yet be sent there.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, NotFound
from tollhouse.store.records import Record


class Upload(Record):
    """`size` is what was announced, in bytes; `customer` is whose it is, None for a worker's result; `used_at` is when a job was made
    of what was sent there directly."""

    __tablename__ = "uploads"

    key: Mapped[str] = mapped_column(sa.String(600), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    customer: Mapped[str | None] = mapped_column(sa.String(255))
    name: Mapped[str] = mapped_column(sa.String(255))
    content_type: Mapped[str] = mapped_column(sa.String(120))
    size: Mapped[int] = mapped_column(sa.BigInteger)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]

    def is_open(self, now: datetime) -> bool:
        """Whether something may be sent there, and handed in."""
        return self.used_at is None and self.expires_at > now


def reserve(
    session: Session, organization: str, customer: str | None, name: str, content_type: str, size: int, now: datetime, keep: timedelta
) -> Upload:
    """A fresh key for one file, which is kept until it expires or a job takes it."""
    upload = Upload(
        key=f"files/{organization}/{ids.new('upl')}",  # and no folder for each, which a directory would keep when it is empty
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
    if kept is None or kept.organization != organization or kept.customer != customer or not kept.is_open(now):
        raise NotFound(f"There is no upload {key[:200]!r} that waits for its job; it may have expired or been used already.")
    return kept


def is_open(session: Session, key: str, now: datetime) -> bool:
    """Whether the place may still be filled."""
    kept = session.get(Upload, key)
    return kept is not None and kept.is_open(now)


def take(session: Session, keys: Sequence[str]) -> None:
    """What lies there has become a job's; raises Conflict where the sweep was quicker."""
    if keys:
        _all(session.execute(sa.delete(Upload).where(Upload.key.in_(keys))), keys)


def use(session: Session, keys: Sequence[str], now: datetime) -> None:
    """A job is made of what was sent there; raises Conflict where another job, or the sweep, was quicker."""
    if keys:
        _all(session.execute(sa.update(Upload).where(Upload.key.in_(keys), Upload.used_at.is_(None)).values(used_at=now)), keys)


def _all(changed: sa.Result[Any], keys: Sequence[str]) -> None:
    if changed.rowcount != len(set(keys)):  # type: ignore[attr-defined]
        raise Conflict("One of the uploads has been used for another job, or has expired; upload it again.")


def abandoned(session: Session, now: datetime, limit: int = 20_000) -> list[str]:
    """The keys under which no job's file lies, and none will any more."""
    return list(session.scalars(sa.select(Upload.key).where(Upload.expires_at <= now).order_by(Upload.expires_at).limit(limit)))


def forget(session: Session, keys: Iterable[str]) -> None:
    """Those objects are gone."""
    session.execute(sa.delete(Upload).where(Upload.key.in_(list(keys))))
