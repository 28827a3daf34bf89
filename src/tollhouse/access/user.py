"""A user: a person who operates an organization, known by an e-mail address and a password.

Passwords are kept as Argon2id hashes (RFC 9106, by argon2-cffi with its defaults). Wrong attempts are counted for the
address that was tried and for where they came from; past a few, each further one has to wait longer.
"""

import functools
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import argon2
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.kit import ids
from tollhouse.kit.errors import Busy, Conflict, Unauthenticated, Unprocessable
from tollhouse.store.records import Record

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 200
FREE_ATTEMPTS = 5
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(minutes=15)
REMEMBERED = timedelta(hours=1)
_hasher = argon2.PasswordHasher()
_hashing = threading.Semaphore(2)  # each hash takes 64 MiB; more at once would be an attack on our memory


class User(Record):
    """`email` is lower case and unique on the server; `password` is a hash."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    email: Mapped[str] = mapped_column(sa.String(255), unique=True)
    password: Mapped[str] = mapped_column(sa.String(200))
    created_at: Mapped[datetime]


class FailedSignIn(Record):
    """How often signing in failed under one name (an address, or where it was tried from), and until when that counts."""

    __tablename__ = "failed_sign_ins"

    name: Mapped[str] = mapped_column(sa.String(300), primary_key=True)
    count: Mapped[int]
    until: Mapped[datetime]


@dataclass(frozen=True)
class Attempt:
    """One try to sign in: with which address and password, and from where."""

    email: str
    password: str
    origin: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Under which names it counts if it fails."""
        return (f"email {_address(self.email)}"[:300], f"from {self.origin}"[:300])


def set_password(session: Session, organization: str, email: str, password: str, now: datetime, actor: str) -> User:
    """Make a user, or give one of the organization a new password; raises Unprocessable or Conflict."""
    address = _address(email)
    local, at, domain = address.partition("@")
    if not (local and at and domain) or len(address) > 255 or not address.isprintable() or " " in address:
        raise Unprocessable(f"email: {email[:80]!r} is not an e-mail address; write it like ann@example.com.")
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Unprocessable(f"password: choose one of {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")
    if password.lower() in (address, local):
        raise Unprocessable("password: choose one that is not your address.")
    user = session.scalar(sa.select(User).where(User.email == address))
    if user is not None and user.organization != organization:
        raise Conflict("email: this address belongs to another organization; use another one.")
    hashed = _hash(password)
    if user is None:
        user = User(id=ids.new("usr"), organization=organization, email=address, password=hashed, created_at=now)
        session.add(user)
        session.flush()
        journal.write(session, organization, now, actor, "created", "user", user.id, email=address)
    else:
        user.password = hashed
        journal.write(session, organization, now, actor, "changed password", "user", user.id, email=address)
    return user


def check_patience(session: Session, attempt: Attempt, now: datetime) -> None:
    """Raise Busy where too many attempts failed under one of the names and the wait is not over."""
    failed = session.scalars(sa.select(FailedSignIn).where(FailedSignIn.name.in_(attempt.names), FailedSignIn.until > now))
    for one in failed:
        # `until` is when the name is forgotten; the wait ends REMEMBERED before that.
        wait = one.until - REMEMBERED - now
        if one.count > FREE_ATTEMPTS and wait > timedelta(0):
            raise TooManyAttempts(int(wait.total_seconds()) + 1)


class TooManyAttempts(Busy):
    """Signing in failed too often."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Signing in failed too often; try again in {seconds} seconds.")
        self.retry_after = seconds


def authenticate(session: Session, attempt: Attempt) -> User:
    """The user with that address and password; raises Unauthenticated, after the same time whether the address is known or not."""
    user = session.scalar(sa.select(User).where(User.email == _address(attempt.email)))
    if not _matches(user.password if user else _nobody(), attempt.password) or user is None:
        raise Unauthenticated("The address or the password is wrong.")
    return user


def note_failure(session: Session, attempt: Attempt, now: datetime) -> None:
    """Count a failed attempt under each of its names, each of several at once."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for name in attempt.names:
        session.execute(dialect.insert(FailedSignIn).values(name=name, count=0, until=now).on_conflict_do_nothing())
        kept = session.get_one(FailedSignIn, name, with_for_update=True)
        kept.count = kept.count + 1 if kept.until > now else 1
        beyond = kept.count - FREE_ATTEMPTS
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(beyond - 1, 20)) if beyond > 0 else timedelta(0)
        kept.until = now + REMEMBERED + wait


def note_success(session: Session, attempt: Attempt) -> None:
    """Forget the failures of the address; where they came from is remembered, or one good account would free all guesses."""
    session.execute(sa.delete(FailedSignIn).where(FailedSignIn.name == attempt.names[0]))


def list_users(session: Session, organization: str) -> list[User]:
    """The organization's users, oldest first."""
    return list(session.scalars(sa.select(User).where(User.organization == organization).order_by(User.id)))


def _address(email: str) -> str:
    return email.strip().lower()


@functools.cache  # not when this is imported: it takes as long as a hash is meant to take
def _nobody() -> str:
    return _hash("nobody has this password")


def _hash(password: str) -> str:
    with _hashing:
        return _hasher.hash(password)


def _matches(hashed: str, password: str) -> bool:
    try:
        with _hashing:
            return _hasher.verify(hashed, password[: LONGEST_PASSWORD + 1])
    except argon2.exceptions.VerifyMismatchError:
        return False
