"""Which source or target an address is."""

from pathlib import Path

from tollhouse.backup.sources.bucket import BucketSource, BucketTarget
from tollhouse.backup.sources.database import DatabaseSource, DatabaseTarget
from tollhouse.backup.sources.databases import SCHEMES
from tollhouse.backup.sources.directory import DirectorySource, DirectoryTarget
from tollhouse.backup.sources.source import Source, Target
from tollhouse.kit.errors import BadInput
from tollhouse.store.bucket_api import BucketApi, bucket_and_prefix
from tollhouse.store.objects import Objects, S3Access


def source_at(address: str, s3: S3Access) -> Source:
    """A directory, `s3://bucket/prefix` or a database; raises BadInput for anything else and NotFound for what is not there."""
    if address.startswith(("s3://", "memory://")):
        return BucketSource(Objects.at(address, s3), address, _api(address, s3))
    if _is_database(address):
        return DatabaseSource(address)
    _refuse_unknown(address)
    return DirectorySource(Path(address))


def target_at(address: str, s3: S3Access) -> Target:
    """Likewise."""
    if address.startswith(("s3://", "memory://")):
        return BucketTarget(Objects.at(address, s3), address, _api(address, s3))
    if _is_database(address):
        return DatabaseTarget(address)
    _refuse_unknown(address)
    return DirectoryTarget(Path(address))


def _api(address: str, s3: S3Access) -> BucketApi | None:
    return BucketApi(bucket_and_prefix(address)[0], s3) if address.startswith("s3://") else None


def _is_database(address: str) -> bool:
    return address.partition("://")[0].partition("+")[0] in SCHEMES and "://" in address


def _refuse_unknown(address: str) -> None:
    if not address or "://" in address:
        shown = address.partition("://")[0] + "://…" if "://" in address else address
        raise BadInput(
            f"{shown[:80]!r} is no address that can be used here; write a directory, s3://bucket/prefix or postgresql://user@host/name."
        )
