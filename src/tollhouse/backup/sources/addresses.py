"""Which source or target an address is. The modules of buckets and databases are imported when an address is one."""

from pathlib import Path

from tollhouse.backup.sources.directory import DirectorySource, DirectoryTarget
from tollhouse.backup.sources.kinds import is_bucket, is_database
from tollhouse.backup.sources.source import Source, Target
from tollhouse.kit.errors import BadInput
from tollhouse.store.objects import Objects, S3Access


def source_at(address: str, s3: S3Access) -> Source:
    """A directory, `s3://bucket/prefix` or a database; raises BadInput for anything else and NotFound for what is not there."""
    if is_bucket(address):
        from tollhouse.backup.sources.bucket import BucketSource, api_of  # noqa: PLC0415  # an HTTP client is half of a short backup's start

        return BucketSource(Objects.at(address, s3), address, api_of(address, s3))
    if is_database(address):
        from tollhouse.backup.sources.database import DatabaseSource  # noqa: PLC0415  # so are the drivers

        return DatabaseSource(address)
    _refuse_unknown(address)
    return DirectorySource(Path(address))


def target_at(address: str, s3: S3Access) -> Target:
    """Likewise."""
    if is_bucket(address):
        from tollhouse.backup.sources.bucket import BucketTarget, api_of  # noqa: PLC0415  # as above

        return BucketTarget(Objects.at(address, s3), address, api_of(address, s3))
    if is_database(address):
        from tollhouse.backup.sources.database import DatabaseTarget  # noqa: PLC0415  # as above

        return DatabaseTarget(address)
    _refuse_unknown(address)
    return DirectoryTarget(Path(address))


def _refuse_unknown(address: str) -> None:
    if not address or "://" in address:
        shown = address.partition("://")[0] + "://…" if "://" in address else address
        raise BadInput(
            f"{shown[:80]!r} is no address that can be used here; write a directory, s3://bucket/prefix or postgresql://user@host/name."
        )
