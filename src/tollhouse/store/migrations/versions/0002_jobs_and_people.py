"""Jobs with their files, uploads and unsent usage; people who sign in; the key that signs links."""

import secrets

import sqlalchemy as sa
from alembic import op

from tollhouse.store.records import Exact, Instant, Json

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create them."""
    _jobs()
    _people()


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("customer", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(80), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("data", Json(), nullable=False),
        sa.Column("result", Json(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("message", sa.String(500), nullable=False),
        sa.Column("error", sa.String(2000), nullable=True),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(200), nullable=True),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("lease_seconds", sa.Float(), nullable=True),
        sa.Column("available_at", Instant(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("started_at", Instant(), nullable=True),
        sa.Column("completed_at", Instant(), nullable=True),
        sa.Column("compute_seconds", Exact(), nullable=True),
        sa.Column("idempotency_key", sa.String(255), nullable=True),
        sa.Column("request_hash", sa.String(64), nullable=True),
        sa.UniqueConstraint("organization", "idempotency_key", name="uq_jobs_organization_idempotency_key"),
    )
    op.create_index("ix_jobs_customer", "jobs", ["organization", "customer", "id"])
    op.create_index("ix_jobs_status", "jobs", ["organization", "status", "available_at"])
    op.create_index("ix_jobs_lease_until", "jobs", ["lease_until"])
    op.create_table(
        "job_files",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("job", sa.String(40), sa.ForeignKey("jobs.id"), nullable=False, index=True),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("key", sa.String(600), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.String(120), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
    )
    op.create_table(
        "uploads",
        sa.Column("key", sa.String(600), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("customer", sa.String(255), nullable=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("content_type", sa.String(120), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False, index=True),
    )
    op.create_table(
        "job_usage",
        sa.Column("id", sa.String(120), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("type", sa.String(60), nullable=False),
        sa.Column("customer", sa.String(255), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
    )


def _people() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False, index=True),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("password", sa.String(200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("user", sa.String(40), sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.UniqueConstraint("fingerprint", name="uq_sessions_fingerprint"),
    )
    op.create_table(
        "sign_in_links",
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("used_at", Instant(), nullable=True),
    )
    op.create_table(
        "failed_sign_ins",
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
    )
    keys = op.create_table(
        "signing_keys", sa.Column("name", sa.String(40), primary_key=True), sa.Column("secret", sa.String(64), nullable=False)
    )
    op.bulk_insert(keys, [{"name": "links", "secret": secrets.token_hex(32)}])
