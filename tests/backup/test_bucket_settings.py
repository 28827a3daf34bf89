"""What S3 knows of a bucket beside its objects, on a server that knows all of it, on one that knows none, and on one that lies."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from tests.backup.parts import HOUR, NOON, contents, folder, made, take
from tests.contract.test_objects import KEYS, moto, rclone
from tests.scenarios.command_line import CommandLine
from tests.scenarios.serving import House, client
from tollhouse import backup
from tollhouse.app import opened
from tollhouse.backup import Selection, Source
from tollhouse.backup.configuration import settings_changed as changed
from tollhouse.backup.configuration import settings_shown as lines
from tollhouse.backup.sources import bucket_settings
from tollhouse.backup.sources.bucket import BucketSource
from tollhouse.backup.sources.directory import DirectoryTarget
from tollhouse.cli.embedded import served
from tollhouse.kit.errors import BadInput, Conflict, Damaged, NotFound
from tollhouse.settings import Settings
from tollhouse.store.bucket_api import MOST_BYTES, BucketApi, parsed
from tollhouse.store.objects import Objects, S3Access

__all__ = ["moto", "rclone"]
XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
EVERY = {
    "versioning": f"<VersioningConfiguration {XMLNS}><Status>Enabled</Status></VersioningConfiguration>",
    "encryption": f"<ServerSideEncryptionConfiguration {XMLNS}><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256"
    "</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>",
    "tags": f"<Tagging {XMLNS}><TagSet><Tag><Key>team</Key><Value>music &amp; film</Value></Tag>"
    "<Tag><Key>cost</Key><Value>7</Value></Tag></TagSet></Tagging>",
    "cors": f"<CORSConfiguration {XMLNS}><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>"
    "<AllowedOrigin>https://example.org</AllowedOrigin></CORSRule></CORSConfiguration>",
    "lifecycle": f"<LifecycleConfiguration {XMLNS}><Rule><Expiration><Days>30</Days></Expiration><ID>old</ID>"
    "<Filter><Prefix>tmp/</Prefix></Filter><Status>Enabled</Status></Rule></LifecycleConfiguration>",
    "ownership": f"<OwnershipControls {XMLNS}><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
    "public access": f"<PublicAccessBlockConfiguration {XMLNS}><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>"
    "<BlockPublicPolicy>false</BlockPublicPolicy><RestrictPublicBuckets>false</RestrictPublicBuckets></PublicAccessBlockConfiguration>",
    "policy": json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": "*"}]}
    ),
}
SUSPENDED = EVERY["versioning"].replace("Enabled", "Suspended")


@pytest.fixture
def s3(moto: str) -> S3Access:
    return S3Access(moto, *KEYS, use_ssl=False)


@pytest.fixture
def plain_s3(rclone: str) -> S3Access:
    """A server that knows objects alone."""
    return S3Access(rclone, *KEYS, use_ssl=False)


@pytest.fixture
def repository() -> backup.Repository:
    return made(Objects(MemoryStore()))


def new_bucket(access: S3Access, settings: dict[str, str] | None = None, lockable: bool = False) -> str:
    """A bucket with these settings; returns its name."""
    with BucketApi(f"b-{uuid.uuid4().hex}", access) as api:
        api.create(lockable)
        for name, value in (settings or {}).items():
            bucket_settings.put(api, name, value)
    return api.bucket


def settings_of(access: S3Access, bucket: str) -> dict[str, Any]:
    with BucketApi(bucket, access) as api:
        return bucket_settings.read(api)


def source(access: S3Access, bucket: str) -> Source:
    return backup.source_at(f"s3://{bucket}", access)


def put_back(
    access: S3Access, repository: backup.Repository, to: str, overwrite: bool = False, dry_run: bool = False, told: bool = True
) -> backup.Restored:
    target = backup.target_at(f"s3://{to}", access)
    latest = repository.snapshot("latest")
    return backup.restore(repository, latest, target, overwrite=overwrite, dry_run=dry_run, configuration=told)


# Reading and putting back


def test_every_setting_is_in_the_snapshot_and_comes_back_in_a_bucket_that_was_not_there(
    s3: S3Access, repository: backup.Repository
) -> None:
    bucket = new_bucket(s3, EVERY)
    Objects.at(f"s3://{bucket}", s3).put("a", b"alpha")
    snapshot = take(repository, source(s3, bucket))
    kept = snapshot.collections[0].configuration
    assert (kept["settings"], kept["unset"], kept["unknown"], kept["unreadable"]) == (EVERY, ["object lock"], [], {})
    done = put_back(s3, repository, "restored-to")
    assert (done.errors, done.settings) == ([], dict.fromkeys(EVERY, "create"))
    assert settings_of(s3, "restored-to")["settings"] == EVERY
    assert Objects.at("s3://restored-to", s3).get("a") == b"alpha"
    assert set(put_back(s3, repository, "restored-to").settings.values()) == {"identical"}


def test_a_bucket_without_objects_has_settings_all_the_same(s3: S3Access, repository: backup.Repository) -> None:
    take(repository, source(s3, new_bucket(s3, {"tags": EVERY["tags"]})), kind="metadata")
    to = new_bucket(s3)
    assert put_back(s3, repository, to).settings == {"tags": "create"}
    assert settings_of(s3, to)["settings"] == {"tags": EVERY["tags"]}


def test_a_bucket_that_is_not_there_is_not_made_unless_told(s3: S3Access, repository: backup.Repository) -> None:
    bucket = new_bucket(s3, {"tags": EVERY["tags"]})
    Objects.at(f"s3://{bucket}", s3).put("a", b"alpha")
    take(repository, source(s3, bucket))
    with pytest.raises(NotFound, match="no bucket misspelt; make it, or say --configuration"):
        put_back(s3, repository, "misspelt", told=False)
    planned = put_back(s3, repository, "misspelt", dry_run=True)
    assert (planned.actions["create"], planned.settings) == (["a"], {"tags": "create"})
    with BucketApi("misspelt", s3) as api:
        assert not api.exists()


def test_settings_that_differ_are_kept_unless_they_may_be_overwritten(s3: S3Access, repository: backup.Repository) -> None:
    take(repository, source(s3, new_bucket(s3, EVERY)))
    other = {"versioning": SUSPENDED, "policy": EVERY["policy"].replace("DeleteBucket", "PutObject"), "tags": EVERY["tags"]}
    to = new_bucket(s3, other)
    planned = put_back(s3, repository, to, dry_run=True)
    done = put_back(s3, repository, to)
    assert planned.settings == done.settings
    assert {name for name, action in done.settings.items() if action == "keep"} == {"versioning", "policy"}
    assert {error["key"] for error in done.errors} == {"setting versioning", "setting policy"}
    assert settings_of(s3, to)["settings"] == EVERY | other
    again = put_back(s3, repository, to, overwrite=True)
    assert again.errors == []
    assert {name for name, action in again.settings.items() if action == "overwrite"} == {"versioning", "policy"}
    assert settings_of(s3, to)["settings"] == EVERY


def test_a_dry_run_changes_no_setting(s3: S3Access, repository: backup.Repository) -> None:
    take(repository, source(s3, new_bucket(s3, EVERY)))
    to = new_bucket(s3, {"versioning": SUSPENDED})
    assert put_back(s3, repository, to, overwrite=True, dry_run=True).settings["versioning"] == "overwrite"
    assert settings_of(s3, to)["settings"] == {"versioning": SUSPENDED}


def test_what_was_not_asked_for_is_left_and_said(s3: S3Access, repository: backup.Repository) -> None:
    bucket = new_bucket(s3, EVERY)
    Objects.at(f"s3://{bucket}", s3).put("a", b"alpha")
    take(repository, source(s3, bucket))
    to = new_bucket(s3, {"tags": EVERY["tags"]})
    done = put_back(s3, repository, to, told=False)
    assert done.settings == dict.fromkeys(EVERY, "left") | {"tags": "identical"}
    assert done.errors == []
    assert settings_of(s3, to)["settings"] == {"tags": EVERY["tags"]}


def test_a_setting_that_was_not_set_then_stays_as_it_is(s3: S3Access, repository: backup.Repository) -> None:
    take(repository, source(s3, new_bucket(s3, {"tags": EVERY["tags"]})))
    to = new_bucket(s3, {"cors": EVERY["cors"]})
    put_back(s3, repository, to, overwrite=True)
    assert settings_of(s3, to)["settings"] == {"tags": EVERY["tags"], "cors": EVERY["cors"]}


def test_settings_go_to_buckets_and_come_from_buckets(s3: S3Access, repository: backup.Repository, tmp_path: Path) -> None:
    bucket = new_bucket(s3, EVERY)
    Objects.at(f"s3://{bucket}", s3).put("a", b"alpha")
    snapshot = take(repository, source(s3, bucket))
    assert backup.restore(repository, snapshot, backup.target_at("memory://", s3)).settings == {}
    source_of_none = backup.target_at(f"s3://{bucket}", s3)
    Objects.at(f"s3://{bucket}", s3).put("a", b"omega")
    for one, target in ((snapshot, DirectoryTarget(tmp_path)), (take(repository, folder(tmp_path / "b", {"a": b""})), source_of_none)):
        with pytest.raises(BadInput, match="Settings are those of buckets"):
            backup.restore(repository, one, target, configuration=True, overwrite=True)
    assert not (tmp_path / "a").exists()
    assert Objects.at(f"s3://{bucket}", s3).get("a") == b"omega"


def test_tags_in_another_order_are_the_same_tags(s3: S3Access, repository: backup.Repository) -> None:
    take(repository, source(s3, new_bucket(s3, {"tags": EVERY["tags"]})))
    first, second = (f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in (("team", "music &amp; film"), ("cost", "7")))
    to = new_bucket(s3, {"tags": EVERY["tags"].replace(first + second, second + first)})
    assert put_back(s3, repository, to).settings == {"tags": "identical"}


def test_a_bucket_with_an_object_lock_is_made_as_one(s3: S3Access, repository: backup.Repository) -> None:
    lock = (
        f"<ObjectLockConfiguration {XMLNS}><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
        "<Mode>GOVERNANCE</Mode><Days>1</Days><Years>0</Years></DefaultRetention></Rule></ObjectLockConfiguration>"
    )
    bucket = new_bucket(s3, lockable=True)
    with BucketApi(bucket, s3) as api:
        assert api.change("object-lock", lock.replace("<Years>0</Years>", "").encode()).good
    take(repository, source(s3, bucket))
    assert put_back(s3, repository, "locked-again", dry_run=True).settings == {"versioning": "create", "object lock": "create"}
    done = put_back(s3, repository, "locked-again")
    # A lock needs versions, and a new bucket has one without a retention: it is replaced, because nobody chose it.
    assert (done.errors, done.settings) == ([], {"versioning": "identical", "object lock": "overwrite"})
    assert settings_of(s3, "locked-again")["settings"] == {"versioning": EVERY["versioning"], "object lock": lock}


# Between snapshots, and for people


def test_a_diff_names_the_settings_that_changed(s3: S3Access, repository: backup.Repository) -> None:
    bucket = new_bucket(s3, {"versioning": EVERY["versioning"], "cors": EVERY["cors"]})
    older = take(repository, source(s3, bucket))
    with BucketApi(bucket, s3) as api:
        bucket_settings.put(api, "versioning", SUSPENDED)
        bucket_settings.put(api, "tags", EVERY["tags"])
    newer = take(repository, source(s3, bucket), NOON + HOUR)
    address = f"s3://{bucket}"
    assert changed(older.collections, newer.collections) == [("added", address, "tags"), ("changed", address, "versioning")]
    assert changed(newer.collections, older.collections)[0] == ("removed", address, "tags")
    assert changed(newer.collections, newer.collections) == []


def test_what_could_not_be_read_is_not_said_to_have_changed(repository: backup.Repository) -> None:
    def collections(**values: Any) -> list[backup.Collection]:
        return [backup.Collection("s3://b", "objects", [], 0, 0, {"settings": {}, "unset": [], "unknown": [], "unreadable": {}} | values)]

    told, untold = collections(settings={"policy": "{}"}), collections(unreadable={"policy": "403 AccessDenied"})
    assert changed(told, untold) == changed(untold, told) == changed(told, collections(unknown=["policy"])) == []


def test_settings_are_said_in_a_line_each(s3: S3Access) -> None:
    shown = dict(lines(settings_of(s3, new_bucket(s3, EVERY))))
    assert shown["versioning"] == "Status Enabled"
    assert shown["tags"] == "team=music & film, cost=7"
    assert shown["lifecycle"] == "Rule Expiration Days 30, ID old, Filter Prefix tmp/, Status Enabled"
    assert shown["policy"] == EVERY["policy"]
    assert shown["not set"] == "object lock"


# On the command line


def test_a_store_that_is_lost_comes_back_with_its_settings_on_a_new_server(s3: S3Access, command_line: CommandLine, tmp_path: Path) -> None:
    bucket, address = new_bucket(s3, EVERY), "s3://lost-and-found"
    Objects.at(f"s3://{bucket}", s3).put("a", b"alpha", tags={"kind": "page"})
    environment = {"MINIO_ENDPOINT": s3.endpoint, "MINIO_ACCESS_KEY": KEYS[0], "MINIO_SECRET_KEY": KEYS[1], "MINIO_USE_SSL": "false"}

    def say(*words: str, code: int = 0) -> Any:
        return command_line.answer("backup", *words, "--repository", "repo", folder=tmp_path, environment=environment, code=code)

    assert command_line.run("backup", "init", "repo", "--plain", folder=tmp_path).returncode == 0
    older = say("full", "--source", f"s3://{bucket}")["id"]
    wanted = ("restore", "full", "--to", address)
    assert "say --configuration" in say(*wanted, code=4)
    planned = say(*wanted, "--configuration", "--dry-run")
    assert (planned["actions"]["create"], planned["settings"]) == (["a"], dict.fromkeys(EVERY, "create"))
    assert say(*wanted, "--configuration")["settings"] == dict.fromkeys(EVERY, "create")
    assert settings_of(s3, "lost-and-found")["settings"] == EVERY
    assert say("show")["sources"][0]["configuration"]["settings"] == EVERY
    with BucketApi(bucket, s3) as api:
        bucket_settings.put(api, "versioning", SUSPENDED)
    say("metadata", "--source", f"s3://{bucket}")
    assert say("diff", older)["settings"] == [{"change": "changed", "source": f"s3://{bucket}", "setting": "versioning"}]
    assert say("restore", "metadata", "--to", address, "--configuration")["settings"]["versioning"] == "overwrite"
    assert settings_of(s3, "lost-and-found")["settings"]["versioning"] == SUSPENDED


def test_people_are_shown_settings_and_told_which_were_left(s3: S3Access, command_line: CommandLine, tmp_path: Path) -> None:
    bucket, to = new_bucket(s3, EVERY), new_bucket(s3)
    Objects.at(f"s3://{bucket}", s3).put("a", b"alpha")
    environment = {"MINIO_ENDPOINT": s3.endpoint, "MINIO_ACCESS_KEY": KEYS[0], "MINIO_SECRET_KEY": KEYS[1], "MINIO_USE_SSL": "false"}

    def say(*words: str) -> str:
        told = command_line.run("backup", *words, "--repository", "repo", folder=tmp_path, environment=environment)
        assert told.returncode == 0, told.stderr
        return told.stdout

    command_line.run("backup", "init", "repo", "--plain", folder=tmp_path)
    say("full", "--source", f"s3://{bucket}")
    shown = say("show")
    assert "team=music & film" in shown
    assert "not set" in shown
    assert "Settings of the bucket that differ: versioning, encryption" in say("restore", "full", "--to", f"s3://{to}")
    assert "Settings: versioning create" in say("restore", "full", "--to", f"s3://{to}", "--configuration")


def test_a_server_puts_settings_back_when_it_is_asked_to(s3: S3Access, tmp_path: Path) -> None:
    bucket = new_bucket(s3, EVERY)
    Objects.at(f"s3://{bucket}", s3).put("a", b"alpha")
    made(Objects.at(str(tmp_path / "repository")))
    data, (key, secret) = tmp_path / "data", KEYS
    settings = Settings(data=data, s3_endpoint=s3.endpoint, s3_access_key=key, s3_secret_key=secret, s3_use_ssl=False)
    with opened(settings) as tollhouse, served(tollhouse) as url, client(url, House(tollhouse, url).operator) as operator:
        wanted = {"source": f"s3://{bucket}", "repository": str(tmp_path / "repository")}
        run = operator.post("/api/backups", json=wanted).json()
        where = {"to": "s3://asked-for-over-http", "configuration": True}
        planned = operator.post(f"/api/backups/{run['id']}/restore", json=where).json()
        assert (planned["dry_run"], planned["settings"]) == (True, dict.fromkeys(EVERY, "create"))
        operator.post(f"/api/backups/{run['id']}/restore", json=where | {"dry_run": False}).raise_for_status()
    assert settings_of(s3, "asked-for-over-http")["settings"] == EVERY


# A server that knows objects alone


def test_a_server_without_settings_has_its_objects_backed_up_and_the_rest_named(plain_s3: S3Access, repository: backup.Repository) -> None:
    bucket = new_bucket(plain_s3)
    objects = Objects.at(f"s3://{bucket}", plain_s3)
    objects.put("a", b"alpha", "text/x-test")
    snapshot = take(repository, source(plain_s3, bucket))
    kept = snapshot.collections[0].configuration
    assert snapshot.complete
    assert (kept["settings"], kept["unreadable"], kept["unset"]) == ({}, {}, ["versioning"])
    assert set(kept["unknown"]) == {one.name for one in bucket_settings.SETTINGS} - {"versioning"} | {"tags of objects"}
    assert dict(lines(kept))["not known to the server"].startswith("object lock, encryption")


def test_settings_are_never_sent_to_a_server_that_does_not_know_them(
    s3: S3Access, plain_s3: S3Access, repository: backup.Repository
) -> None:
    """It would take them for an object's content, or for a bucket to be made."""
    bucket = new_bucket(s3, EVERY)
    Objects.at(f"s3://{bucket}", s3).put("a", b"alpha", tags={"kind": "page"})
    take(repository, source(s3, bucket))
    done = put_back(plain_s3, repository, "made-here", overwrite=True)
    assert Objects.at("s3://made-here", plain_s3).get("a") == b"alpha"
    assert {name for name, action in done.settings.items() if action == "unable"} == EVERY.keys() - {"versioning"}
    reasons = {error["key"]: error["reason"] for error in done.errors}
    assert reasons["setting versioning"] == "the server refuses it: 501 NotImplemented"
    assert reasons["setting policy"] == "the server does not know it, or does not tell it"


