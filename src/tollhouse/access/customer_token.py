"""A customer token: lets one customer see their own jobs and bills for a while, in a page that the app opens or frames.

Signed and not stored. It travels in the address and not in a cookie, because browsers keep cookies out of frames; and
so no other page can make a browser send it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.access.api_key import Caller
from tollhouse.access.organization import organization
from tollhouse.kit import signing
from tollhouse.kit.errors import Unprocessable
from tollhouse.store.records import Record

LONGEST = timedelta(days=7)
_PURPOSE = "customer"


class SigningKey(Record):
    """The server's own secret, in hex: every process that shares the records signs and checks with it."""

    __tablename__ = "signing_keys"

    name: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    secret: Mapped[str] = mapped_column(sa.String(64))


@dataclass(frozen=True)
class CustomerPass:
    """What a customer token says. `origin` is the web origin that may frame the pages, `kind` what an upload there makes."""

    caller: Caller
    customer: str
    until: datetime
    origin: str = ""
    kind: str = ""


def signing_key(session: Session) -> bytes:
    """The key that links and tokens are signed with."""
    return bytes.fromhex(session.get_one(SigningKey, "links").secret)


def issue_customer_token(
    session: Session, owner: str, customer: str, now: datetime, valid: timedelta, origin: str = "", kind: str = ""
) -> str:
    """A token for one customer; raises Unprocessable for a bad customer, time or origin."""
    if not 1 <= len(customer) <= 255:
        raise Unprocessable("user_id: a customer's id has 1 to 255 characters.")
    if not timedelta(seconds=1) <= valid <= LONGEST:
        raise Unprocessable(f"expires_in: give 1 to {int(LONGEST.total_seconds())} seconds.")
    if origin and not _is_origin(origin):
        raise Unprocessable(f"origin: {origin[:80]!r} is not a web origin; write it like https://app.example.com.")
    until = int((now + valid).timestamp())
    return signing.sign(signing_key(session), _PURPOSE, until, o=owner, c=customer, f=origin, k=kind[:80])


def read_customer_token(session: Session, token: str, now: datetime) -> CustomerPass:
    """What the token says; raises Forbidden or LinkExpired."""
    said = signing.unsign(signing_key(session), _PURPOSE, token, int(now.timestamp()))
    owner = organization(session, said["o"])
    caller = Caller(owner.id, f"customer {said['c']}", frozenset(), time_zone=owner.time_zone)
    return CustomerPass(caller, said["c"], datetime.fromtimestamp(said["until"], now.tzinfo), said["f"], said["k"])


def _is_origin(text: str) -> bool:
    scheme, separator, host = text.partition("://")
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789.-:[]")
    return scheme in ("https", "http") and bool(separator and host) and len(text) <= 200 and set(host) <= allowed
