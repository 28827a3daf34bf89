"""Buckets on S3 servers of different make: as sources, as repositories and as targets."""

import base64
import hashlib
import uuid

import httpx
import pytest
from httpx_auth import AWS4Auth
from obstore.store import S3Store

from tests.backup.parts import HOUR, NOON, PASSPHRASE, bucket, contents, faults, made, noise, take
from tests.contract.test_objects import KEYS, moto, rclone
from tollhouse import backup
from tollhouse.backup import Keep, Selection
from tollhouse.kit.errors import NotFound
from tollhouse.store.bucket_api import BucketApi, parsed
from tollhouse.store.objects import Objects, S3Access

__all__ = ["moto", "rclone"]
FILES = {"a.txt": b"alpha", "deep/er/b c+d%20e.bin": noise(3000), "empty": b"", "ü/日本.txt": b"name"}


@pytest.fixture(params=["moto", "rclone"])
def access(request: pytest.FixtureRequest) -> S3Access:
    return S3Access(request.getfixturevalue(request.param), *KEYS, use_ssl=False)


@pytest.fixture
def place() -> str:
    """A prefix of its own."""
    return f"s3://bucket/{uuid.uuid4().hex}"


def filled(access: S3Access, address: str) -> Objects:
    objects = Objects.at(address, access)
    for key, content in FILES.items():
        objects.put(key, content, "text/x-test", metadata={"owner": "carol"})
    return objects


def read(objects: Objects) -> dict[str, bytes]:
    return {info.key: objects.get(info.key) for info in objects.list()}


def test_a_bucket_goes_into_a_repository_on_s3_and_back_into_another_prefix(access: S3Access, place: str, quick_keys: None) -> None:
    filled(access, f"{place}/source")
    store = Objects.at(f"{place}/repository", access)
    made(store, PASSPHRASE)
    repository = backup.open_repository(store, PASSPHRASE)
    source = backup.source_at(f"{place}/source", access)
    snapshot = take(repository, source, kind="full")
    assert snapshot.collections[0].errors == []
    assert contents(repository, snapshot) == FILES
    assert faults(repository) == []
    there = Objects.at(f"{place}/back", access)
    assert backup.restore(repository, snapshot, backup.target_at(f"{place}/back", access)).errors == []
    assert read(there) == FILES
    assert there.attributes("a.txt") == ("text/x-test", {"owner": "carol"})
    again = take(repository, source, NOON + HOUR)
    assert (again.statistics["read_bytes"], again.statistics["added_bytes"]) == (0, 0)


def test_a_prefix_that_another_begins_with_is_not_mixed_up_with_it(access: S3Access, place: str) -> None:
    filled(access, f"{place}/photos")
    Objects.at(f"{place}/photos-old", access).put("other", b"x")
    for address in (f"{place}/photos", f"{place}/photos/"):
        assert {found.key for found in backup.source_at(address, access).listing()} == set(FILES)


def test_what_is_deleted_overwritten_or_mistyped_is_brought_back(access: S3Access, place: str) -> None:
    objects = filled(access, f"{place}/source")
    repository = made(Objects.at(f"{place}/repository", access))
    snapshot = take(repository, backup.source_at(f"{place}/source", access))
    target = backup.target_at(f"{place}/source", access)
    objects.delete("a.txt")
    assert backup.restore(repository, snapshot, target, chosen=Selection(key="a.txt")).actions["create"] == ["a.txt"]
    objects.put("a.txt", b"encrypted by somebody")
    assert backup.restore(repository, snapshot, target).actions["keep"] == ["a.txt"]
    assert backup.restore(repository, snapshot, target, overwrite=True).actions["overwrite"] == ["a.txt"]
    objects.put("a.txt", FILES["a.txt"], "application/octet-stream")
    assert backup.restore(repository, snapshot, target, "metadata").errors == []
    assert objects.attributes("a.txt") == ("text/x-test", {"owner": "carol"})
    assert read(objects) == FILES


