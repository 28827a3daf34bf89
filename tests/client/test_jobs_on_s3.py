"""The same calls where files lie in S3: they go there and come from there by presigned addresses, not through Tollhouse."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.client.networks import Network
from tollhouse.app import opened
from tollhouse.cli.embedded import served
from tollhouse.settings import Settings
from tollhouse_client import Client, Worker

KEYS = ("accesskey", "secretkey-long")


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """rclone's S3 server, with one bucket."""
    (tmp_path / "s3" / "bucket").mkdir(parents=True)
    command = [str(Path(sys.executable).with_name("rclone")), "serve", "s3", str(tmp_path / "s3"), "--addr", "127.0.0.1:0"]
    command += ["--auth-key", ",".join(KEYS), "--config", os.devnull, "-v"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield next(found.group() for line in process.stderr if (found := re.search(r"127\.0\.0\.1:[1-9]\d*", line)))
        process.terminate()


def test_files_go_to_the_bucket_and_come_from_it(bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    settings = Settings(
        data=tmp_path / "data",
        objects_url="s3://bucket/files",
        s3_endpoint=bucket,
        s3_access_key=KEYS[0],
        s3_secret_key=KEYS[1],
        s3_use_ssl=False,
    )
    text = tmp_path / "a.txt"
    text.write_bytes(b"line\n" * 100_000)
    with opened(settings) as tollhouse, served(tollhouse) as url:
        assert tollhouse.first_keys is not None
        key = tollhouse.first_keys.secret
        network = Hosts()
        with Client(url, key, spool_dir=None, transport=network) as app:
            made = app.create_job("carol", "echo", uploads=[app.upload("carol", text)])
            worker = Worker(url, key)
            worker.job("echo")(lambda job: job.files[0].path())
            worker.run(until_idle=True)
            assert app.job(made["id"])["error"] is None
            assert app.download(made["id"], tmp_path / "back.txt").read_bytes() == text.read_bytes()
        assert network.seen == {("PUT", bucket), ("GET", bucket)}
    assert "/api/jobs/claim" in caplog.text
    assert "X-Amz-Signature" not in caplog.text, "whoever reads the log can open customers' files"


class Hosts(Network):
    """Remembers which files were sent to whom, and fetched from whom."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, str]] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.startswith("/api/"):
            self.seen.add((request.method, request.url.netloc.decode()))
        return super().handle_request(request)
