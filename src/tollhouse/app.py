"""The composition root: settings become stores, stores become domains, domains become one application.

The only module that reads `Settings`; each part receives its own small slice.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tollhouse import access, alerts, backup, billing, jobs, metering
from tollhouse.alerts import DeliveryTerms
from tollhouse.backup import Source
from tollhouse.backup.operations import Runner
from tollhouse.backup.sources.tollhouse import TollhouseSource
from tollhouse.billing import DefaultRates, DiscountTable, DiscountTier
from tollhouse.events import EventLimits, Ingest
from tollhouse.jobs import FileLimits, Terms
from tollhouse.kit import times, tokens
from tollhouse.kit.errors import Unavailable
from tollhouse.metering import Retention
from tollhouse.settings import Settings
from tollhouse.store.events import DuckDBEvents, EventStore, PostgresEvents
from tollhouse.store.lock import DirectoryLock
from tollhouse.store.objects import Objects, S3Access
from tollhouse.store.records import Records
from tollhouse.web import Application, BillingTerms, JobTerms, Parts
from tollhouse.web.guard import Guard


@dataclass(frozen=True)
class FirstKeys:
    """What the first start made and shows once."""

    organization: str
    secret: str
    publishable: str
    sign_in: str


@dataclass
class Tollhouse:
    """An opened Tollhouse: hold it with `opened`, serve `application`."""

    settings: Settings
    records: Records
    events: EventStore
    objects: Objects
    parts: Parts
    application: Application
    lock: DirectoryLock
    first_keys: FirstKeys | None

    def serve_at(self, url: str) -> None:
        """Tell other processes on this machine where this one listens and how its operator is known."""
        self.lock.describe({"pid": os.getpid(), "url": url, "token": self.parts.guard.operator_token})

    def aggregate(self) -> None:
        """Bring every organization's rollups up to date."""
        for organization, meters in self._meters():
            home = times.zone(organization.time_zone)
            metering.aggregate(self.events, [(meter, home) for meter in meters])

    def trim(self) -> None:
        """Remove what retention no longer keeps."""
        self.aggregate()
        for organization, meters in self._meters():
            home = times.zone(organization.time_zone)
            metering.trim(self.events, organization.id, home, meters, self.parts.retention, self.parts.clock())

    def tend_jobs(self) -> None:
        """Take jobs back from lost workers, and deliver what jobs reported and could not be delivered at once."""
        with self.records.transaction() as session:
            returned = jobs.release_overdue(session, self.parts.clock(), self.parts.jobs.terms)
        if returned:
            self.parts.bell.ring()
        self.parts.courier.deliver()

    def evaluate_alerts(self) -> None:
        """Raise what the rules find in the journal, and bring it to the channels."""
        alerts.evaluate(self.records, self.parts.clock())
        self.parts.deliverer.deliver()

    def deliver_alerts(self) -> None:
        """Bring what could not be delivered at once."""
        self.parts.deliverer.deliver()

    def sweep_uploads(self) -> None:
        """Remove uploads that nobody used."""
        self.parts.intake.sweep(self.parts.clock())

    def run_backups(self) -> None:
        """Run the backups, drills and verifications whose time has come."""
        self.parts.backups.run_due()

    def _meters(self) -> list[tuple[access.Organization, list[metering.Meter]]]:
        with self.records.reading() as session:
            return [(one, metering.list_meters(session, one.id)[0]) for one in access.list_organizations(session)]


@contextmanager
def opened(settings: Settings) -> Iterator[Tollhouse]:
    """Open the stores, migrate them, found the first organization, take events until the block ends, and drain."""
    data = settings.data.absolute()
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Unavailable(f"The data directory {data} cannot be made: {error.strerror}.") from None
    lock = DirectoryLock(data)
    try:
        with _stores(settings, data) as (records, events, objects):
            first_keys = _first_start(records, settings)
            _lay_rules(records)
            ingest = Ingest(events, records, settings.queue_events, settings.commit_events)
            parts = _parts(settings, records, events, objects, ingest)
            parts.install(_runner(settings, parts, data))
            ingest.start()
            try:
                yield Tollhouse(settings, records, events, objects, parts, Application(parts), lock, first_keys)
            finally:
                ingest.stop()
    finally:
        lock.release()


