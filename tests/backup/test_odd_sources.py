"""Sources that cannot be read, or not all of them: what can be is kept, the rest is named, and no good snapshot is displaced."""

import os
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import IO

import boto3  # type: ignore[import-untyped]
import pytest

from tests.backup.parts import HOUR, NOON, contents, folder, made, take
from tests.contract.test_objects import KEYS, moto, rclone
from tollhouse import backup
from tollhouse.backup import Keep, Order, Repository, run
from tollhouse.kit.errors import BadInput, NotFound, Unavailable, Unprocessable
from tollhouse.store.objects import Objects, S3Access

__all__ = ["moto", "rclone"]
Put = Callable[[dict[str, bytes]], str]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return made(Objects.at(str(tmp_path / "repository")))


@pytest.fixture
def access(moto: str) -> S3Access:
    return S3Access(moto, *KEYS, use_ssl=False)


@pytest.fixture
def put(access: S3Access) -> Put:
    """Puts objects into a bucket of their own by whatever key; returns its address."""

    def filled(objects: dict[str, bytes]) -> str:
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://{access.endpoint}",
            aws_access_key_id=KEYS[0],
            aws_secret_access_key=KEYS[1],
            region_name="us-east-1",
        )
        bucket = f"odd-{uuid.uuid4().hex[:12]}"
        s3.create_bucket(Bucket=bucket)
        for key, content in objects.items():
            s3.put_object(Bucket=bucket, Key=key, Body=content)
        s3.close()
        return f"s3://{bucket}"

    return filled


def test_a_bucket_that_does_not_answer_makes_no_snapshot(repository: Repository, access: S3Access, put: Put) -> None:
    good = take(repository, backup.source_at(put({"a": b"alpha"}), access))
    with pytest.raises(Unavailable, match="no snapshot was taken: s3://there-is-none: The object store refuses: NoSuchBucket"):
        take(repository, backup.source_at("s3://there-is-none", access), NOON + HOUR)
    assert [one.id for one in repository.snapshots()] == [good.id]


def test_one_of_several_sources_that_cannot_be_read_takes_no_day_from_whole_snapshots(
    repository: Repository, access: S3Access, put: Put, tmp_path: Path
) -> None:
    files = folder(tmp_path / "files", {"a": b"alpha"})
    address = put({"b": b"beta"})

    def both(secret: str, at: int) -> backup.Snapshot:
        reached = S3Access(access.endpoint if secret else "http://127.0.0.1:9", *KEYS, use_ssl=False)
        sources = [backup.source_at(str(files), access), backup.source_at(address, reached)]
        return backup.take(repository, sources, NOON + at * HOUR, Order("full"))

    whole, broken = both("right", 0), both("", 1)
    assert (whole.whole, broken.whole, broken.objects) == (True, False, 1)
    assert {whole.id, broken.id} == set(backup.kept(repository.snapshots(), Keep(daily=1), NOON + 2 * HOUR))
    assert backup.choose(repository, "latest", source=address).id == whole.id
    assert backup.choose(repository, "latest", source=str(files)).id == broken.id


def test_an_address_without_a_bucket_is_refused(access: S3Access) -> None:
    with pytest.raises(Unprocessable, match="names no bucket"):
        backup.source_at("s3://", access)


@pytest.mark.parametrize("odd", ["a//b", "//double", "dir//", "./dot", "a/../b", ".."])
def test_one_key_that_cannot_be_read_is_named_and_the_rest_is_backed_up(
    repository: Repository, access: S3Access, put: Put, odd: str
) -> None:
    snapshot = take(repository, backup.source_at(put({"good": b"g", "fo lder/ü+%20": b"u", odd: b"x"}), access))
    assert contents(repository, snapshot) == {"good": b"g", "fo lder/ü+%20": b"u"}
    assert [one["key"] for one in snapshot.collections[0].errors] == [odd]
    assert not snapshot.complete


def test_keys_that_differ_by_a_slash_at_an_end_are_not_taken_for_each_other(repository: Repository, access: S3Access, put: Put) -> None:
    address = put(
        {"report": b"AAAA", "report/": b"BBBB", "x": b"D", "/x": b"C", "dir/": b"", "dir/file": b"f", "marker": b"m", "marker/": b""}
    )
    snapshot = take(repository, backup.source_at(address, access))
    assert contents(repository, snapshot) == {"report": b"AAAA", "x": b"D", "dir/file": b"f", "marker": b"m"}
    assert [one["key"] for one in snapshot.collections[0].errors] == ["report", "x"]
    assert "differs by a slash" in snapshot.collections[0].errors[0]["reason"]


