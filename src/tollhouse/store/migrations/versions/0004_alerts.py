"""Alerts: rules, what fired, channels, deliveries; and indexes by which the journal is read on."""

import sqlalchemy as sa
from alembic import op

from tollhouse.store.records import Instant, Json

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create them."""
    op.drop_index("ix_journal_organization", "journal")
    op.create_index("ix_journal_noun", "journal", ["organization", "noun", "id"])
    op.create_index("ix_journal_subject", "journal", ["organization", "noun", "subject", "at"])
    _rules()
    _deliveries()


def _rules() -> None:
    op.create_table(
        "alert_rules",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("condition", Json(), nullable=False),
        sa.Column("severity", sa.String(20), nullable=False),
        sa.Column("period_seconds", sa.Integer(), nullable=False),
        sa.Column("channels", Json(), nullable=False),
        sa.Column("resolved_by", Json(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.UniqueConstraint("organization", "name", name="uq_alert_rules_organization_name"),
    )
    op.create_table(
        "alert_cursors",
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), primary_key=True),
        sa.Column("entry", sa.String(40), nullable=False),
    )
    op.create_table(
        "alert_sightings",
        sa.Column("rule", sa.String(40), sa.ForeignKey("alert_rules.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column("at", Instant(), nullable=False),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("rule", sa.String(40), nullable=False),
        sa.Column("rule_name", sa.String(120), nullable=False),
        sa.Column("severity", sa.String(20), nullable=False),
        sa.Column("noun", sa.String(60), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("period_start", Instant(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("message", sa.String(4000), nullable=False),
        sa.Column("channels", Json(), nullable=False),
        sa.Column("entry", sa.String(40), nullable=True),
        sa.Column("fired_at", Instant(), nullable=False),
        sa.Column("last_at", Instant(), nullable=False),
        sa.Column("acknowledged_at", Instant(), nullable=True),
        sa.Column("acknowledged_by", sa.String(200), nullable=True),
        sa.Column("resolved_at", Instant(), nullable=True),
        sa.Column("resolved_by", sa.String(200), nullable=True),
        sa.Column("snoozed_until", Instant(), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.UniqueConstraint("rule", "subject", "period_start", name="uq_alerts_rule_subject_period_start"),
    )
    op.create_index("ix_alerts_status", "alerts", ["organization", "status", "id"])
    op.create_index("ix_alerts_snoozed_until", "alerts", ["snoozed_until"])


def _deliveries() -> None:
    op.create_table(
        "alert_channels",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("address", sa.String(2000), nullable=False),
        sa.Column("hint", sa.String(120), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.UniqueConstraint("organization", "name", name="uq_alert_channels_organization_name"),
    )
    op.create_table(
        "alert_deliveries",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("organization", sa.String(40), sa.ForeignKey("organizations.id"), nullable=False),
        sa.Column("alert", sa.String(40), sa.ForeignKey("alerts.id"), nullable=False),
        sa.Column("channel", sa.String(40), nullable=False),
        sa.Column("channel_name", sa.String(80), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", Instant(), nullable=False),
        sa.Column("error", sa.String(500), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("sent_at", Instant(), nullable=True),
        sa.UniqueConstraint("alert", "channel", "round", name="uq_alert_deliveries_alert_channel_round"),
    )
    op.create_index("ix_alert_deliveries_status", "alert_deliveries", ["status", "next_at"])
