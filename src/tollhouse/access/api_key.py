"""API keys: secret ones for an app's servers, publishable ones for its browsers.

A secret key (`sk_…`) carries scopes. A publishable key (`pk_…`) may do one thing, send events, and its
owner may pin it to web origins. Only a hash is kept, so a key is shown once; a revoked key stays as a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.access.organization import organization
from tollhouse.kit import ids, tokens
from tollhouse.kit.errors import Conflict, Forbidden, NotFound, Unprocessable
from tollhouse.store.records import Record

Kind = Literal["secret", "publishable"]
SCOPES = {
    "events:write": "send events",
    "read": "read events, meters, usage, bills and jobs",
    "write": "create and change meters, prices and jobs, and let customers see their pages",
    "jobs:work": "claim jobs, report on them and send their results",
    "admin": "see every customer's bills, manage keys, delete events, reset totals",
}


class ApiKey(Record):
    """`hint` is the key's first characters, enough to recognise it and useless to guess it."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"), index=True)
    kind: Mapped[str] = mapped_column(sa.String(20))
    name: Mapped[str] = mapped_column(sa.String(200))
    hint: Mapped[str] = mapped_column(sa.String(20))
    fingerprint: Mapped[str] = mapped_column(sa.String(64), unique=True)
    scopes: Mapped[list[str]]
    origins: Mapped[list[str]]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


@dataclass(frozen=True)
class IssuedKey:
    """A new key and its secret, which is nowhere else and never shown again."""

    key: ApiKey
    secret: str


@dataclass(frozen=True)
class Caller:
    """Who a request speaks for: the organization, what it may do, and a name for the journal.

    `operator` is the person at the server itself, who may found organizations.
    """

    organization: str
    name: str
    scopes: frozenset[str]
    origins: tuple[str, ...] = ()
    time_zone: str = "UTC"
    publishable: bool = False
    operator: bool = False

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the caller has the scope."""
        if scope not in self.scopes:
            raise Forbidden(f"This key lacks the scope {scope!r} ({SCOPES[scope]}); use a secret key that has it.")


def issue(
    session: Session,
    owner: str,
    now: datetime,
    actor: str,
    kind: Kind = "secret",
    name: str = "",
    scopes: Sequence[str] | None = None,
    origins: Sequence[str] = (),
) -> IssuedKey:
    """Make a key. A secret one has every scope unless told; raises Unprocessable for an unknown scope."""
    wanted = ["events:write"] if kind == "publishable" else list(SCOPES if scopes is None else scopes)
    unknown = sorted(set(wanted) - set(SCOPES))
    if unknown or not wanted:
        raise Unprocessable(f"scopes: {', '.join(unknown) or 'none'} given; choose from {', '.join(SCOPES)}")
    if kind == "publishable" and scopes is not None and list(scopes) != wanted:
        raise Unprocessable("scopes: a publishable key may only send events; leave scopes out")
    secret = tokens.new("sk" if kind == "secret" else "pk")
    key = ApiKey(
        id=ids.new("key"),
        organization=owner,
        kind=kind,
        name=name or kind,
        hint=secret[:9],
        fingerprint=tokens.fingerprint(secret),
        scopes=wanted,
        origins=list(origins),
        created_at=now,
        revoked_at=None,
    )
    session.add(key)
    journal.write(session, owner, now, actor, "created", "api_key", key.id, name=key.name, kind=kind)
    return IssuedKey(key, secret)


def find_caller(session: Session, secret: str) -> Caller | None:
    """Whom the secret belongs to, or None for an unknown or revoked one."""
    # Looking up a hash tells nothing about the secret through timing: a near miss hashes to somewhere else.
    from_key = sa.select(ApiKey).where(ApiKey.fingerprint == tokens.fingerprint(secret), ApiKey.revoked_at.is_(None))
    key = session.scalar(from_key)
    if key is None:
        return None
    return Caller(
        organization=key.organization,
        name=f"{key.kind} key {key.name} ({key.hint}…)",
        scopes=frozenset(key.scopes),
        origins=tuple(key.origins),
        time_zone=organization(session, key.organization).time_zone,
        publishable=key.kind == "publishable",
    )


def list_keys(session: Session, owner: str) -> list[ApiKey]:
    """An organization's keys, oldest first, revoked ones too."""
    return list(session.scalars(sa.select(ApiKey).where(ApiKey.organization == owner).order_by(ApiKey.id)))


def revoke(session: Session, owner: str, id: str, now: datetime, actor: str) -> ApiKey:
    """End a key for ever; raises NotFound, or Conflict where it is revoked already."""
    key = session.scalar(sa.select(ApiKey).where(ApiKey.id == id, ApiKey.organization == owner))
    if key is None:
        raise NotFound(f"There is no API key {id[:60]!r}.")
    claimed = session.execute(sa.update(ApiKey).where(ApiKey.id == id, ApiKey.revoked_at.is_(None)).values(revoked_at=now))
    if claimed.rowcount != 1:  # type: ignore[attr-defined]
        raise Conflict(f"The API key {id[:60]!r} is revoked already.")
    journal.write(session, owner, now, actor, "revoked", "api_key", id, name=key.name)
    session.refresh(key)
    return key
