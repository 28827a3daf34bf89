"""What an object store must do: a directory, memory, and two S3 servers of different make."""

import io
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tollhouse.kit.errors import NotFound, TollhouseError, Unavailable, Unprocessable
from tollhouse.store.objects import Objects, S3Access

KEYS = ("accesskey", "secretkey-long")


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """rclone's S3 server over a directory."""
    root = tmp_path_factory.mktemp("rclone")
    (root / "bucket").mkdir()
    command = [str(Path(sys.executable).with_name("rclone")), "serve", "s3", str(root), "--addr", "127.0.0.1:0"]
    command += ["--auth-key", ",".join(KEYS), "--config", os.devnull, "-v"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield next(found.group() for line in process.stderr if (found := re.search(r"127\.0\.0\.1:[1-9]\d*", line)))
        process.terminate()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """moto's S3 server, in memory, in a process of its own."""
    program = (
        "import sys; from moto.server import ThreadedMotoServer as Server; server = Server(ip_address='127.0.0.1', port=0); "
        "server.start(); print('READY %s:%s' % server.get_host_and_port(), flush=True); sys.stdin.read(); server.stop()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        address = next(found.group(1) for line in process.stdout if (found := re.search(r"READY (\S+)", line)))
        httpx.put(f"http://{address}/bucket", trust_env=False).raise_for_status()
        yield address
        process.communicate()


@pytest.fixture(params=["directory", "memory", "rclone", "moto"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "directory":
        return Objects.at(str(tmp_path / "objects"))
    if request.param == "memory":
        return Objects.at("memory://")
    endpoint = request.getfixturevalue(request.param)
    return Objects.at(f"s3://bucket/{uuid.uuid4().hex}", S3Access(endpoint, *KEYS, use_ssl=False))


def test_what_is_put_comes_back_whole_in_part_and_in_chunks(objects: Objects) -> None:
    content = os.urandom(3 << 20)
    objects.put("a/b c/ü.bin", content)
    assert objects.get("a/b c/ü.bin") == content
    assert objects.head("a/b c/ü.bin").size == len(content)
    assert objects.range("a/b c/ü.bin", 1000, 5) == content[1000:1005]
    assert objects.range("a/b c/ü.bin", len(content) - 2, 100) == content[-2:]
    assert b"".join(objects.stream("a/b c/ü.bin", 1 << 16)) == content


def test_a_file_larger_than_one_part_is_put_from_its_handle(objects: Objects) -> None:
    objects.put("large", io.BytesIO(b"0123456789abcdef" * (1 << 20)))
    assert objects.head("large").size == 16 << 20


def test_putting_again_replaces(objects: Objects) -> None:
    objects.put("key", b"one")
    objects.put("key", b"two!")
    assert objects.get("key") == b"two!"


def test_listing_names_what_is_under_a_folder(objects: Objects) -> None:
    for key in ("a/1", "a/2", "b/1"):
        objects.put(key, b"x")
    assert sorted(info.key for info in objects.list("a")) == ["a/1", "a/2"]
    assert len(list(objects.list())) == 3


def test_what_is_deleted_is_gone_and_deleting_it_again_is_no_error(objects: Objects) -> None:
    objects.put("key", b"x")
    objects.delete("key")
    objects.delete("key")
    with pytest.raises(NotFound, match="key"):
        objects.get("key")
    with pytest.raises(NotFound):
        objects.head("key")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../up", "a//b", "a\\b", "a/\0", "a\nb", "./a", "x" * 1001])
def test_a_key_that_would_leave_the_store_is_refused(objects: Objects, key: str) -> None:
    with pytest.raises(Unprocessable, match="key"):
        objects.put(key, b"x")
    with pytest.raises(Unprocessable):
        objects.get(key)


def test_a_presigned_address_reads_and_writes_one_object_without_a_key(objects: Objects, request: pytest.FixtureRequest) -> None:
    s3 = request.node.callspec.params["objects"] in ("rclone", "moto")
    if not s3:
        with pytest.raises(Unprocessable, match="s3"):
            objects.presign("key", "PUT", 60)
        return
    assert httpx.put(objects.presign("key", "PUT", 60), content=b"direct", trust_env=False).is_success
    assert httpx.get(objects.presign("key", "GET", 60), trust_env=False).content == b"direct"


def test_a_server_that_is_not_there_is_said_to_be_unavailable() -> None:
    lost = Objects.at("s3://bucket", S3Access("127.0.0.1:9", *KEYS, use_ssl=False))
    with pytest.raises(Unavailable) as told:
        lost.get("key")
    assert isinstance(told.value, TollhouseError)
