"""Many requests at once, and what becomes of each, on every store with as many writers as it gains by."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.contract.test_event_store import batch, count
from tollhouse import access
from tollhouse.events import Ingest, Receipt
from tollhouse.kit.errors import Unavailable
from tollhouse.kit.paging import Page
from tollhouse.store.events import EventBatch, EventStore
from tollhouse.store.records import Records

REQUESTS, SHARED = 60, 20


@pytest.fixture
def manga(records: Records) -> str:
    with records.transaction() as session:
        return access.found(session, datetime.now(UTC), "Manga").id


def request(manga: str, at: int) -> EventBatch:
    """Two events of its own, and one that two other requests bring, too."""
    rows = batch(f"{at}-a", f"{at}-b", f"shared-{at % SHARED}", organization=manga)
    return replace(rows, subject=[f"customer-{at % 5}"] * 3)


async def together(ingest: Ingest, requests: list[EventBatch]) -> list[Receipt]:
    return await asyncio.gather(*map(ingest.submit, requests))


def test_of_requests_at_once_each_event_is_stored_once_and_each_request_hears_of_its_own(
    event_store: EventStore, records: Records, manga: str
) -> None:
    ingest = Ingest(event_store, records, commit_events=10)
    ingest.start()
    receipts = asyncio.run(together(ingest, [request(manga, at) for at in range(REQUESTS)]))
    ingest.stop()
    assert count(event_store) == 2 * REQUESTS + SHARED == sum(one.inserted for one in receipts)
    assert ingest.counters.events == 3 * REQUESTS
    assert [(len(one.outcomes), one.conflicts) for one in receipts] == [(3, [])] * REQUESTS
    assert all(one.inserted >= 2 for one in receipts)
    with records.reading() as session:
        customers, _ = access.list_customers(session, manga, Page(100))
    assert [one.id for one in customers] == [f"customer-{at}" for at in range(5)]


def test_what_waits_at_the_end_is_stored_and_it_can_begin_again(event_store: EventStore, records: Records, manga: str) -> None:
    ingest = Ingest(event_store, records, commit_events=3)

    async def leave() -> list[Receipt]:
        waiting = asyncio.gather(*(ingest.submit(request(manga, at)) for at in range(10)))
        await asyncio.sleep(0)
        await asyncio.to_thread(ingest.stop)
        return await waiting

    for turn in (0, 1):
        ingest.start()
        assert sum(one.inserted for one in asyncio.run(leave())) == (0 if turn else 30)
        with pytest.raises(Unavailable):
            ingest.store_now(request(manga, 1))
    assert count(event_store) == 30
