"""What an app does to send files directly, in a line each."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx

from tests.contract.test_objects import KEYS
from tests.jobs.customer import refused
from tests.jobs.floor import Clock
from tests.jobs.material import picture
from tests.scenarios.serving import House, Tenant, founded
from tollhouse.app import opened
from tollhouse.cli.embedded import served
from tollhouse.settings import Settings

PAGE = picture()


def presigned(
    tenant: Tenant, content: bytes = PAGE, name: str = "page.png", user: str = "carol", size: int | None = None
) -> dict[str, Any]:
    """A place for a file."""
    wanted = {"filename": name, "contentType": "image/png", "fileSizeBytes": len(content) if size is None else size, "user_id": user}
    answer = tenant.api.post("/api/presign", json=wanted)
    assert answer.status_code == 200, answer.text
    place: dict[str, Any] = answer.json()
    return place


def send(place: dict[str, Any], content: bytes = PAGE) -> httpx.Response:
    """The file goes where the place is, without a key."""
    return httpx.request(place["method"], place["url"], content=content, headers=place["headers"], trust_env=False)


def create(tenant: Tenant, *places: dict[str, Any], status: int = 201, user: str = "carol", **more: Any) -> Any:
    """A job of direct uploads, or the sentence that refuses it."""
    wanted = {"kind": "animate", "user_id": user, "uploads": [place["key"] for place in places]}
    answer = tenant.api.post("/api/jobs", json=wanted, **more)
    if status != 201:
        return refused(answer, status)
    assert answer.status_code == 201, answer.text
    return answer.json()


def in_bucket(endpoint: str) -> dict[str, Any]:
    """Settings for a place in that server's bucket."""
    place = f"s3://bucket/{uuid.uuid4().hex}"
    return {
        "objects_url": place,
        "s3_endpoint": endpoint,
        "s3_access_key": KEYS[0],
        "s3_secret_key": KEYS[1],
        "s3_use_ssl": False,
    }


@contextmanager
def alone(settings: Settings) -> Iterator[tuple[House, Tenant]]:
    """Alice's organization in a Tollhouse of its own."""
    with opened(settings) as tollhouse, served(tollhouse) as url:
        house = House(tollhouse, url)
        with founded(url, house.operator, "Manga") as tenant:
            yield house, tenant


def a_day_later(house: House) -> None:
    """When uploads have expired that wait now."""
    parts = house.tollhouse.parts
    parts.clock = Clock(parts.clock() + timedelta(hours=25))