# Tags and versions of objects


def test_tags_of_objects_go_around(s3: S3Access, repository: backup.Repository) -> None:
    bucket = new_bucket(s3)
    objects = Objects.at(f"s3://{bucket}/deep er", s3)
    objects.put("ü/a+b c%20d.txt", b"alpha", "text/x-test", metadata={"owner": "carol"}, tags={"kind": "page", "a b": "c/d=e"})
    objects.put("film", b"\0" * (12 << 20), tags={"kind": "film"})
    objects.put("plain", b"x")
    snapshot = take(repository, backup.source_at(f"s3://{bucket}/deep er", s3))
    tags = {entry.key: entry.tags for entry in backup.selected(repository, snapshot, Selection())}
    assert tags == {"ü/a+b c%20d.txt": {"kind": "page", "a b": "c/d=e"}, "film": {"kind": "film"}, "plain": {}}
    to = new_bucket(s3)
    assert backup.restore(repository, snapshot, backup.target_at(f"s3://{to}", s3)).errors == []
    back = take(made(Objects(MemoryStore())), source(s3, to))
    assert back.objects == 3
    with BucketApi(to, s3) as api:
        assert b"c/d=e" in (api.tags("ü/a+b c%20d.txt").content or b"")
        assert b"film" in (api.tags("film").content or b"")


