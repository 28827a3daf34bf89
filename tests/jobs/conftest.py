"""A clock for the house that is moved by hand, and what the house has in its stores."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.jobs.floor import Clock
from tests.scenarios.serving import House, Tenant, founded
from tollhouse.app import opened
from tollhouse.cli.embedded import served
from tollhouse.settings import Settings

LIMIT = 1 << 20


@pytest.fixture
def clock(house: House) -> Iterator[Clock]:
    """The house's clock: stands at the present, and is moved by hand until the test ends."""
    parts = house.tollhouse.parts
    before = parts.clock, parts.courier.clock
    parts.clock = parts.courier.clock = Clock(datetime.now(UTC))
    yield parts.clock
    parts.clock, parts.courier.clock = before


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A Tollhouse with low limits."""
    settings = Settings(data=tmp_path_factory.mktemp("small"), max_upload_bytes=LIMIT, max_job_bytes=2 * LIMIT, max_job_files=3)
    with opened(settings) as tollhouse, served(tollhouse) as url:
        yield House(tollhouse, url)


@pytest.fixture
def limited(small: House) -> Iterator[Tenant]:
    """Alice's organization on it."""
    with founded(small.url, small.operator, "Manga") as tenant:
        yield tenant
