#!/usr/bin/env python3
"""Restore from a Tollhouse backup repository with nothing but Python, cryptography and zstandard. RESTORE.md says how."""

import argparse
import getpass
import hashlib
import hmac
import json
import os
import struct
import sys
from pathlib import Path

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"THB1"


class Damaged(Exception):
    """The repository is not what it should be."""


def digest(content):
    return hashlib.sha256(content).hexdigest()


def derived(master, purpose):
    return HKDF(SHA256(), 32, None, purpose).derive(master)


class Repository:
    def __init__(self, root, secret=None):
        self.root = Path(root)
        self.cipher = self.ids = None
        if self.encryption() != "none":
            master = self.unwrap(secret or os.environ.get("TOLLHOUSE_BACKUP_PASSPHRASE") or getpass.getpass("Passphrase or recovery key: "))
            self.cipher, self.ids = AESGCM(derived(master, b"tollhouse data")), derived(master, b"tollhouse ids")
        self.index = {}
        self.searched = self.index_harmed = False
        self.harmed = 0
        for path in sorted((self.root / "index").glob("*.index")):
            try:
                packs = json.loads(self.unseal(b"i", "", self.checked(path)))
            except Damaged as error:
                print(f"{error} The packs are searched for what it said.", file=sys.stderr)
                self.index_harmed = True
                continue
            for pack, rows in packs.items():
                self.know(pack, rows)

    def encryption(self):
        try:
            config = json.loads((self.root / "config.json").read_bytes())
            version, encryption = config["version"], config["encryption"]
        except (OSError, ValueError, KeyError, TypeError):
            raise Damaged(
                f"config.json is missing or damaged, so {self.root} cannot be read as a repository; take the file from another copy of it."
            ) from None
        if version != 1:
            raise Damaged("This repository has a version that this program does not know.")
        return encryption

    def know(self, pack, rows):
        for id, kind, offset, stored, _ in rows:
            self.index.setdefault(id, (pack, kind, offset, stored))

    def search_packs(self):
        """Make the index whole again out of the packs' own footers."""
        named, self.searched = {place[0] for place in self.index.values()}, True
        for path in sorted((self.root / "packs").rglob("*.pack")):
            if path.stem not in named:
                try:
                    self.know(path.stem, self.footer(path.read_bytes()))
                except (Damaged, ValueError, struct.error):
                    print(f"{path} is damaged.", file=sys.stderr)

    def footer(self, pack):
        (length,) = struct.unpack("<I", pack[-8:-4])
        return json.loads(self.unseal(b"f", "", pack[-8 - length : -8]))

    def unwrap(self, secret):
        for name in ("passphrase", "recovery"):
            try:
                key = json.loads((self.root / "keys" / f"{name}.json").read_bytes())
                salt, nonce, sealed = (bytes.fromhex(key[field]) for field in ("salt", "nonce", "key"))
                stretched = hashlib.scrypt(secret.strip().encode(), salt=salt, n=1 << 16, r=8, p=1, maxmem=1 << 28, dklen=32)
                return AESGCM(stretched).decrypt(nonce, sealed, b"tollhouse master key")
            except InvalidTag:
                continue
            except (OSError, ValueError, KeyError, TypeError):
                print(f"keys/{name}.json is missing or damaged; the other key may do.", file=sys.stderr)
        raise Damaged("That is neither the passphrase nor the recovery key of this repository.")

    def checked(self, path):
        content = path.read_bytes()
        if not digest(content).startswith(path.stem.rsplit("-", 1)[-1]):
            raise Damaged(f"{path} is damaged.")
        return content

    def unseal(self, kind, id, stored):
        if self.cipher is not None:
            if stored[:5] != MAGIC + kind:
                raise Damaged("A record does not begin as one of this repository does.")
            try:
                stored = self.cipher.decrypt(stored[5:17], stored[17:], MAGIC + kind + id.encode())
            except InvalidTag:
                raise Damaged("A record is damaged.") from None
        try:
            return zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise Damaged(f"A record is damaged: {error}") from None

    def blob(self, id):
        if id not in self.index and not self.searched:
            self.search_packs()
        if id not in self.index:
            raise Damaged(f"The blob {id} is nowhere.")
        pack, kind, offset, stored = self.index[id]
        try:
            with (self.root / "packs" / pack[:2] / f"{pack}.pack").open("rb") as file:
                file.seek(offset)
                content = self.unseal(kind[0].encode(), id, file.read(stored))
        except FileNotFoundError:
            raise Damaged(f"The pack {pack} is missing.") from None
        own = hmac.digest(self.ids, content, "sha256").hex() if self.ids else digest(content)
        if own != id:
            raise Damaged(f"The blob {id} is damaged.")
        return content

    def snapshots(self):
        for path in sorted((self.root / "snapshots").glob("*.snapshot")):
            try:
                yield json.loads(self.unseal(b"s", "", self.checked(path)))
            except Damaged as error:
                self.harmed += 1
                print(error, file=sys.stderr)

    def snapshot(self, wanted):
        every = list(self.snapshots())
        if wanted == "latest" and self.harmed:
            raise Damaged("It cannot be said which is the latest, because a snapshot is damaged; name one that `list` shows.")
        whole = [one for one in every if one["kind"] != "metadata"] or every  # metadata alone restores nothing
        found = whole[-1:] if wanted == "latest" else [one for one in every if one["id"].startswith(wanted)]
        if len(found) != 1:
            raise Damaged(f"There is no one snapshot {wanted!r}.")
        return found[0]

    def entries(self, snapshot):
        for collection in snapshot["collections"]:
            for id in collection["lists"]:
                for line in self.blob(id).splitlines():
                    yield collection["address"], json.loads(line)


