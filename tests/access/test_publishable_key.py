"""Publishable keys: they lie open in web pages, so they are held to their origins and to a rate."""

from collections.abc import Iterator

import pytest

from tests.scenarios.serving import House, Tenant, client, founded
from tollhouse.app import opened
from tollhouse.cli.embedded import served
from tollhouse.settings import Settings

HOME = "https://manga.example"


def batch(name: str, size: int) -> list[dict[str, str]]:
    return [{"id": f"{name}-{at}", "type": "page", "source": "browser"} for at in range(size)]


@pytest.fixture(scope="module")
def slow_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A Tollhouse that takes two events a second from a publishable key, twenty at once."""
    settings = Settings(data=tmp_path_factory.mktemp("slow"), publishable_events_per_second=2)
    with opened(settings) as tollhouse, served(tollhouse) as url:
        yield House(tollhouse, url)


@pytest.fixture
def slow(slow_house: House) -> Iterator[Tenant]:
    with founded(slow_house.url, slow_house.operator, "Manga") as tenant:
        yield tenant


@pytest.mark.parametrize("origin", ["https://evil.example", "https://manga.example.evil.example", "http://manga.example", "null", None])
def test_a_pinned_key_is_refused_from_any_other_origin(house: House, manga: Tenant, origin: str | None) -> None:
    key = manga.key(kind="publishable", origins=[HOME])["secret"]
    with client(house.url, key) as page:
        answer = page.post("/api/events", json=batch("a", 1), headers={"origin": origin} if origin else {})
    assert answer.status_code == 403
    assert "origin" in answer.json()["detail"]
    assert manga.api.get("/api/events").json()["events"] == []


def test_a_pinned_key_works_from_its_origin_and_the_page_may_read_the_answer(house: House, manga: Tenant) -> None:
    key = manga.key(kind="publishable", origins=[HOME, "https://beta.manga.example"])["secret"]
    with client(house.url, key) as page:
        answer = page.post("/api/events", json=batch("a", 1), headers={"origin": HOME})
    assert answer.json()["inserted"] == 1
    assert answer.headers["access-control-allow-origin"] == HOME


def test_a_key_without_origins_works_from_anywhere(house: House, manga: Tenant) -> None:
    with client(house.url, manga.publishable) as page:
        assert page.post("/api/events", json=batch("a", 1), headers={"origin": "https://any.example"}).status_code == 200


def test_origins_do_not_bind_a_secret_key(manga: Tenant) -> None:
    assert manga.api.post("/api/events", json=batch("a", 1), headers={"origin": "https://any.example"}).status_code == 200


def test_a_key_over_its_rate_is_told_when_to_come_back_and_nothing_is_kept(slow_house: House, slow: Tenant) -> None:
    with client(slow_house.url, slow.publishable) as page:
        assert page.post("/api/events", json=batch("first", 20)).json()["inserted"] == 20
        busy = page.post("/api/events", json=batch("second", 20))
    assert busy.status_code == 429
    assert int(busy.headers["retry-after"]) >= 1
    assert "2 events a second" in busy.json()["detail"]
    assert len(slow.api.get("/api/events").json()["events"]) == 20


def test_the_rate_binds_each_key_by_itself_and_no_secret_key(slow_house: House, slow: Tenant) -> None:
    other = slow.key(kind="publishable", name="other")["secret"]
    with client(slow_house.url, slow.publishable) as page, client(slow_house.url, other) as second:
        assert page.post("/api/events", json=batch("first", 20)).status_code == 200
        assert page.post("/api/events", json=batch("more", 20)).status_code == 429
        assert second.post("/api/events", json=batch("second", 20)).status_code == 200
    assert slow.api.post("/api/events", json=batch("third", 500)).json()["inserted"] == 500


def test_the_same_rate_holds_on_openmeters_route(slow_house: House, slow: Tenant) -> None:
    with client(slow_house.url, slow.publishable) as page:
        assert page.post("/api/v1/events", json=batch("first", 20)).status_code == 204
        assert page.post("/api/v1/events", json=batch("second", 20)).status_code == 429
