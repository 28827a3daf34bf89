"""Is a repository what it says it is? Its structure, and if asked each byte of it."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from tollhouse.backup import keys
from tollhouse.backup.progress import Report, silent
from tollhouse.backup.repository import DOCUMENTS, Index, Repository, check_pack, least_sizes, read_config, read_key_file, sample
from tollhouse.backup.snapshot import Snapshot, entries_of
from tollhouse.kit.errors import NotFound, TollhouseError

AT_A_TIME = 2  # packs: each is in memory as a whole


@dataclass
class Verified:
    """How much was looked at, and what was wrong: empty is good."""

    snapshots: int = 0
    objects: int = 0
    packs: int = 0
    packs_read: int = 0
    unused_packs: int = 0
    faults: list[str] = field(default_factory=list)


def verify(
    repository: Repository,
    read_percent: float = 0,
    chance: random.Random | None = None,
    report: Report = silent,
) -> Verified:
    """Check every file but the packs, that what snapshots name is there, and read that share of the packs (100: all)."""
    found = Verified()
    _documents(repository, found)
    index = _index(repository, found)
    present = repository.pack_sizes()
    sizes = least_sizes(index)
    for pack, least in sizes.items():
        if pack not in present:
            found.faults.append(f"The pack {pack[:12]}… is missing.")
        elif present[pack] < least:
            found.faults.append(f"The pack {pack[:12]}… is cut off.")
    found.packs = len(present)
    used = _snapshots(repository, index, found)
    found.unused_packs = len(sizes.keys() - used)
    chosen = _chosen(sorted(present), read_percent, chance or random.SystemRandom())
    indexed: dict[str, set[str]] = {name: set() for name in chosen}
    for id, place in index.items():
        if place.pack in indexed:
            indexed[place.pack].add(id)

    def read(name: str) -> str | None:
        try:
            rows = check_pack(repository, name)
        except TollhouseError as error:
            return error.detail
        lacking = indexed[name] - {row[0] for row in rows}
        return f"The pack {name[:12]}… lacks what the index says is in it." if lacking else None

    with ThreadPoolExecutor(AT_A_TIME, "tollhouse-verify") as pool:
        for fault in pool.map(read, chosen):
            found.faults += [fault] if fault else []
            found.packs_read += 1
            report(found.packs_read, len(chosen), 0)
    return found


def _chosen(names: list[str], percent: float, chance: random.Random) -> list[str]:
    if percent >= 100 or not percent:
        return names if percent else []
    return list(sample(names, percent, chance))


def _documents(repository: Repository, found: Verified) -> None:
    """The configuration, the keys and the two documents, byte by byte."""
    try:
        config = read_config(repository.objects)
        if config != repository.config:
            found.faults.append("config.json has changed since the repository was opened.")
    except TollhouseError as error:
        found.faults.append(error.detail)
    for name in DOCUMENTS:
        try:
            if hashlib.sha256(repository.objects.get(name)).hexdigest() != repository.config["documents"].get(name):
                found.faults.append(f"{name} is damaged.")
        except NotFound:
            found.faults.append(f"{name} is missing.")
    for name in keys.NAMES if repository.encrypted else ():
        try:
            read_key_file(repository.objects, name)
        except TollhouseError as error:
            found.faults.append(error.detail)


def _index(repository: Repository, found: Verified) -> Index:
    """What the index alone says, file by file, to name the one that is damaged."""
    index: Index = {}
    for name in repository.names("index/"):
        try:
            index.update(repository.index_file(name))
        except (TollhouseError, ValueError, TypeError, KeyError) as error:
            found.faults.append(getattr(error, "detail", f"The file {name} is damaged."))
    repository.index(again=True)
    return index


def _snapshots(repository: Repository, index: Index, found: Verified) -> set[str]:
    """Every snapshot, and that everything it names is in the index; returns the packs that are used."""
    used: set[str] = set()
    for name in repository.names("snapshots/"):
        found.snapshots += 1
        try:
            snapshot: Snapshot = repository.snapshot_file(name)
            for collection in snapshot.collections:
                entries = entries_of(collection.lists, repository.blob)
                for whose, ids in chain([("its list", collection.lists)], ((entry.key, entry.chunks) for entry in entries)):
                    used.update(index[id].pack for id in ids if id in index)
                    for id in ids:
                        if id not in index:
                            found.faults.append(f"Snapshot {snapshot.id}: {whose} needs the blob {id[:12]}…, which is in no index.")
                found.objects += collection.objects
        except TollhouseError as error:
            found.faults.append(f"{name}: {error.detail}")
    for name in repository.names("doomed/"):
        try:
            repository.checked(name)
        except TollhouseError as error:
            found.faults.append(error.detail)
    return used
