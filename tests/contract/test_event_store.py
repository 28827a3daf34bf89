"""What every event store must do, on every engine. An engine that is missing fails; it is never skipped."""

import threading
from decimal import Decimal

import pytest

from tollhouse.store.events import CONFLICT, DUPLICATE, INSERTED, EventBatch, EventStore, percentiles

JANUARY = 1_704_067_200_000_000
HOUR = 3_600_000_000


def batch(*ids: str, time: int = JANUARY, data: str = '{"n":1}', timed: bool = True, organization: str = "manga") -> EventBatch:
    count = len(ids)
    return EventBatch(
        [organization] * count, ["app"] * count, list(ids), ["api"] * count, ["carol"] * count, [time] * count,
        [JANUARY] * count, [timed] * count, [None] * count, ['$."n"'] * count, ["1"] * count, [data] * count, [None] * count,
    )  # fmt: skip


def count(store: EventStore, where: str = "true") -> int:
    with store.reading() as read:
        return int(read.rows(f"SELECT count(*) FROM events WHERE {where}", {})[0][0])


def test_new_events_are_inserted_and_the_same_ones_again_are_duplicates(event_store: EventStore) -> None:
    assert event_store.append(batch("a", "b")) == [INSERTED, INSERTED]
    assert event_store.append(batch("b", "c")) == [DUPLICATE, INSERTED]
    assert count(event_store) == 3


def test_a_repeated_id_inside_one_batch_is_stored_once(event_store: EventStore) -> None:
    assert event_store.append(batch("a", "a", "b", "a")) == [INSERTED, DUPLICATE, INSERTED, DUPLICATE]
    assert count(event_store) == 2


def test_the_same_id_with_other_content_is_a_conflict_and_the_first_stays(event_store: EventStore) -> None:
    event_store.append(batch("a"))
    assert event_store.append(batch("a", data='{"n":2}')) == [CONFLICT]
    with event_store.reading() as read:
        assert read.rows("SELECT value FROM events", {}) == [(Decimal(1),)]


def test_a_conflict_inside_one_batch_is_told_from_a_repetition(event_store: EventStore) -> None:
    mixed = batch("a", "a", "a")
    mixed.data[1] = '{"n":2}'
    assert event_store.append(mixed) == [INSERTED, CONFLICT, DUPLICATE]


def test_a_retry_at_another_time_is_found_whatever_its_time(event_store: EventStore) -> None:
    event_store.append(batch("a"))
    assert event_store.append(batch("a", time=JANUARY + 900 * 24 * HOUR)) == [CONFLICT]
    assert event_store.append(batch("a", time=JANUARY + 5, timed=False)) == [DUPLICATE]


def test_the_same_id_of_another_organization_or_source_is_another_event(event_store: EventStore) -> None:
    event_store.append(batch("a"))
    other = batch("a")
    other.source[0] = "worker"
    assert event_store.append(batch("a", organization="beats")) == [INSERTED]
    assert event_store.append(other) == [INSERTED]


def test_concurrent_appends_of_one_id_store_it_once(event_store: EventStore) -> None:
    outcomes: list[int] = []
    ids = [f"id{number}" for number in range(200)]
    barrier = threading.Barrier(8)

    def append() -> None:
        barrier.wait()
        outcomes.extend(event_store.append(batch(*ids)))

    threads = [threading.Thread(target=append) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(INSERTED) == 200
    assert outcomes.count(DUPLICATE) == 1400
    assert count(event_store) == 200


def test_what_is_settled_covers_exactly_what_is_visible(event_store: EventStore) -> None:
    event_store.append(batch("a", "b"))
    with event_store.reading() as read:
        before = read.settled()
        assert read.rows(f"SELECT count(*) FROM events WHERE seq <= {before}", {}) == [(2,)]
    event_store.append(batch("c"))
    assert count(event_store, f"seq > {before}") == 1


def test_a_reader_sees_one_state_while_events_arrive(event_store: EventStore) -> None:
    event_store.append(batch("a"))
    with event_store.reading() as read:
        assert read.rows("SELECT count(*) FROM events", {}) == [(1,)]
        thread = threading.Thread(target=event_store.append, args=[batch("b")])
        thread.start()
        thread.join()
        assert read.rows("SELECT count(*) FROM events", {}) == [(1,)]


def test_a_failed_transaction_leaves_nothing(event_store: EventStore) -> None:
    event_store.append(batch("a"))
    with pytest.raises(RuntimeError), event_store.writing() as write:
        write.delete_events("true", {})
        raise RuntimeError
    assert count(event_store) == 1


def test_a_deleted_event_may_come_again(event_store: EventStore) -> None:
    event_store.append(batch("a", "b"))
    with event_store.writing() as write:
        assert write.delete_events("id = $id", {"id": "a"}) == 1
    assert event_store.append(batch("a", "b")) == [INSERTED, DUPLICATE]


def test_events_of_many_months_are_kept_apart_and_found_together(event_store: EventStore) -> None:
    for month in range(14):
        event_store.append(batch(f"m{month}", time=JANUARY + month * 31 * 24 * HOUR))
    assert count(event_store) == 14
    assert count(event_store, f"time < {JANUARY + 31 * 24 * HOUR}") == 1


@pytest.mark.parametrize(
    ("data", "path", "text"),
    [
        ('{"a":"x"}', '$."a"', "x"),
        ('{"a":{"b":[1,"y"]}}', '$."a"."b"[1]', "y"),
        ('{"a b":true}', '$."a b"', "true"),
        ('{"a":null}', '$."a"', None),
        ('{"a":[{"b":1}]}', '$."a"."b"', None),
        ('{"a":7}', '$."c"', None),
        ("[1,2]", '$."a"', None),
        ("null", '$."a"', None),
        ('{"a":"=1+1\\u00e9\\n"}', '$."a"', "=1+1é\n"),
    ],
)
def test_a_json_path_reads_the_same_text_in_every_engine(event_store: EventStore, data: str, path: str, text: str | None) -> None:
    event_store.append(batch("a", data=data))
    with event_store.reading() as read:
        sql = f"SELECT {event_store.expressions.json_text('data', '$path')} FROM events"
        assert read.rows(sql, {"path": path}) == [(text,)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12.5", "12.5"),
        ("-0.0000000000015", "-0.000000000002"),
        ("1e3", "1000"),
        ("2.5E-3", "0.0025"),
        ("999999999999999999.999999999999", "999999999999999999.999999999999"),
        ("1000000000000000000", None),
        ("1e99", None),
        ("", None),
        ("+5", None),
        ("1_000", None),
        (" 1", None),
        ("1\n", None),
        ("0x10", None),
        ("NaN", None),
        ("Infinity", None),
        (".5", None),
        ("5.", None),
        ("1e-99", "0"),
        ("٣", None),
    ],
)
def test_a_text_is_the_same_number_in_every_engine(event_store: EventStore, text: str, number: str | None) -> None:
    with event_store.reading() as read:
        sql = f"SELECT {event_store.expressions.number('t')} FROM (SELECT CAST($text AS VARCHAR) AS t) given"
        assert read.rows(sql, {"text": text}) == [(None if number is None else Decimal(number),)]


