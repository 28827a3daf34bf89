"""Uploads: when a job was made of what was sent there."""

import sqlalchemy as sa
from alembic import op

from tollhouse.store.records import Instant

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column."""
    op.add_column("uploads", sa.Column("used_at", Instant(), nullable=True))
