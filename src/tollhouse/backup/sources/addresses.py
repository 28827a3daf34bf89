"""Which source or target an address is."""

from pathlib import Path

from tollhouse.backup.sources.bucket import BucketSource, BucketTarget
from tollhouse.backup.sources.directory import DirectorySource, DirectoryTarget
from tollhouse.backup.sources.source import Source, Target
from tollhouse.kit.errors import BadInput
from tollhouse.store.objects import Objects, S3Access


def source_at(address: str, s3: S3Access) -> Source:
    """A directory, or `s3://bucket/prefix`; raises BadInput for anything else and NotFound for what is not there."""
    if address.startswith(("s3://", "memory://")):
        return BucketSource(Objects.at(address, s3), address)
    _refuse_unknown(address)
    return DirectorySource(Path(address))


def target_at(address: str, s3: S3Access) -> Target:
    """Likewise."""
    if address.startswith(("s3://", "memory://")):
        return BucketTarget(Objects.at(address, s3), address)
    _refuse_unknown(address)
    return DirectoryTarget(Path(address))


def _refuse_unknown(address: str) -> None:
    if not address or "://" in address:
        raise BadInput(f"{address[:80]!r} is no address that can be used here; write a directory or s3://bucket/prefix.")
