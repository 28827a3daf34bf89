"""What a client hears when something is wrong, and what the log holds of it."""

import asyncio
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from tests.scenarios.serving import Tenant
from tollhouse.app import opened
from tollhouse.settings import Settings
from tollhouse.web import Application


def broken() -> None:
    raise RuntimeError("secret")


async def ask(application: Application, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(application)  # raises what the server would write into the log
    async with httpx.AsyncClient(transport=transport, base_url="http://tollhouse") as api:
        return await api.get(path)


def test_an_error_of_our_own_is_told_in_one_sentence_and_logged_once(tmp_path: Path) -> None:
    with opened(Settings(data=tmp_path)) as tollhouse, capture_logs() as logged:
        tollhouse.application.api.add_api_route("/api/broken", broken)
        answer = asyncio.run(ask(tollhouse.application, "/api/broken"))
    assert (answer.status_code, answer.json()["detail"]) == (500, "Something went wrong inside Tollhouse; its log says what.")
    assert [entry["event"] for entry in logged] == ["unexpected error"]


@pytest.mark.parametrize("path", ["/api/meters/none", "/api/events?limit=many", "/api/usage?meter=none&from=x", "/api/none"])
def test_every_detail_is_a_sentence(manga: Tenant, path: str) -> None:
    answer = manga.api.get(path)
    assert answer.status_code >= 400
    assert answer.json()["detail"].endswith(".")
