"""A channel: a place where people are told. Its address is a secret, since it holds a password or a token: it is shown to nobody."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse import journal
from tollhouse.kit import ids
from tollhouse.kit.errors import Conflict, NotFound, Unprocessable
from tollhouse.store.records import Record

Kind = Literal["email", "slack", "webhook", "other"]
KINDS: tuple[Kind, ...] = ("email", "slack", "webhook", "other")
_SCHEMES: dict[str, tuple[str, ...]] = {
    "email": ("mailto", "mailtos"),
    "slack": ("slack", "https"),
    "webhook": ("json", "jsons", "form", "forms", "xml", "xmls"),
}
_EXAMPLES = {
    "email": "mailtos://user:password@mail.example.com?to=team@example.com",
    "slack": "slack://TokenA/TokenB/TokenC/#channel",
    "webhook": "https://example.com/hook",
}
_HOST_IS_NO_SECRET = {"mailto", "mailtos", *_SCHEMES["webhook"]}


class Channel(Record):
    """`hint` is what may be shown of the address."""

    __tablename__ = "alert_channels"
    __table_args__ = (sa.UniqueConstraint("organization", "name"),)

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(sa.String(80))
    kind: Mapped[str] = mapped_column(sa.String(20))
    address: Mapped[str] = mapped_column(sa.String(2000))
    hint: Mapped[str] = mapped_column(sa.String(120))
    enabled: Mapped[bool]
    created_at: Mapped[datetime]


@dataclass(frozen=True)
class NewChannel:
    """What a channel is made from. A webhook's address may be written as the plain https:// that it is."""

    name: str
    kind: str
    address: str

    def settled(self, check: Callable[[str], None]) -> str:
        """The address as it is kept; raises Unprocessable for one that cannot be used, judged by `check` in the end."""
        if not 1 <= len(self.name.strip()) <= 80 or not self.name.isprintable():
            raise Unprocessable("name: a channel's name has 1 to 80 printable characters.")
        if self.kind not in KINDS:
            raise Unprocessable(f"kind: {self.kind[:40]!r} is none of {', '.join(KINDS)}.")
        address = self.address.strip()
        if not 1 <= len(address) <= 2000 or not address.isprintable():
            raise Unprocessable("address: an address has 1 to 2000 printable characters.")
        if self.kind == "webhook" and address.lower().startswith(("http://", "https://")):
            address = "json" + address[4:]
        if self.kind != "other" and _scheme(address) not in _SCHEMES[self.kind]:
            raise Unprocessable(f"address: that is no address of kind {self.kind}; write it like {_EXAMPLES[self.kind]}.")
        check(address)
        return address


def add_channel(session: Session, organization: str, now: datetime, actor: str, name: str, kind: str, address: str) -> Channel:
    """Make a channel of an address that `NewChannel.settled` has judged; raises Conflict where the name is taken."""
    name = name.strip()
    if session.scalar(sa.select(Channel.id).where(Channel.organization == organization, Channel.name == name)):
        raise Conflict(f"There is a channel named {name!r} already; choose another name.")
    channel = Channel(
        id=ids.new("channel"),
        organization=organization,
        name=name,
        kind=kind,
        address=address,
        hint=hint_of(address),
        enabled=True,
        created_at=now,
    )
    session.add(channel)
    session.flush()
    journal.write(session, organization, now, actor, "created", "alert-channel", channel.id, name=name, kind=kind, hint=channel.hint)
    return channel


def switch_channel(session: Session, organization: str, id: str, now: datetime, actor: str, enabled: bool) -> Channel:
    """Switch a channel on or off; what waits for it waits on. Raises NotFound."""
    channel = find_channel(session, organization, id)
    channel.enabled = enabled
    journal.write(session, organization, now, actor, "enabled" if enabled else "disabled", "alert-channel", channel.id)
    return channel


def find_channel(session: Session, organization: str, id: str) -> Channel:
    """The channel with that id; raises NotFound."""
    channel = session.scalar(sa.select(Channel).where(Channel.organization == organization, Channel.id == id))
    if channel is None:
        raise NotFound(f"There is no alert channel {id[:60]!r}.")
    return channel


def list_channels(session: Session, organization: str) -> list[Channel]:
    """The organization's channels, oldest first."""
    return list(session.scalars(sa.select(Channel).where(Channel.organization == organization).order_by(Channel.id)))


def hint_of(address: str) -> str:
    """What may be shown of an address: the scheme, and the host where that is no secret."""
    scheme = _scheme(address)
    try:
        host = urlsplit(address).hostname if scheme in _HOST_IS_NO_SECRET else None
    except ValueError:
        host = None
    return f"{scheme}://{host or ''}…"[:120]


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower()
