"""A clock for the house that is moved by hand, and what the house has in its stores."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.jobs.floor import Clock
from tests.scenarios.serving import House


@pytest.fixture
def clock(house: House) -> Iterator[Clock]:
    """The house's clock: stands at the present, and is moved by hand until the test ends."""
    parts = house.tollhouse.parts
    before = parts.clock, parts.courier.clock
    parts.clock = parts.courier.clock = Clock(datetime.now(UTC))
    yield parts.clock
    parts.clock, parts.courier.clock = before
