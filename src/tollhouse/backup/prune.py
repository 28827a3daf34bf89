"""Deleting what is not kept, in two phases, so that a backup which is running meanwhile can never lose data.

First snapshots that no rule keeps are deleted, and packs that nothing names are *doomed*: a file says so. A backup uses no
blob of a doomed pack. When the grace period is over and a pack is still named by nothing, it is deleted; before that, the index is
written anew without it. So the grace period has to be longer than the longest backup; one that is slower is refused at its commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tollhouse.backup.repository import Doomed, Repository, pack_key
from tollhouse.backup.retention import Keep, kept
from tollhouse.backup.run import needed_packs
from tollhouse.backup.snapshot import Snapshot
from tollhouse.kit.errors import TollhouseError

MOST_DELETIONS = 1000


@dataclass
class Pruned:
    """What was done, or with a dry run would be. `retained` is what the store refused to delete (object lock): no error."""

    forgotten: list[str] = field(default_factory=list)
    kept: dict[str, list[str]] = field(default_factory=dict)
    doomed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    retained: list[str] = field(default_factory=list)
    freed_bytes: int = 0
    left_for_later: int = 0


def prune(
    repository: Repository,
    keep: Keep,
    now: datetime,
    most: int = MOST_DELETIONS,
    dry_run: bool = False,
) -> Pruned:
    """Forget snapshots, doom packs, delete packs that were doomed long enough; at most `most` files are deleted in one run."""
    done = Pruned()
    snapshots = repository.snapshots()
    done.kept = kept(snapshots, keep, now)
    for snapshot in snapshots:
        if snapshot.id not in done.kept:
            if len(done.forgotten) >= most:
                done.left_for_later += 1
            elif dry_run or _delete(repository, snapshot.file, done):
                done.forgotten.append(snapshot.id)
    left = [one for one in snapshots if one.id not in done.forgotten]
    repository.index(again=True)  # after the snapshots were read: whatever these name is in it
    used = _used(repository, left)
    sizes = repository.pack_sizes()
    unread, doomed = repository.names("doomed/"), repository.doomed()
    due = [one for one in doomed if one.since <= now - repository.grace]
    _delete_doomed(repository, due, used, sizes, most - len(done.forgotten), dry_run, done)
    already = {pack for one in doomed for pack in one.packs}
    # A pack that no index knows may be of a backup that is running; it is doomed too, and its backup will not name it before
    # its index is written, after which it is looked at again.
    done.doomed = sorted(sizes.keys() - used - already - set(done.deleted))
    if done.doomed and not dry_run:
        repository.doom(done.doomed, now)
    readable = {one.name for one in doomed}
    for name in unread if not dry_run else ():
        if name not in readable:
            _delete(repository, name, done)  # its packs have just been doomed anew
    return done


def _used(repository: Repository, snapshots: list[Snapshot]) -> set[str]:
    used: set[str] = set()
    for snapshot in snapshots:
        used |= needed_packs(repository, snapshot.collections)
    return used


def _delete_doomed(
    repository: Repository, due: Sequence[Doomed], used: set[str], sizes: dict[str, int], most: int, dry_run: bool, done: Pruned
) -> None:
    """Delete packs whose grace period is over and that nothing names."""
    going = {pack for one in due for pack in one.packs if pack not in used and pack in sizes}
    chosen = sorted(going)[: max(0, most)]
    done.left_for_later += len(going) - len(chosen)
    if dry_run:
        done.deleted = chosen
        done.freed_bytes = sum(sizes[pack] for pack in chosen)
        return
    missing = repository.broken_packs() - sizes.keys() - used
    still_named = _forget_in_index(repository, missing.union(chosen), done)
    for pack in chosen:
        if pack not in still_named and _delete(repository, pack_key(pack), done):
            done.deleted.append(pack)
            done.freed_bytes += sizes[pack]
    if len(chosen) == len(going):
        for one in due:
            _delete(repository, one.name, done)


def _forget_in_index(repository: Repository, packs: set[str], done: Pruned) -> set[str]:
    """Write an index without those packs, then delete the files that name them: in this order no blob is ever unknown.

    Returns the packs that a file names which the store did not let go.
    """
    still_named: set[str] = set()
    if not packs:
        return still_named
    for name in repository.names("index/"):
        rows = repository.read_json("index", name)
        if not packs.isdisjoint(rows):
            left = {pack: blobs for pack, blobs in rows.items() if pack not in packs}
            if left:
                repository.write_json("index", "index", "index", left)
            if not _delete(repository, name, done):
                still_named |= rows.keys()
    repository.index(again=True)
    return still_named


def _delete(repository: Repository, key: str, done: Pruned) -> bool:
    try:
        repository.objects.delete(key)
    except TollhouseError:
        done.retained.append(key)
        return False
    return True
