"""A customer: whom an app sends usage for. An event's `subject` is its customer's id, and the first event makes one."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from tollhouse.kit.errors import NotFound
from tollhouse.kit.paging import Page
from tollhouse.store.records import Record


class Customer(Record):
    """`id` is the app's own name for the customer, unique inside the organization."""

    __tablename__ = "customers"

    organization: Mapped[str] = mapped_column(sa.ForeignKey("organizations.id"), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    first_seen: Mapped[datetime]


def remember(session: Session, now: datetime, names: Iterable[tuple[str, str]]) -> None:
    """Make customers of those (organization, subject) pairs that are none yet."""
    rows = [{"organization": organization, "id": subject, "first_seen": now} for organization, subject in names]
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for at in range(0, len(rows), 1000):
        session.execute(dialect.insert(Customer).on_conflict_do_nothing(), rows[at : at + 1000])


def list_customers(session: Session, organization: str, page: Page) -> tuple[list[Customer], int]:
    """One page of an organization's customers by id, and how many there are in all."""
    mine = sa.select(Customer).where(Customer.organization == organization)
    total = session.scalar(sa.select(sa.func.count()).select_from(mine.subquery())) or 0
    return list(session.scalars(mine.order_by(Customer.id).limit(page.limit).offset(page.offset))), total


def customer_ids(session: Session, organization: str) -> list[str]:
    """The ids of all of an organization's customers, in order."""
    return list(session.scalars(sa.select(Customer.id).where(Customer.organization == organization).order_by(Customer.id)))


def customer(session: Session, organization: str, id: str) -> Customer:
    """The organization's customer of that id; raises NotFound."""
    kept = session.get(Customer, (organization, id))
    if kept is None:
        raise NotFound(f"There is no customer {id[:80]!r}.")
    return kept
