"""A session: a browser in which a user has signed in. Kept as a hash of the cookie's secret, ends by itself or by being revoked."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.access.api_key import SCOPES, Caller
from tollhouse.access.organization import organization
from tollhouse.access.user import User
from tollhouse.kit import ids, tokens
from tollhouse.kit.errors import NotFound
from tollhouse.store.records import Record


class UserSession(Record):
    """`device` is what the browser calls itself."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    user: Mapped[str] = mapped_column(sa.ForeignKey("users.id"), index=True)
    fingerprint: Mapped[str] = mapped_column(sa.String(64), unique=True)
    device: Mapped[str] = mapped_column(sa.String(200))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


@dataclass(frozen=True)
class SignedIn:
    """Who a session's cookie belongs to."""

    session: UserSession
    user: User
    caller: Caller


def open_session(session: Session, user: User, now: datetime, keep: timedelta, device: str) -> str:
    """Begin a session; returns the cookie's secret, which is nowhere else."""
    secret = tokens.new("se")
    kept = UserSession(
        id=ids.new("ses"),
        organization=user.organization,
        user=user.id,
        fingerprint=tokens.fingerprint(secret),
        device=device[:200],
        created_at=now,
        expires_at=now + keep,
        revoked_at=None,
    )
    session.add(kept)
    journal.write(session, user.organization, now, user.email, "signed in", "user", user.id, device=kept.device)
    return secret


def find_session(session: Session, secret: str, now: datetime) -> SignedIn | None:
    """Whose session the cookie's secret is, or None where it has ended or never was."""
    valid = (UserSession.fingerprint == tokens.fingerprint(secret), UserSession.revoked_at.is_(None), UserSession.expires_at > now)
    kept = session.scalar(sa.select(UserSession).where(*valid))
    if kept is None:
        return None
    user = session.get_one(User, kept.user)
    owner = organization(session, kept.organization)
    return SignedIn(kept, user, Caller(owner.id, user.email, frozenset(SCOPES), time_zone=owner.time_zone))


def list_sessions(session: Session, user: str, now: datetime) -> list[UserSession]:
    """A user's open sessions, the newest first."""
    mine = (UserSession.user == user, UserSession.revoked_at.is_(None), UserSession.expires_at > now)
    return list(session.scalars(sa.select(UserSession).where(*mine).order_by(UserSession.id.desc())))


def revoke_session(session: Session, user: User, id: str, now: datetime) -> None:
    """End one of a user's sessions; raises NotFound."""
    mine = (UserSession.id == id, UserSession.user == user.id, UserSession.revoked_at.is_(None))
    if session.execute(sa.update(UserSession).where(*mine).values(revoked_at=now)).rowcount != 1:  # type: ignore[attr-defined]
        raise NotFound(f"There is no session {id[:60]!r}.")
    journal.write(session, user.organization, now, user.email, "revoked", "session", id)


def revoke_all_sessions(session: Session, user: User, now: datetime) -> None:
    """End every session of a user: the password has changed."""
    session.execute(sa.update(UserSession).where(UserSession.user == user.id, UserSession.revoked_at.is_(None)).values(revoked_at=now))
