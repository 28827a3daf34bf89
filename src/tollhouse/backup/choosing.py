"""Which snapshot is meant: by its id, or the latest of a source, up to a time.

Several sources may share a repository, and metadata may be taken alone; the latest snapshot of all is then seldom what is meant.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tollhouse.backup.repository import Repository
from tollhouse.backup.snapshot import Snapshot
from tollhouse.backup.sources.kinds import TOLLHOUSE, is_database
from tollhouse.kit.errors import BadInput, NotFound


def newest(repository: Repository, source: str = "", as_of: datetime | None = None) -> Snapshot:
    """The newest snapshot with contents, of a source if one is named; raises NotFound.

    A source is named by its address, a directory by any path to it.
    """
    try:
        return repository.snapshot("latest", as_of, suits=_holding(source))
    except NotFound:
        of_what = f" of {source[:200]}" if source else ""
        until = f" up to {as_of.isoformat()}" if as_of else ""
        raise NotFound(f"There is no snapshot with contents{of_what}{until} in this repository.") from None


def choose(
    repository: Repository, wanted: str, as_of: datetime | None = None, source: str | None = None, metadata: bool = False
) -> Snapshot:
    """The snapshot to restore. `latest` is that of the source, which has to be named where the repository has snapshots of several.

    With `metadata`, one of metadata alone will do. Raises NotFound and BadInput.
    """
    if wanted != "latest":
        return repository.snapshot(wanted, as_of)
    if source is None:
        groups = {tuple(sorted(one.address for one in snapshot.collections)) for snapshot in repository.snapshots(readable=True)}
        if len(groups) > 1:
            addresses = ", ".join(sorted({address for group in groups for address in group}))
            raise BadInput(f"This repository has snapshots of several sources; name one with --source, or a snapshot: {addresses[:1000]}.")
    if metadata:
        return repository.snapshot("latest", as_of, suits=_holding(source or "", metadata=True))
    return newest(repository, source or "", as_of)


def named(source: str) -> set[str]:
    """The addresses that a source may have in a snapshot."""
    if source == TOLLHOUSE:  # and not a directory of that name
        return {TOLLHOUSE}
    if is_database(source):
        from tollhouse.backup.sources.databases import shown  # noqa: PLC0415  # it brings the drivers

        source = shown(source)
    return {source, str(Path(source).absolute())}


def _holding(source: str, metadata: bool = False) -> Callable[[Snapshot], bool]:
    addresses = named(source) if source else None

    def suits(snapshot: Snapshot) -> bool:
        there = [one for one in snapshot.collections if addresses is None or one.address in addresses]
        return (metadata or snapshot.kind != "metadata") and any(not one.lost for one in there)

    return suits
