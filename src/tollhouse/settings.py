"""Every setting: its name, its default and one line of help.

A setting `retention_daily_days` is the environment variable `TOLLHOUSE_RETENTION_DAILY_DAYS`, or that name with `_FILE`
behind it for the path of a file that holds the value (for secrets), or the key of that name in `tollhouse.toml`. The
command line beats the environment, which beats the file, which beats the default. Some have a second name, the one
that the seed documents use.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from tollhouse.kit.errors import BadInput

PREFIX = "TOLLHOUSE_"


def _setting(default: Any, help: str, alias: str = "", least: float | None = None, most: float | None = None, secret: bool = False) -> Any:
    return field(default=default, metadata={"help": help, "alias": alias, "least": least, "most": most, "secret": secret})


@dataclass(frozen=True)
class Settings:
    """The settings of one Tollhouse."""

    data: Path = _setting(Path("tollhouse-data"), "directory of the embedded stores")
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(3000, "port to listen on; 0 picks a free one", least=0)
    dev: bool = _setting(False, "development: no key is needed, and only this machine can connect")
    organization: str = _setting("default", "name of the organization that the first start creates")
    time_zone: str = _setting("UTC", "IANA time zone in which that organization's days and months begin")
    records_url: str = _setting("", "PostgreSQL address of the records; empty for SQLite in the data directory", secret=True)
    events_url: str = _setting("", "PostgreSQL address of the events; empty for DuckDB in the data directory", secret=True)
    objects_url: str = _setting("", "s3://bucket/prefix or a directory; empty for one in the data directory")
    s3_endpoint: str = _setting("", "host:port of an S3 server that is not Amazon's", "MINIO_ENDPOINT")
    s3_access_key: str = _setting("", "S3 access key", "MINIO_ACCESS_KEY", secret=True)
    s3_secret_key: str = _setting("", "S3 secret key", "MINIO_SECRET_KEY", secret=True)
    s3_use_ssl: bool = _setting(True, "reach the S3 endpoint over TLS", "MINIO_USE_SSL")
    s3_region: str = _setting("us-east-1", "S3 region")
    duckdb_memory: str = _setting("192MB", "memory that DuckDB may use for its own buffers")
    min_free_bytes: int = _setting(16 << 20, "answer 507 when less than this is free on the events' disk", least=0)
    max_body_bytes: int = _setting(16 << 20, "largest request body, unpacked", least=1024)
    max_data_bytes: int = _setting(256 << 10, "largest data of one event", least=1)
    max_batch_events: int = _setting(100_000, "most events in one request", least=1)
    max_days_ahead: float = _setting(1.0, "how many days ahead of now an event's time may lie", least=0)
    queue_events: int = _setting(200_000, "events that may wait for a commit before requests get 429", least=1)
    commit_events: int = _setting(20_000, "about the most events in one commit", least=1)
    publishable_events_per_second: int = _setting(100, "events a second that one publishable key may send", least=1)
    retention_hourly_days: int = _setting(7, "days to keep hourly rollups", least=1)
    retention_daily_days: int = _setting(90, "days to keep daily rollups", "BILLING_RETENTION_DAYS", least=1)
    retention_event_days: int = _setting(365, "days to keep single events, and with them each job's bill", least=1)
    public_url: str = _setting("", "address under which others reach this server, such as https://toll.example.com; empty: as they asked")
    session_hours: float = _setting(336, "hours that a person stays signed in", least=0.01)
    max_upload_bytes: int = _setting(100 << 20, "largest file that a job may have", least=1)
    max_job_bytes: int = _setting(1 << 30, "most bytes that the files of one job may have together", least=1)
    max_job_files: int = _setting(200, "most files in one job", least=1)
    upload_types: str = _setting(
        "application/json,application/pdf,application/zip,audio/flac,audio/mpeg,audio/wav,image/gif,image/jpeg,image/png,image/webp,"
        "text/csv,text/plain,video/mp4,video/webm",
        "media types that uploads may have, judged by their content and separated by commas; empty: any",
    )
    upload_hours: float = _setting(24, "hours after which an upload that no job uses is removed", least=0.01)
    link_seconds: int = _setting(3600, "seconds that a link to a file is good for", least=1)
    job_lease_seconds: float = _setting(60, "seconds without a sign of life after which a worker counts as lost", least=1)
    job_attempts: int = _setting(3, "attempts that a job has before it counts as failed", least=1)
    job_backoff_seconds: float = _setting(5, "seconds before a job's second attempt; twice as long before each further one", least=0)
    alert_attempts: int = _setting(6, "attempts to deliver an alert before it counts as undeliverable", least=1)
    alert_backoff_seconds: float = _setting(30, "seconds before an alert's second attempt; twice as long before each further one", least=0)
    alert_timeout_seconds: float = _setting(20, "seconds that one attempt to deliver an alert may take", least=0.1)
    dashboard_job_kind: str = _setting("default", "kind of the jobs that customers make on their jobs page")
    backup_passphrase: str = _setting("", "passphrase of the backup repositories", secret=True)
    billing_enabled: bool = _setting(True, "answer the billing routes", "BILLING_ENABLED")
    billing_rate_gb: Decimal = _setting(Decimal("0.001"), "default price of a gigabyte processed", "BILLING_RATE_GB", least=0)
    billing_rate_second: Decimal = _setting(Decimal("0.0001"), "default price of a compute second", "BILLING_RATE_SECOND", least=0)
    billing_currency: str = _setting("USD", "currency of every price (ISO 4217)")
    billing_volume_discount_enabled: bool = _setting(True, "discount large totals", "BILLING_VOLUME_DISCOUNT_ENABLED")
    billing_discount_tier_1_threshold: Decimal = _setting(
        Decimal(100), "month's total from which tier 1 applies", "BILLING_DISCOUNT_TIER_1_THRESHOLD", least=0
    )
    billing_discount_tier_1_percent: Decimal = _setting(
        Decimal(10), "per cent off in tier 1", "BILLING_DISCOUNT_TIER_1_PERCENT", least=0, most=100
    )
    billing_discount_tier_2_threshold: Decimal = _setting(
        Decimal(500), "month's total from which tier 2 applies", "BILLING_DISCOUNT_TIER_2_THRESHOLD", least=0
    )
    billing_discount_tier_2_percent: Decimal = _setting(
        Decimal(20), "per cent off in tier 2", "BILLING_DISCOUNT_TIER_2_PERCENT", least=0, most=100
    )
    billing_discount_tier_3_threshold: Decimal = _setting(
        Decimal(2000), "month's total from which tier 3 applies", "BILLING_DISCOUNT_TIER_3_THRESHOLD", least=0
    )
    billing_discount_tier_3_percent: Decimal = _setting(
        Decimal(30), "per cent off in tier 3", "BILLING_DISCOUNT_TIER_3_PERCENT", least=0, most=100
    )

    @property
    def s3(self) -> dict[str, Any]:
        """How S3 is reached: what a store's `S3Access` is made of."""
        return {
            "endpoint": self.s3_endpoint,
            "access_key": self.s3_access_key,
            "secret_key": self.s3_secret_key,
            "region": self.s3_region,
            "use_ssl": self.s3_use_ssl,
        }


