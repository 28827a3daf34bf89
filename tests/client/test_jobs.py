"""The calls about jobs, against a whole Tollhouse."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client.networks import Cutting, Deaf, Network
from tests.scenarios.serving import House, Tenant
from tollhouse_client import Client, TollhouseError, Worker


@pytest.fixture
def app(house: House, manga: Tenant) -> Iterator[Client]:
    with Client(house.url, manga.secret, spool_dir=None) as client:
        yield client


def echo(house: House, manga: Tenant) -> None:
    """Do every job that waits: its files come back."""
    worker = Worker(house.url, manga.secret)
    worker.job("echo")(lambda job: [file.path() for file in job.files])
    worker.run(until_idle=True)


def through(house: House, manga: Tenant, network: httpx.BaseTransport) -> Client:
    return Client(house.url, manga.secret, spool_dir=None, transport=network)


def test_job_is_made_once_when_the_answer_is_lost(house: House, manga: Tenant) -> None:
    with through(house, manga, Deaf("/api/jobs", 2)) as client:
        made = client.create_job("carol", "echo", [("a.txt", io.BytesIO(b"abc"))])
        assert [job["id"] for job in client.jobs("carol")["jobs"]] == [made["id"]]
    with through(house, manga, Deaf("/api/jobs", 2)) as client:
        client.create_job("dave", "echo", data={"n": 1})
        assert client.jobs("dave", "pending")["total"] == 1


def test_call_that_is_repeated_with_its_key_makes_one_job(app: Client) -> None:
    made = [app.create_job("carol", "echo", [("a.txt", b"abc")], idempotency_key="chapter-1") for _ in range(2)]
    assert made[0]["id"] == made[1]["id"]
    with pytest.raises(TollhouseError, match="use a new key for a new job"):
        app.create_job("carol", "echo", [("a.txt", b"other")], idempotency_key="chapter-1")


def test_file_that_was_uploaded_directly_becomes_part_of_a_job(house: House, manga: Tenant, app: Client, tmp_path: Path) -> None:
    text = tmp_path / "long.txt"
    text.write_text("line\n" * 100_000)
    made = app.create_job("carol", "echo", uploads=[app.upload("carol", text)])
    echo(house, manga)
    assert app.download(made["id"], tmp_path / "back.txt").read_bytes() == text.read_bytes()
    with pytest.raises(ValueError, match="files, uploads"):
        app.create_job("carol", "echo", [text], uploads=["key"])


def test_each_result_can_be_downloaded(house: House, manga: Tenant, app: Client, tmp_path: Path) -> None:
    made = app.create_job("carol", "echo", [("a.txt", b"first"), ("b.txt", b"second")])
    with pytest.raises(TollhouseError, match="409"):
        app.download(made["id"], tmp_path)
    echo(house, manga)
    second = [file for file in app.job(made["id"])["files"] if file["role"] == "result"][1]
    assert app.download(made["id"], tmp_path).read_bytes() == b"first"
    assert app.download(made["id"], tmp_path, file=second["id"]) == tmp_path / "b.txt"
    with pytest.raises(TollhouseError, match="404"):
        app.download(made["id"], tmp_path, "dave")


def test_download_that_breaks_off_is_tried_again_and_leaves_nothing_behind(
    house: House, manga: Tenant, app: Client, tmp_path: Path
) -> None:
    made = app.create_job("carol", "echo", [("a.txt", b"all of it")])
    echo(house, manga)
    with through(house, manga, Cutting("/files/", 1)) as client:
        assert client.download(made["id"], tmp_path).read_bytes() == b"all of it"
    with through(house, manga, Cutting("/files/", 99)) as client, pytest.raises(TollhouseError, match="broke off after 4 of 9 bytes"):
        client.download(made["id"], tmp_path / "again.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_job_is_cancelled_and_tried_again(app: Client) -> None:
    made = app.create_job("carol", "echo")
    assert app.cancel_job(made["id"], "carol")["status"] == "cancelled"
    assert (app.retry_job(made["id"])["status"], app.jobs("carol", "pending")["total"]) == ("pending", 1)
    with pytest.raises(TollhouseError, match="404"):
        app.cancel_job(made["id"], "dave")


def test_customer_token_opens_that_customers_pages(app: Client, house: House) -> None:
    token = app.customer_token("carol", 60, kind="echo")
    assert token["expires_in"] == 60
    assert token["token"] in token["url"]
    assert token["url"].startswith(house.url)


@pytest.mark.parametrize("file", [7, ("a.txt",), ("a.txt", "text"), [b"bytes"]])
def test_what_is_no_file_is_refused_before_anything_is_sent(app: Client, file: Any) -> None:
    with pytest.raises(TypeError, match="is no file"):
        app.create_job("carol", "echo", [file])
    with pytest.raises(FileNotFoundError):
        app.create_job("carol", "echo", ["nowhere.png"])


class Nosy(Network):
    """Remembers what was shown to whom."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, str | None] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys[request.url.path.split("/")[1]] = request.headers.get("authorization")
        return super().handle_request(request)


def test_key_is_not_sent_along_with_addresses_of_files(house: House, manga: Tenant, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    network = Nosy()
    with through(house, manga, network) as client:
        made = client.create_job("carol", "echo", uploads=[client.upload("carol", tmp_path / "a.txt")])
        assert network.keys == {"api": f"Bearer {manga.secret}", "files": None}
        echo(house, manga)
        network.keys.clear()
        client.download(made["id"], tmp_path / "b.txt")
        assert network.keys == {"api": f"Bearer {manga.secret}", "files": None}


def test_log_does_not_show_addresses_of_files(house: House, manga: Tenant, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    (tmp_path / "a.txt").write_text("abc")
    with Client(house.url, manga.secret, spool_dir=None) as client:
        made = client.create_job("carol", "echo", uploads=[client.upload("carol", tmp_path / "a.txt")])
        echo(house, manga)
        client.download(made["id"], tmp_path / "b.txt")
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("uvicorn")]
    assert any(f"/api/jobs/{made['id']}/download" in line for line in logged)
    assert not [line for line in logged if "/files/" in line]


class Proxied(Network):
    """A proxy in the way that has something of its own to say about files."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/files/"):
            return httpx.Response(403, text="Ask the administrator.")
        return super().handle_request(request)


def test_failure_does_not_tell_a_jobs_customer_the_addresses_of_files(house: House, manga: Tenant, app: Client) -> None:
    made = app.create_job("carol", "echo", [("a.txt", b"abc")])
    worker = Worker(house.url, manga.secret, transport=Proxied())
    worker.job("echo")(lambda job: job.files[0].path())
    worker.run(until_idle=True)
    reason = app.job(made["id"])["error"]
    assert "Ask the administrator." in reason
    assert "/files/" not in reason


def test_jobs_go_through_an_asgi_app_too(house: House, manga: Tenant, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 300_000)
    asgi = httpx.ASGITransport(house.tollhouse.application)
    with Client("http://toll.test", manga.secret, spool_dir=None, transport=asgi) as client:
        made = [
            client.create_job("carol", "echo", [tmp_path / "a.txt", ("b.txt", b"b")]),
            client.create_job("carol", "echo", uploads=[client.upload("carol", tmp_path / "a.txt")]),
        ]
        worker = Worker("http://toll.test", manga.secret, transport=asgi)
        worker.job("echo")(lambda job: job.files[0].path())
        worker.run(until_idle=True)
        assert [client.download(job["id"], tmp_path / "back.txt").stat().st_size for job in made] == [300_000] * 2
