"""The events of every benchmark: six types of a SaaS app's usage, 10,000 customers of very different size, 30 days.

Events come in the order of their time, as they do from a running app. Row `n` of `total` is the same in every run
but for the days, which end today: what is older than retention keeps would be refused or removed.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from tollhouse.kit import times
from tollhouse.kit.jsonpath import JsonPath
from tollhouse.metering import Meter
from tollhouse.store.events import EventBatch

ORGANIZATION = "org_bench"
CUSTOMERS, DAYS = 10_000, 30
TYPES = ("api.request", "storage.write", "bandwidth.sent", "compute.run", "database.query", "function.call")
REGIONS = ("eu-west", "eu-north", "us-east", "us-west", "ap-south")
END = times.micros(datetime.now(UTC)) // times.DAY * times.DAY
START = END - DAYS * times.DAY
QUANTITY = str(JsonPath.parse("$.quantity"))  # the number lifted out at ingest, as the meters write its path


def batch(first: int, size: int, total: int) -> EventBatch:
    """Rows `first` to `first + size` of a run of `total` events, as ingest would hand them to a store."""
    pick = np.random.default_rng(first)
    span = END - START
    at = START + (np.arange(first, first + size) * (span / total)).astype(np.int64)
    customer = (CUSTOMERS * pick.random(size) ** 2).astype(np.int64).tolist()  # few large customers, many small ones
    kind = pick.integers(0, len(TYPES), size).tolist()
    value = [f"{cents / 100:.2f}" for cents in pick.integers(1, 500_000, size).tolist()]
    place = pick.integers(0, len(REGIONS), size).tolist()
    return EventBatch(
        organization=[ORGANIZATION] * size,
        source=["bench"] * size,
        id=[f"evt-{number:012d}" for number in range(first, first + size)],
        type=[TYPES[one] for one in kind],
        subject=[subject(one) for one in customer],
        time=at.tolist(),
        received_at=at.tolist(),
        timed=[True] * size,
        job=[None] * size,
        path=[QUANTITY] * size,
        value=list(value),
        data=[_data(quantity, where) for quantity, where in zip(value, place, strict=True)],
        original=[None] * size,
    )


def batches(first: int, until: int, size: int, total: int) -> Iterator[EventBatch]:
    """The rows `first` to `until` in batches."""
    for begin in range(first, until, size):
        yield batch(begin, min(size, until - begin), total)


def subject(customer: int) -> str:
    """A customer's id."""
    return f"customer-{customer:05d}"


def _data(quantity: str, where: int) -> str:
    return f'{{"quantity":{quantity},"region":"{REGIONS[where]}","path":"/v1/orders"}}'


def meter(type: str, aggregation: str = "sum", path: str | None = "$.quantity", name: str = "") -> Meter:
    """A meter that counts one type; `name` keeps it apart from another of the same kind."""
    slug = f"{type.replace('.', '_')}_{aggregation}{name}"
    return Meter(
        id=f"mtr_{slug}",
        organization=ORGANIZATION,
        slug=slug,
        description="",
        event_type=type,
        aggregation=aggregation,
        value_property=path,
        group_by={},
        filters={},
        unit="",
        created_at=datetime.now(UTC),
        deleted_at=None,
    )


# What `bodies` leaves open: which request it is, and the second at which its events happened.
REQUEST, SECOND = b"################", b"@@@@@@@@@@@@@@@@@@@"


def bodies(count: int, events: int) -> list[bytes]:
    """`count` request bodies of `events` CloudEvents each; REQUEST and SECOND in them are to be replaced before sending."""
    return [_body(batch(number * events, events, count * events), events) for number in range(count)]


def _body(rows: EventBatch, events: int) -> bytes:
    shown = [
        f'{{"specversion":"1.0","id":"{REQUEST.decode()}-{at}","source":"bench","type":"{rows.type[at]}","subject":"{rows.subject[at]}",'
        f'"time":"{SECOND.decode()}.{at % 1000:03d}Z","data":{rows.data[at]}}}'
        for at in range(len(rows))
    ]
    return (shown[0] if events == 1 else f"[{','.join(shown)}]").encode()