def test_months_buckets_percentiles_and_the_latest_are_the_same_in_every_engine(event_store: EventStore) -> None:
    x = event_store.expressions
    leap_day = 1_709_164_800_000_000 + 5
    with event_store.reading() as read:
        given = "(SELECT * FROM (VALUES (1, 'b 2'), (2, 'B 3'), (4, 'a 9')) AS v(value, mark)) given"
        assert read.rows(f"SELECT {x.month_start(str(leap_day))}, {x.floor_to(str(leap_day), HOUR)}", {}) == [
            (1_706_745_600_000_000, 1_709_164_800_000_000)
        ]
        ((latest, (median,)),) = read.rows(f"SELECT {x.at_highest('value', 'mark')}, {x.percentiles('value', [0.5])} FROM {given}", {})
        assert (latest, float(median)) == (1, 2.0)
        assert read.rows(f"SELECT {x.iso_time(str(leap_day))}", {}) == [("2024-02-29T00:00:00.000005Z",)]
        assert read.rows(f"SELECT {x.sortable('99')} < {x.sortable('100')}", {}) == [(True,)]


def _asked(store: EventStore, organization: str = "manga", sample: int = 4000) -> list[float]:
    fractions, mine = (0.5, 0.95, 0.99), {"organization": organization}
    with store.reading() as read:
        return percentiles(store, read, "value", fractions, "organization = $organization", mine, sample)


def test_percentiles_of_few_events_are_exact_and_of_none_there_are_none(event_store: EventStore) -> None:
    many = batch(*map(str, range(101)))
    many.value[:] = [str(value) for value in range(101)]
    event_store.append(many)
    assert _asked(event_store) == [50.0, 95.0, 99.0]
    assert _asked(event_store, "another") == []


def test_percentiles_of_many_events_are_of_a_sample_that_is_the_same_each_time(event_store: EventStore) -> None:
    for first in range(0, 40_000, 10_000):  # in order, so that whoever took the first or the last of them would be far off
        many = batch(*map(str, range(first, first + 10_000)))
        many.value[:] = [str(value) for value in range(first, first + 10_000)]
        event_store.append(many)
    with event_store.reading() as read:
        ((taken,),) = read.rows(f"SELECT count(*) FROM events WHERE {event_store.expressions.sampled(0.1)}", {})
    assert 3600 < taken < 4400
    found = _asked(event_store)
    # Six standard errors of a rank among 4,000, in values.
    assert found == [pytest.approx(20_000, abs=1900), pytest.approx(38_000, abs=830), pytest.approx(39_600, abs=380)]
    assert found == _asked(event_store) != [19_999.5, 37_999.05, 39_599.01]


def test_csv_quotes_what_needs_it_and_has_a_header(event_store: EventStore) -> None:
    event_store.append(batch("a", data='{"text":"one, \\"two\\""}'))
    sql = f"SELECT id, {event_store.expressions.json_text('data', '$path')} AS text FROM events WHERE id = $id"
    content = b"".join(event_store.csv(sql, {"id": "a", "path": '$."text"'}))
    assert content.decode() == 'id,text\na,"one, ""two"""\n'
