"""What the records database must do, on SQLite and on PostgreSQL."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tollhouse import access, alerts, billing, jobs, journal, metering
from tollhouse.backup import operations
from tollhouse.billing import NewPrice, Rate
from tollhouse.kit.errors import Conflict, SchemaTooNew
from tollhouse.metering import NewMeter
from tollhouse.store.records import Record, Records

NOW = datetime(2024, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(records: Records) -> None:
    with records.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert {jobs.Job.metadata, alerts.Alert.metadata, operations.BackupRun.metadata} == {Record.metadata}  # all are declared by now
        assert compare_metadata(context, Record.metadata) == []


def test_migrating_again_changes_nothing(records: Records) -> None:
    records.migrate()
    records.migrate()


def test_a_newer_schema_refuses_to_start(records: Records) -> None:
    with records.transaction() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew, match="newer Tollhouse"):
        records.migrate()


def test_a_transaction_that_raises_leaves_nothing(records: Records) -> None:
    with pytest.raises(RuntimeError), records.transaction() as session:
        access.found(session, NOW, "Manga")
        raise RuntimeError
    with records.reading() as session:
        assert access.list_organizations(session) == []


def test_a_change_and_its_journal_row_are_one(records: Records) -> None:
    with records.transaction() as session:
        made = access.found(session, NOW, "Manga", actor="alice")
    with records.reading() as session:
        (row,) = journal.history(session, made.id, "organization", made.id)
    assert (row.actor, row.verb, row.at) == ("alice", "created", NOW)


def test_instants_and_decimals_come_back_as_they_went(records: Records) -> None:
    price = Decimal("0.00000000000000000001")
    with records.transaction() as session:
        made = access.found(session, NOW.astimezone(timezone(timedelta(hours=9))), "Manga")
        metering.add(session, made.id, NOW, "alice", NewMeter("api", "api", "count"))
        billing.add_price(session, made.id, NOW, "alice", NewPrice("api", Rate("per_unit", price)))
    with records.reading() as session:
        assert access.organization(session, made.id).created_at == NOW
        assert billing.list_prices(session, made.id)[0][0].amount == price


def test_two_live_meters_cannot_share_a_slug_but_a_deleted_one_frees_it(records: Records) -> None:
    new = NewMeter("api", "api", "count")
    with records.transaction() as session:
        made = access.found(session, NOW, "Manga")
        first = metering.add(session, made.id, NOW, "alice", new)
        with pytest.raises(Conflict):
            metering.add(session, made.id, NOW, "alice", new)
        metering.remove(session, made.id, "api", NOW, "alice")
        session.flush()
        assert metering.add(session, made.id, NOW, "alice", new).id != first.id


def test_customers_are_remembered_once(records: Records) -> None:
    with records.transaction() as session:
        made = access.found(session, NOW, "Manga")
        access.remember(session, NOW, [(made.id, "carol"), (made.id, "dave")])
        access.remember(session, NOW + timedelta(days=1), [(made.id, "carol")])
        assert access.customer_ids(session, made.id) == ["carol", "dave"]
        assert access.customer(session, made.id, "carol").first_seen == NOW