@contextmanager
def _stores(settings: Settings, data: Path) -> Iterator[tuple[Records, EventStore, Objects]]:
    records = Records(records_address(settings))
    try:
        records.migrate()
        events: EventStore
        if settings.events_url:
            events = PostgresEvents(settings.events_url)
        else:
            events = DuckDBEvents(data / "events.duckdb", settings.duckdb_memory, reserve_bytes=settings.min_free_bytes)
        try:
            yield records, events, Objects.at(settings.objects_url or str(data / "objects"), S3Access(**settings.s3))
        finally:
            events.close()
    finally:
        records.close()


def records_address(settings: Settings) -> str:
    """The SQLAlchemy address of the records."""
    if not settings.records_url:
        return f"sqlite:///{settings.data.absolute() / 'records.db'}"
    return "postgresql+psycopg://" + settings.records_url.partition("://")[2]


def _first_start(records: Records, settings: Settings) -> FirstKeys | None:
    """Found the organization if there is none; returns its keys, which are nowhere else."""
    with records.transaction() as session:
        if access.default_organization(session) is not None:
            return None
        now = datetime.now(UTC)
        made = access.found(session, now, settings.organization, settings.time_zone)
        billing.lay_meters(session, made.id, now)
        alerts.lay_rules(session, made.id, now)
        secret = access.issue(session, made.id, now, "setup", "secret").secret
        publishable = access.issue(session, made.id, now, "setup", "publishable").secret
        return FirstKeys(made.name, secret, publishable, access.issue_link(session, made.id, now))


def _lay_rules(records: Records) -> None:
    """Give organizations that were founded before there were alerts the usual rules."""
    with records.transaction() as session:
        for organization in access.list_organizations(session):
            alerts.lay_rules(session, organization.id, datetime.now(UTC))


def _parts(settings: Settings, records: Records, events: EventStore, objects: Objects, ingest: Ingest) -> Parts:
    guard = Guard(records, tokens.new("local"), settings.dev, settings.publishable_events_per_second)
    rates = DefaultRates(settings.billing_rate_gb, settings.billing_rate_second)
    discounts = _discounts(settings) if settings.billing_volume_discount_enabled else DiscountTable()
    return Parts(
        records,
        events,
        objects,
        ingest,
        guard,
        EventLimits(settings.max_body_bytes, settings.max_data_bytes, settings.max_batch_events, settings.max_days_ahead),
        BillingTerms(settings.billing_enabled, rates, discounts, settings.billing_currency),
        Retention(settings.retention_hourly_days, settings.retention_daily_days, settings.retention_event_days),
        _job_terms(settings),
        timedelta(hours=settings.session_hours),
        settings.public_url,
        alerts=_delivery_terms(settings),
    )


def _runner(settings: Settings, parts: Parts, data: Path) -> Runner:
    s3 = S3Access(**settings.s3)

    def source_at(address: str) -> Source:
        if address == "tollhouse":
            return TollhouseSource(parts.records, parts.events, parts.objects, data)
        return backup.source_at(address, s3)

    return Runner(
        parts.records,
        lambda address: Objects.at(address, s3),
        source_at,
        lambda address: backup.target_at(address, s3),
        settings.backup_passphrase,
        lambda: parts.clock(),  # noqa: PLW0108  # a test moves the clock on later
    )


def _job_terms(settings: Settings) -> JobTerms:
    types = frozenset(filter(None, (type.strip() for type in settings.upload_types.split(","))))
    return JobTerms(
        FileLimits(settings.max_upload_bytes, settings.max_job_bytes, settings.max_job_files, types=types),
        Terms(timedelta(seconds=settings.job_lease_seconds), timedelta(seconds=settings.job_backoff_seconds)),
        settings.job_attempts,
        timedelta(seconds=settings.link_seconds),
        timedelta(hours=settings.upload_hours),
        settings.dashboard_job_kind,
    )


def _delivery_terms(settings: Settings) -> DeliveryTerms:
    backoff, timeout = settings.alert_backoff_seconds, settings.alert_timeout_seconds
    return DeliveryTerms(settings.alert_attempts, timedelta(seconds=backoff), timedelta(seconds=timeout))


def _discounts(settings: Settings) -> DiscountTable:
    given = (
        (settings.billing_discount_tier_1_threshold, settings.billing_discount_tier_1_percent),
        (settings.billing_discount_tier_2_threshold, settings.billing_discount_tier_2_percent),
        (settings.billing_discount_tier_3_threshold, settings.billing_discount_tier_3_percent),
    )
    return DiscountTable(tuple(DiscountTier(threshold, percent) for threshold, percent in given))