def test_a_large_object_goes_up_in_parts_and_comes_back(access: S3Access, place: str) -> None:
    large = noise(20 << 20)
    Objects.at(f"{place}/source", access).put("film", large)
    repository = made(Objects.at(f"{place}/repository", access), pack_bytes=16 << 20)
    snapshot = take(repository, backup.source_at(f"{place}/source", access))
    backup.restore(repository, snapshot, backup.target_at(f"{place}/back", access))
    assert Objects.at(f"{place}/back", access).get("film") == large


def test_a_prune_and_a_copy_on_s3(access: S3Access, place: str) -> None:
    objects = filled(access, f"{place}/source")
    repository = made(Objects.at(f"{place}/repository", access))
    source = backup.source_at(f"{place}/source", access)
    take(repository, source)
    objects.put("a.txt", noise(9000, 4))
    newest = take(repository, source, NOON + HOUR)
    second = made(Objects.at(f"{place}/second", access))
    assert len(backup.copy(repository, second, repository.snapshots(), lambda *_: None, NOON)) == 2
    for hours in (2, 27):
        backup.prune(second, Keep(yearly=1), NOON + hours * HOUR)
    assert faults(second) == []
    assert contents(second, second.snapshot("latest")) == contents(repository, newest) == FILES | {"a.txt": noise(9000, 4)}


def test_where_no_repository_is_one_is_told_so(access: S3Access, place: str) -> None:
    with pytest.raises(NotFound, match="repository"):
        backup.open_repository(Objects.at(place, access), None)


def test_what_is_uploaded_names_its_checksum_without_which_a_lock_takes_nothing(rclone: str) -> None:
    Objects.at("s3://bucket", S3Access(rclone, *KEYS, use_ssl=False)).put("checked", b"alpha")
    kept = httpx.head(f"http://{rclone}/bucket/checked", auth=AWS4Auth(*KEYS, "us-east-1", "s3"), trust_env=False)
    assert base64.b64decode(kept.headers["x-amz-checksum-sha256"]) == hashlib.sha256(b"alpha").digest()


@pytest.fixture
def locked(moto: str) -> tuple[str, Objects]:
    """A bucket that keeps every version of everything for a day, whoever deletes it; and where it is."""
    name = f"locked-{uuid.uuid4().hex}"
    access = S3Access(moto, *KEYS, use_ssl=False)
    lock = (
        '<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>'
        "<DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
    )
    with BucketApi(name, access) as api:
        api.create(lockable=True)
        assert api.change("object-lock", lock.encode()).good
    store = Objects.at(f"s3://{name}", access)._backend
    assert isinstance(store, S3Store)
    # moto looks for the name of the checksum that Amazon finds by itself.
    named = {"x-amz-sdk-checksum-algorithm": "SHA256"}
    return f"http://{moto}/{name}", Objects(S3Store(config=store.config, client_options={"allow_http": True, "default_headers": named}))


def test_what_is_deleted_from_a_locked_bucket_is_hidden_and_can_be_uncovered(locked: tuple[str, Objects]) -> None:
    address, objects = locked
    repository = made(objects, pack_bytes=500)
    first, second = ({"a": noise(400, number), "same": b"same"} for number in range(2))
    older = take(repository, bucket(first)[1])
    take(repository, bucket(second)[1], NOON + HOUR, "full")
    for hours in (3, 30):  # a prune works as ever: a lock keeps versions, and refuses no deletion that names none
        done = backup.prune(repository, Keep(yearly=1), NOON + hours * HOUR)
    assert done.deleted
    assert faults(repository) == []
    for info in list(objects.list()):  # and now somebody malicious
        objects.delete(info.key)
    assert list(objects.list()) == []
    with httpx.Client(trust_env=False) as client:
        versions = parsed(client.get(f"{address}?versions").content)
        one = versions.find("Version")
        assert one is not None
        refused = client.delete(f"{address}/{one.findtext('Key')}", params={"versionId": one.findtext("VersionId", "")})
        assert refused.status_code == 403
        for marker in versions.iter("DeleteMarker"):
            client.delete(f"{address}/{marker.findtext('Key')}", params={"versionId": marker.findtext("VersionId", "")}).raise_for_status()
    uncovered = backup.open_repository(objects, None)
    assert faults(uncovered) == []
    assert contents(uncovered, uncovered.snapshot("latest")) == second
    assert contents(uncovered, uncovered.snapshot(older.id)) == first
