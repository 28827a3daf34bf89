"""`--dev` asks for no key, so it answers this machine alone: not a web page elsewhere, not another machine."""

import subprocess
from pathlib import Path

import httpx
import pytest

from tests.scenarios.serving import COMMAND, Server, client, surroundings

PATHS = (("GET", "/api/billing/all-users"), ("POST", "/api/events"), ("POST", "/api/v1/events"), ("GET", "/api/keys"))


def ask(server: Server, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    with client(server.url) as nobody:
        return nobody.request(method, path, headers=headers, json={"id": "a", "type": "page"} if method == "POST" else None)


def test_no_key_is_needed(dev_server: Server) -> None:
    with client(dev_server.url) as nobody:
        me = nobody.get("/api/me").json()
        assert me["scopes"] == ["admin", "events:write", "jobs:work", "read", "write"]
        assert nobody.post("/api/events", json={"id": "dev", "type": "page"}).status_code == 200


def test_a_key_that_is_sent_is_still_checked(dev_server: Server) -> None:
    with client(dev_server.url, "sk_unknown") as somebody:
        assert somebody.get("/api/me").status_code == 401
    with client(dev_server.url, dev_server.publishable) as page:
        assert page.get("/api/me").status_code == 403


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.7:3000", "[::2]:3000"]
)
def test_a_foreign_host_name_is_refused(dev_server: Server, method: str, path: str, host: str) -> None:
    """A name that was rebound to 127.0.0.1 reaches the server, but under its own name."""
    answer = ask(dev_server, method, path, {"host": host})
    assert answer.status_code == 403, answer.text


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example:3000",
        "http://localhost@evil.example",
        "null",
    ],
)
def test_a_page_from_elsewhere_is_refused(dev_server: Server, method: str, path: str, origin: str) -> None:
    answer = ask(dev_server, method, path, {"origin": origin})
    assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_the_browser_says_is_foreign_is_refused(dev_server: Server, site: str) -> None:
    assert ask(dev_server, "GET", "/api/me", {"sec-fetch-site": site}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machine_is_let_in_under_each_of_its_names(dev_server: Server, host: str) -> None:
    port = dev_server.url.rsplit(":", 1)[1]
    answer = ask(dev_server, "GET", "/api/me", {"host": f"{host}:{port}", "origin": f"http://{host}:5173", "sec-fetch-site": "none"})
    assert answer.status_code == 200, answer.text


def test_a_server_with_keys_does_not_mind_its_name(server: Server) -> None:
    with server.client(server.secret) as api:
        assert api.get("/api/me", headers={"host": "tollhouse.manga.example"}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "manga.example"])  # noqa: S104  # refused is what they must be
def test_dev_does_not_listen_to_other_machines(tmp_path: Path, host: str) -> None:
    command = [*COMMAND, "up", "--dev", "--host", host, "--port", "0", "--data", str(tmp_path / "data")]
    ended = subprocess.run(command, capture_output=True, text=True, env=surroundings(home=tmp_path), cwd=tmp_path, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (sentence,) = ended.stderr.splitlines()
    assert "--dev" in sentence
    assert host in sentence
    assert not (tmp_path / "data").exists()