def test_tags_that_were_lost_come_back_with_the_metadata(s3: S3Access, repository: backup.Repository) -> None:
    bucket = new_bucket(s3)
    objects = Objects.at(f"s3://{bucket}", s3)
    objects.put("a", b"alpha", "text/x-test", tags={"kind": "page"})
    snapshot = take(repository, source(s3, bucket), kind="metadata")
    objects.put("a", b"alpha")
    assert backup.restore(repository, snapshot, backup.target_at(f"s3://{bucket}", s3), "metadata").errors == []
    assert objects.attributes("a")[0] == "text/x-test"
    with BucketApi(bucket, s3) as api:
        assert b"<Value>page</Value>" in (api.tags("a").content or b"")


def test_tags_are_asked_for_once_an_object_and_not_again_while_it_is_unchanged(
    s3: S3Access, repository: backup.Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = BucketApi.tags
    monkeypatch.setattr(BucketApi, "tags", lambda api, key: asked.append(key) or real(api, key))  # type: ignore[func-returns-value]
    bucket = new_bucket(s3)
    objects = Objects.at(f"s3://{bucket}", s3)
    for key in ("a", "b"):
        objects.put(key, key.encode(), tags={"key": key})
    take(repository, source(s3, bucket))
    objects.put("b", b"new", tags={"key": "new"})
    again = take(repository, source(s3, bucket), NOON + HOUR)
    assert sorted(asked) == ["a", "b", "b"]
    assert {entry.key: entry.tags for entry in backup.selected(repository, again, Selection())} == {"a": {"key": "a"}, "b": {"key": "new"}}


def test_an_object_whose_tags_the_target_refuses_is_restored_without_them(s3: S3Access, repository: backup.Repository) -> None:
    class Tagged(BucketSource):
        def _tags(self, key: str) -> dict[str, str]:
            return {"kind": "film & page"}

    bucket = new_bucket(s3)
    Objects.at(f"s3://{bucket}", s3).put("a", b"alpha")
    snapshot = take(repository, Tagged(Objects.at(f"s3://{bucket}", s3), f"s3://{bucket}"))
    to = new_bucket(s3)
    done = backup.restore(repository, snapshot, backup.target_at(f"s3://{to}", s3))
    assert Objects.at(f"s3://{to}", s3).get("a") == b"alpha"
    assert [error["reason"] for error in done.errors] == ["the server refuses the tags of 1 objects, such as a; all else of them is there"]


def test_the_version_of_an_object_is_kept_where_the_bucket_has_versions(s3: S3Access, repository: backup.Repository) -> None:
    bucket = new_bucket(s3, {"versioning": EVERY["versioning"]})
    objects = Objects.at(f"s3://{bucket}", s3)
    versions = []
    for at, content in enumerate((b"one", b"two")):
        objects.put("a", content)
        snapshot = take(repository, source(s3, bucket), NOON + at * HOUR)
        versions += [entry.version for entry in backup.selected(repository, snapshot, Selection())]
    assert len(set(versions)) == 2
    assert None not in versions


def test_an_object_that_is_changed_while_it_is_read_is_read_again(s3: S3Access, repository: backup.Repository) -> None:
    bucket = new_bucket(s3, {"versioning": EVERY["versioning"]})
    objects = Objects.at(f"s3://{bucket}", s3)
    objects.put("a", b"old", "text/old")

    class Overtaken(BucketSource):
        looks = 0

        def describe(self, found: Any) -> Any:
            described = super().describe(found)
            self.looks += 1
            if self.looks == 1:
                objects.put("a", b"newer", "text/new", tags={"age": "new"})
            return described

    overtaken = Overtaken(objects, f"s3://{bucket}", BucketApi(bucket, s3))
    snapshot = take(repository, overtaken)
    (entry,) = backup.selected(repository, snapshot, Selection())
    assert contents(repository, snapshot) == {"a": b"newer"}
    now = objects.head("a")
    assert (entry.content_type, entry.tags, entry.size, entry.etag) == ("text/new", {"age": "new"}, 5, now.etag)
    assert overtaken.looks == 2


def test_two_buckets_are_one_snapshot_with_the_settings_of_each(s3: S3Access, repository: backup.Repository) -> None:
    first, second = new_bucket(s3, {"tags": EVERY["tags"]}), new_bucket(s3, {"cors": EVERY["cors"]})
    snapshot = backup.take(repository, [source(s3, first), source(s3, second)], NOON, backup.Order("full"))
    assert [list(one.configuration["settings"]) for one in snapshot.collections] == [["tags"], ["cors"]]
    to = new_bucket(s3)
    chosen = Selection(source=f"s3://{second}")
    backup.restore(repository, snapshot, backup.target_at(f"s3://{to}", s3), chosen=chosen, configuration=True)
    assert list(settings_of(s3, to)["settings"]) == ["cors"]


@pytest.mark.parametrize("key", ["a#b", "a?b=c", "a*[1]{2}", "q'\"~|^`", "a&b=c;d+e", "at@,$!()", "100%", "a%20b/ü 日本"])
def test_questions_about_odd_keys_are_signed_as_the_server_reads_them(plain_s3: S3Access, key: str) -> None:
    Objects.at("s3://bucket", plain_s3).put(key, b"alpha")
    with BucketApi("bucket", plain_s3) as api:  # this server gives the content for an answer, once it has checked the signature
        assert (api.tags(key).status, api.tags(key).content) == (200, b"alpha")


# Servers that refuse, break or lie

Answered = Callable[[str], tuple[int, bytes]]


@contextmanager
def serving(answered: Answered) -> Iterator[S3Access]:
    """A server that gives what `answered` says to a path with its query."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answered(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_PUT = do_GET

        def log_message(self, *words: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield S3Access(f"127.0.0.1:{server.server_port}", *KEYS, use_ssl=False)
        server.shutdown()
        thread.join()


def error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>…</Message></Error>".encode()


BOMB = b'<!DOCTYPE l [<!ENTITY a "%s">%s]><VersioningConfiguration><Status>&l;</Status></VersioningConfiguration>' % (
    b"x" * 1000,
    b"".join(b'<!ENTITY %c "%s">' % (98 + at, b"&%c;" % (97 + at) * 20) for at in range(11)),
)
HOSTILE = {
    "entities": (BOMB, "declares a document type"),
    "deep": (b"<a>" * 100_000, "too deep"),
    "endless": (b"<a>" + b"x" * (2 * MOST_BYTES), "no XML"),
    "no XML": (b"\0\1\2", "no XML"),
    "odd encoding": (b'<?xml version="1.0" encoding="rot13"?><a/>', ""),
    "nothing": (b"", "no XML"),
}


@pytest.mark.parametrize(("content", "why"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_is_named_and_brings_nothing_down(content: bytes, why: str) -> None:
    with serving(lambda path: (200, content)) as access:
        found = settings_of(access, "bucket")
    assert (found["settings"], found["unset"]) == ({}, [])
    assert why in found["unreadable"]["versioning"]
    assert len(json.dumps(found)) < 5000


def test_a_policy_that_is_none_is_not_kept() -> None:
    for content in (b"[" * 200_000, b"7", b"{", b"\xff"):
        with serving(lambda path, content=content: (200, content)) as access:  # type: ignore[misc]
            assert settings_of(access, "bucket")["unreadable"]["policy"] == "the answer is no policy"


def test_what_these_keys_may_not_read_is_named_with_the_servers_word() -> None:
    def answered(path: str) -> tuple[int, bytes]:
        if "policy" in path:
            return 403, error("AccessDenied")
        return (501, error("NotImplemented")) if "cors" in path else (404, error("NoSuchTagSet")) if "tagging" in path else (400, b"?")

    with serving(answered) as access:
        found = settings_of(access, "bucket")
    assert found["unreadable"]["policy"] == "403 AccessDenied"
    assert found["unreadable"]["lifecycle"] == "400"
    assert (found["unset"], found["unknown"]) == (["tags"], ["cors"])
    assert dict(lines(found))["NOT READ: policy"] == "403 AccessDenied"


def test_wrong_keys_and_a_server_that_is_gone_are_named(plain_s3: S3Access) -> None:
    wrong = S3Access(plain_s3.endpoint, KEYS[0], "wrong", use_ssl=False)
    assert set(settings_of(wrong, "bucket")["unreadable"].values()) == {"403 SignatureDoesNotMatch"}
    gone = settings_of(S3Access("127.0.0.1:9", *KEYS, use_ssl=False), "bucket")
    assert set(gone["unreadable"].values()) == {"The object store does not answer: ConnectError."}


def test_a_server_in_trouble_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollhouse.store.bucket_api.PAUSES", (0, 0))
    asked: list[str] = []

    def answered(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return (503, error("SlowDown")) if len(asked) < 3 else (200, EVERY["versioning"].encode())

    with serving(answered) as access:
        assert settings_of(access, "bucket")["settings"]["versioning"] == EVERY["versioning"]


def test_a_change_that_did_not_happen_is_no_success() -> None:
    unmoved = serving(lambda path: (200, SUSPENDED.encode()))
    with unmoved as access, BucketApi("bucket", access) as api, pytest.raises(Damaged, match="reads back differently"):
        bucket_settings.put(api, "versioning", EVERY["versioning"])
    with serving(lambda path: (409, error("OperationAborted"))) as access, BucketApi("bucket", access) as api:
        with pytest.raises(Conflict, match="refuses it: 409 OperationAborted"):
            bucket_settings.put(api, "versioning", EVERY["versioning"])
        with pytest.raises(Conflict, match="cannot be made"):
            api.create(False)


def test_a_document_keeps_no_attributes_and_no_namespace() -> None:
    root = parsed(b'<a xmlns="urn:x" b="c"><d e="f">g</d></a>')
    assert [(one.tag, one.attrib) for one in root.iter()] == [("a", {}), ("d", {})]