def test_markers_of_folders_are_no_fault(repository: Repository, access: S3Access, put: Put) -> None:
    snapshot = take(repository, backup.source_at(put({"dir/": b"", "dir/file": b"f", "a//": b""}), access))
    assert (snapshot.complete, contents(repository, snapshot)) == (True, {"dir/file": b"f"})


def test_links_and_pipes_are_named_and_are_no_failure(repository: Repository, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", {"a": b"alpha"})
    (files / "link").symlink_to("a")
    os.mkfifo(files / "pipe")
    (files / os.fsdecode(b"l\xe9")).write_bytes(b"x")
    snapshot = take(repository, files)
    said = {one["key"]: one["reason"] for one in snapshot.collections[0].errors}
    assert said == {"link": "a link", "pipe": "neither a file nor a folder", "l\\udce9": "its name is not in UTF-8"}
    assert [one["key"] for one in snapshot.collections[0].unread] == ["l\\udce9"]
    (files / os.fsdecode(b"l\xe9")).unlink()
    assert take(repository, files, NOON + HOUR).complete


@pytest.mark.parametrize("restless", [2, 99])
def test_a_file_that_is_written_to_while_it_is_read_is_read_again(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restless: int
) -> None:
    files = folder(tmp_path / "files", {"a": b"generation 0", "b": b"beta"})
    written = count(1)

    def pieces(content: IO[bytes], size: int) -> Iterator[bytes]:
        found = content.read()
        yield found
        if found.startswith(b"generation") and (number := next(written)) <= restless:
            (files / "a").write_bytes(b"generation %d" % number)
            os.utime(files / "a", ns=(number, number))

    monkeypatch.setattr(run, "pieces", pieces)
    snapshot = take(repository, files)
    kept = 2 if restless > 2 else restless
    assert contents(repository, snapshot) == {"a": b"generation %d" % kept, "b": b"beta"}
    assert snapshot.complete
    assert ["each time" in one["reason"] for one in snapshot.collections[0].errors] == ([True] if restless > 2 else [])


def test_the_latest_is_that_of_the_source_which_has_to_be_named_among_several(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = folder(tmp_path / "one", {"a": b"1"}), folder(tmp_path / "other", {"b": b"2"})
    first = take(repository, one)
    assert backup.choose(repository, "latest").id == first.id
    second = take(repository, other, NOON + HOUR)
    take(repository, one, NOON + 2 * HOUR, kind="metadata")
    assert backup.choose(repository, "latest", source=str(one)).id == first.id
    assert backup.choose(repository, "latest", source=str(one), metadata=True).kind == "metadata"
    assert backup.choose(repository, second.id).id == second.id
    assert backup.choose(repository, "latest", NOON, str(one)).id == first.id
    with pytest.raises(BadInput, match="several sources; name one with --source"):
        backup.choose(repository, "latest")
    odd = take(repository, folder(tmp_path / "tollhouse", {"c": b"3"}), NOON + 3 * HOUR)
    assert backup.choose(repository, "latest", source=odd.collections[0].address).id == odd.id
    with pytest.raises(NotFound, match="no snapshot with contents of tollhouse"):
        backup.choose(repository, "latest", source="tollhouse")
    with pytest.raises(NotFound, match="no snapshot with contents of /nowhere"):
        backup.choose(repository, "latest", source="/nowhere")


def test_what_is_gone_is_looked_for_in_older_snapshots(repository: Repository, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", {"page-7.png": b"7", "page-8.png": b"8"})
    first = take(repository, files)
    take(repository, files, NOON + HOUR / 2, kind="metadata")  # from which nothing can be restored
    (files / "page-7.png").unlink()
    second = take(repository, files, NOON + HOUR)
    target = backup.target_at(str(tmp_path / "back"), S3Access())
    with pytest.raises(NotFound, match=f"The one of 2026-03-01T12:00:00 has it: --snapshot {first.id}"):
        backup.restore(repository, second, target, chosen=backup.Selection(key="page-7.png"))


def test_a_drill_of_nothing_proves_nothing(repository: Repository, tmp_path: Path) -> None:
    done = backup.drill(repository, take(repository, folder(tmp_path / "files", {})), NOON)
    assert (done.passed, done.faults) == (False, ["The snapshot holds no objects, so nothing was proved."])
