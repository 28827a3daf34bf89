"""Backups: repositories, schedules, runs and drills."""

import sqlalchemy as sa
from alembic import op

from tollhouse.store.records import Instant, Json

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "backup_repositories",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False, index=True),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("address", sa.String(1000), nullable=False),
        sa.Column("passphrase_file", sa.String(1000), nullable=False),
        sa.Column("medium", sa.String(40), nullable=False),
        sa.Column("offsite", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.UniqueConstraint("organization", "name", name="uq_backup_repositories_organization_name"),
    )
    op.create_table(
        "backup_schedules",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False, index=True),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("source", sa.String(1000), nullable=False),
        sa.Column("repository", sa.String(40), sa.ForeignKey("backup_repositories.id"), nullable=False),
        sa.Column("copy_to", sa.String(40), sa.ForeignKey("backup_repositories.id"), nullable=True),
        sa.Column("cron", sa.String(100), nullable=False),
        sa.Column("keep", Json(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("next_at", Instant(), nullable=False, index=True),
        sa.UniqueConstraint("organization", "name", name="uq_backup_schedules_organization_name"),
    )
    op.create_table(
        "backup_runs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False, index=True),
        sa.Column("schedule", sa.String(40), nullable=True),
        sa.Column("repository", sa.String(40), sa.ForeignKey("backup_repositories.id"), nullable=False, index=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("source", sa.String(1000), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("snapshot", sa.String(80), nullable=True),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("objects", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("added_bytes", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("errors", Json(), nullable=False),
        sa.Column("detail", Json(), nullable=False),
    )