def restore(repository, wanted, target, prefix):
    snapshot = repository.snapshot(wanted)
    if snapshot["kind"] == "metadata":
        raise Damaged(f"The snapshot {snapshot['id']} is of metadata alone: it holds no contents to restore.")
    several = len(snapshot["collections"]) > 1
    written = harmed = 0
    for address, (key, size, modified, sha256, chunks, *_) in repository.entries(snapshot):
        if not key.startswith(prefix):
            continue
        parts = key.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in key:
            print(f"not restored, it cannot be a file: {key!r}", file=sys.stderr)
            harmed += 1
            continue
        path = Path(target, *([digest(address.encode())[:8]] if several else []), *parts)
        if any(folder.is_symlink() for folder in path.parents if folder.is_relative_to(target) and folder != target):
            print(f"not restored, a link is on the way: {path}", file=sys.stderr)
            harmed += 1
            continue
        if path.exists() or path.is_symlink():
            print(f"left alone, it exists: {path}", file=sys.stderr)
            continue
        try:
            content = b"".join(repository.blob(id) for id in chunks)
            if len(content) != size or digest(content) != sha256:
                raise Damaged("it is not what was backed up.")
        except Damaged as error:
            print(f"not restored: {key}: {error}", file=sys.stderr)
            harmed += 1
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(modified * 1000, modified * 1000))
        written += 1
    print(f"{written} objects restored to {target}")
    if harmed:
        raise Damaged(f"{harmed} objects were not restored; the lines above say why.")


def verify(repository):
    for path in sorted((repository.root / "packs").rglob("*.pack")):
        content = path.read_bytes()
        if digest(content) != path.stem:
            raise Damaged(f"{path} is damaged.")
        for id, kind, offset, stored, size in repository.footer(content):
            if len(repository.unseal(kind[0].encode(), id, content[offset : offset + stored])) != size:
                raise Damaged(f"A blob in {path} is damaged.")
    count = sum(
        1 for snapshot in repository.snapshots() for _, entry in repository.entries(snapshot) for id in entry[4] if repository.index[id]
    )
    if repository.harmed or repository.searched or repository.index_harmed:
        raise Damaged("Snapshots or parts of the index are damaged; the lines above say which.")
    print(f"everything is there and undamaged ({count} parts of objects)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", default=Path(__file__).parent, type=Path)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list")
    verbs.add_parser("verify")
    restoring = verbs.add_parser("restore")
    restoring.add_argument("snapshot")
    restoring.add_argument("target", type=Path)
    restoring.add_argument("--prefix", default="")
    given = parser.parse_args()
    try:
        repository = Repository(given.repository)
        if given.verb == "list":
            for one in repository.snapshots():
                sources = ", ".join(collection["address"] for collection in one["collections"])
                print(one["id"], one["time"], one["kind"], sum(collection["objects"] for collection in one["collections"]), sources)
        elif given.verb == "verify":
            verify(repository)
        else:
            restore(repository, given.snapshot, given.target, given.prefix)
    except (Damaged, KeyError, ValueError, OSError) as error:
        sys.exit(f"restore.py: {error}")


if __name__ == "__main__":
    main()