def load(environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings; raises BadInput that names the setting and where its bad value came from."""
    given: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for source in (_from_file(environment), _from_environment(environment)):
        for name, (value, where) in source.items():
            given[name], origin[name] = value, where
    for name, value in (overrides or {}).items():
        if value is not None:
            given[name], origin[name] = value, f"--{name.replace('_', '-')}"
    settings = Settings(**{name: _typed(name, value, origin[name]) for name, value in given.items()})
    _check(settings, origin)
    return settings


def _from_file(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    path = Path(environment.get(f"{PREFIX}CONFIG", "tollhouse.toml"))
    if not path.exists():
        return {}
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read as TOML: {error}.") from None
    known = {spec.name for spec in fields(Settings)}
    for name in content:
        if name not in known:
            raise BadInput(f"{path}: there is no setting {name!r}; docs/settings.md lists them all.")
    return {name: (value, str(path)) for name, value in content.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for spec in fields(Settings):
        for name in (spec.metadata["alias"], f"{PREFIX}{spec.name.upper()}"):  # our own name beats the alias
            if not name:
                continue
            if name in environment:
                found[spec.name] = (environment[name], name)
            elif f"{name}_FILE" in environment:
                path = Path(environment[f"{name}_FILE"])
                try:
                    found[spec.name] = (path.read_text().strip(), f"{name}_FILE")
                except OSError as error:
                    raise BadInput(f"{name}_FILE: {path} cannot be read: {error.strerror}.") from None
    return found


def _typed(name: str, value: Any, where: str) -> Any:
    spec = next(spec for spec in fields(Settings) if spec.name == name)
    wanted: Any = spec.type
    if wanted is Path:
        return Path(value)
    if wanted is bool and isinstance(value, str):
        value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(value.lower(), value)
    try:
        typed = msgspec.convert(str(value) if wanted is Decimal else value, wanted, strict=False)
    except msgspec.ValidationError:
        kind = {bool: "true or false", int: "a whole number", float: "a number", Decimal: "a decimal number"}.get(wanted, "text")
        raise BadInput(f"{where}: {str(value)[:80]!r} is not {kind}.") from None
    if isinstance(typed, Decimal) and not typed.is_finite():
        raise BadInput(f"{where}: {str(value)[:80]!r} is not a decimal number.")
    least, most = spec.metadata["least"], spec.metadata["most"]
    if least is not None and not typed >= least:
        raise BadInput(f"{where}: {value} is too small; give at least {least}.")
    if most is not None and not typed <= most:
        raise BadInput(f"{where}: {value} is too large; give at most {most}.")
    return typed


def _check(settings: Settings, origin: Mapping[str, str]) -> None:
    if settings.dev and settings.host not in ("127.0.0.1", "::1", "localhost"):
        raise BadInput(
            f"{origin.get('host', 'host')}: --dev asks for no key, so it listens on this machine alone; "
            f"leave out {settings.host!r}, or leave out --dev."
        )
    if len(settings.billing_currency) != 3 or not settings.billing_currency.isupper():
        raise BadInput(f"{origin['billing_currency']}: {settings.billing_currency!r} is not a currency; write it like USD.")
    if settings.billing_volume_discount_enabled:
        _check_tiers(settings, origin)
    for name in ("records_url", "events_url"):
        address = getattr(settings, name)
        if address and not address.startswith(("postgresql://", "postgres://")):
            raise BadInput(f"{origin[name]}: it is not the address of a PostgreSQL database; write it like postgresql://user@host/name.")


def _check_tiers(settings: Settings, origin: Mapping[str, str]) -> None:
    """Every discount tier begins above the one below it; one of the two is named that was given, and not left as it is."""
    for tier in (2, 3):
        below, name = f"billing_discount_tier_{tier - 1}_threshold", f"billing_discount_tier_{tier}_threshold"
        lower, upper = getattr(settings, below), getattr(settings, name)
        if upper > lower:
            continue
        if name in origin:
            raise BadInput(f"{origin[name]}: {upper} is too small for tier {tier}; give more than tier {tier - 1}'s {lower}.")
        raise BadInput(f"{origin[below]}: {lower} is too large for tier {tier - 1}; give less than tier {tier}'s {upper}, or raise that.")
