"""A sign-in link: lets its holder choose an address and a password, once. The first start prints one; `tollhouse users link` another."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.kit import tokens
from tollhouse.kit.errors import LinkExpired
from tollhouse.store.records import Record

VALID = timedelta(hours=24)


class SignInLink(Record):
    """Kept as a hash of its secret."""

    __tablename__ = "sign_in_links"

    fingerprint: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


def issue_link(session: Session, organization: str, now: datetime) -> str:
    """Make a link; returns its secret."""
    secret = tokens.new("in")
    session.add(
        SignInLink(fingerprint=tokens.fingerprint(secret), organization=organization, created_at=now, expires_at=now + VALID, used_at=None)
    )
    return secret


def check_link(session: Session, secret: str, now: datetime) -> str:
    """The organization that an unused link is for; raises LinkExpired."""
    kept = session.get(SignInLink, tokens.fingerprint(secret))
    if kept is None or kept.used_at is not None or kept.expires_at <= now:
        raise LinkExpired("This sign-in link has been used or has expired; run `tollhouse users link` on the server for a new one.")
    return kept.organization


def use_link(session: Session, secret: str, now: datetime) -> str:
    """The same, and the link is spent."""
    owner = check_link(session, secret, now)
    unused = (SignInLink.fingerprint == tokens.fingerprint(secret), SignInLink.used_at.is_(None))
    if session.execute(sa.update(SignInLink).where(*unused).values(used_at=now)).rowcount != 1:  # type: ignore[attr-defined]
        raise LinkExpired("This sign-in link has just been used; run `tollhouse users link` on the server for a new one.")
    return owner
