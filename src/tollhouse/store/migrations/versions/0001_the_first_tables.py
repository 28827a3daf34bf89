"""The first tables: organizations, keys, customers, the journal, meters, prices, resets."""

import sqlalchemy as sa
from alembic import op

from tollhouse.store.records import Exact, Instant, Json

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "journal",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization", sa.String(length=40), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("verb", sa.String(length=60), nullable=False),
        sa.Column("noun", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("detail", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_journal")),
    )
    op.create_index("ix_journal_organization", "journal", ["organization"])

    op.create_table(
        "organizations",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_organizations")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("hint", sa.String(length=20), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("scopes", Json(), nullable=False),
        sa.Column("origins", Json(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["organization"], ["organizations.id"], name=("fk_api_keys_organization")),
        sa.PrimaryKeyConstraint("id", name=("pk_api_keys")),
        sa.UniqueConstraint("fingerprint", name=("uq_api_keys_fingerprint")),
    )
    op.create_index("ix_api_keys_organization", "api_keys", ["organization"])

    op.create_table(
        "billing_resets",
        sa.Column("organization", sa.String(length=40), nullable=False),
        sa.Column("customer", sa.String(length=255), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("counted", Json(), nullable=False),
        sa.ForeignKeyConstraint(["organization"], ["organizations.id"], name=("fk_billing_resets_organization")),
        sa.PrimaryKeyConstraint("organization", "customer", name=("pk_billing_resets")),
    )
    op.create_table(
        "customers",
        sa.Column("organization", sa.String(length=40), nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("first_seen", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["organization"], ["organizations.id"], name=("fk_customers_organization")),
        sa.PrimaryKeyConstraint("organization", "id", name=("pk_customers")),
    )
    op.create_table(
        "meters",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization", sa.String(length=40), nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("description", sa.String(length=500), nullable=False),
        sa.Column("event_type", sa.String(length=255), nullable=False),
        sa.Column("aggregation", sa.String(length=20), nullable=False),
        sa.Column("value_property", sa.String(length=500), nullable=True),
        sa.Column("group_by", Json(), nullable=False),
        sa.Column("filters", Json(), nullable=False),
        sa.Column("unit", sa.String(length=40), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("deleted_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["organization"], ["organizations.id"], name=("fk_meters_organization")),
        sa.PrimaryKeyConstraint("id", name=("pk_meters")),
    )
    op.create_index(
        "ix_meters_live_slug",
        "meters",
        ["organization", "slug"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )

    op.create_table(
        "prices",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("organization", sa.String(length=40), nullable=False),
        sa.Column("meter", sa.String(length=40), nullable=False),
        sa.Column("customer", sa.String(length=255), nullable=True),
        sa.Column("model", sa.String(length=20), nullable=False),
        sa.Column("amount", Exact(), nullable=False),
        sa.Column("per", Exact(), nullable=False),
        sa.Column("tiers", Json(), nullable=False),
        sa.Column("starts", sa.Date(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meters.id"], name=("fk_prices_meter")),
        sa.ForeignKeyConstraint(["organization"], ["organizations.id"], name=("fk_prices_organization")),
        sa.PrimaryKeyConstraint("id", name=("pk_prices")),
    )
    op.create_index("ix_prices_organization", "prices", ["organization"])


def downgrade() -> None:
    """Drop them."""
    for table in ("prices", "meters", "customers", "billing_resets", "api_keys", "organizations", "journal"):
        op.drop_table(table)
