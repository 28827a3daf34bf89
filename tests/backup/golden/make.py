"""`python -m tests.backup.golden.make`: the golden repositories, made once for each version of the format and never again.

They are kept as archives, so that nothing that tidies source code ever tidies what is in them.
"""

import socket
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tollhouse import backup
from tollhouse.backup import Order
from tollhouse.backup.sources.directory import DirectorySource
from tollhouse.store.objects import Objects

HERE = Path(__file__).parent
FIRST = {"a.txt": b"alpha\n", "folder/b.bin": bytes(range(256)), "folder/empty": b"", "ü.txt": "日本\n".encode()}
SECOND = FIRST | {"later.txt": b"later\n"}
PASSPHRASE = "golden passphrase"  # noqa: S105 - there is nothing to hide in it


def main() -> None:
    """Two snapshots in each of two repositories."""
    socket.gethostname = lambda: "golden"
    now = datetime(2026, 1, 31, 2, tzinfo=UTC)
    for name, passphrase in (("plain", None), ("encrypted", PASSPHRASE)):
        with tempfile.TemporaryDirectory() as place:
            source, home = Path(place) / "source", Path(place) / "repository"
            repository, recovery = backup.init(Objects.at(str(home)), passphrase, now)
            for at, files in ((now, FIRST), (now.replace(hour=3), SECOND)):
                for key, content in files.items():
                    (source / key).parent.mkdir(parents=True, exist_ok=True)
                    (source / key).write_bytes(content)
                directory = DirectorySource(source)
                directory.address = "golden"
                backup.take(repository, [directory], at, Order("full"))
            with tarfile.open(HERE / f"{name}.tar.gz", "w:gz") as archive:
                archive.add(home, "repository", filter=_nobodys)
            if recovery:
                (HERE / "recovery.txt").write_text(recovery)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
