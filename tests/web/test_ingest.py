"""`POST /api/events` over HTTP: what is taken in, what is refused and in which words, and that nothing is half stored."""

import asyncio
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard

from tests.scenarios.serving import House, Tenant, client, founded, wait_until
from tollhouse.app import Tollhouse, opened
from tollhouse.cli.embedded import served
from tollhouse.settings import Settings
from tollhouse.store.events import DuckDBEvents

LINES = "application/x-ndjson"


def event(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "page", "source": "reader", "subject": "carol", "data": {"pages": 3}} | more


def post(tenant: Tenant, body: bytes | str | Any, content_type: str = "application/json", **headers: str) -> httpx.Response:
    """Send a body as it is, or anything else as JSON."""
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    named = {"content-type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    return tenant.api.post("/api/events", content=content, headers=named)


def stored(tenant: Tenant, **wanted: str) -> list[dict[str, Any]]:
    answer = tenant.api.get("/api/events", params={"limit": 1000, **wanted})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


def stored_ids(tenant: Tenant) -> set[str]:
    return {one["id"] for one in stored(tenant)}


def refused(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    """The problem document of a refusal."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    return problem


FORMS = {
    "one event": ("application/json", json.dumps(event("a")), {"a"}),
    "an array": ("application/json", json.dumps([event("a"), event("b")]), {"a", "b"}),
    "a CloudEvent": ("application/cloudevents+json", json.dumps({"specversion": "1.0", **event("a")}), {"a"}),
    "a CloudEvents batch": ("application/cloudevents-batch+json; charset=utf-8", json.dumps([{"specversion": "1.0", **event("a")}]), {"a"}),
    "NDJSON": (LINES, "\n".join(json.dumps(event(id)) for id in "abc") + "\n", {"a", "b", "c"}),
    "NDJSON with CRLF and blank lines": (LINES, "\r\n\r\n".join(json.dumps(event(id)) for id in "ab"), {"a", "b"}),
    "NDJSON without a content type": ("", "\n".join(json.dumps(event(id)) for id in "ab"), {"a", "b"}),
}
CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("", lambda body: body),
    "gzip": ("gzip", gzip.compress),
    "zstd": ("zstd", zstandard.compress),
    "zstd without its size": ("zstd", zstandard.ZstdCompressor(write_content_size=False).compress),
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_taken_in_every_coding(manga: Tenant, form: str, coding: str) -> None:
    content_type, body, ids = FORMS[form]
    name, pack = CODINGS[coding]
    response = post(manga, pack(body.encode()), content_type, **({"content_encoding": name} if name else {}))
    assert response.status_code == 200, response.text
    assert response.json() == {"inserted": len(ids), "duplicates": 0, "rejected": []}
    assert stored_ids(manga) == ids


def test_an_event_is_read_back_as_it_was_sent(manga: Tenant) -> None:
    sent = event("a", time="2024-02-29T12:30:00.123456+02:00", data={"bytes": 7, "tags": ["x", None, True], "名": "ま\u2028😀"})
    manga.send(sent)
    (read,) = stored(manga)
    assert {name: read[name] for name in ("id", "type", "source", "subject", "data")} == {
        name: sent[name] for name in ("id", "type", "source", "subject", "data")
    }
    assert read["time"] == "2024-02-29T10:30:00.123456Z"
    assert datetime.fromisoformat(read["received_at"]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    "digits",
    [
        "0.1",
        "0.10",
        "3.000",
        "1e2",
        "-0",
        "12345678901234567890",
        "0.1234567890123456789",
        "123456789012345678.123456789012",
        "1E-30",
        "9007199254740993",
        "-0.30000000000000004",
    ],
)
def test_numbers_keep_their_digits(manga: Tenant, digits: str) -> None:
    assert post(manga, f'{{"id":"a","type":"page","data":{{"n": {digits}, "deep": [{digits}]}}}}').status_code == 200
    body = manga.api.get("/api/events").text
    assert f'"data":{{"n": {digits}, "deep": [{digits}]}}' in body


def test_a_sum_of_long_decimals_is_exact(manga: Tenant) -> None:
    made = manga.api.post("/api/meters", json={"slug": "paid", "event_type": "paid", "value_property": "$.amount"})
    assert made.status_code == 201
    body = "\n".join(
        f'{{"id":"{at}","type":"paid","data":{{"amount":{amount}}}}}' for at, amount in enumerate(["0.1"] * 10 + ["123456789.000000000001"])
    )
    assert post(manga, body, LINES).status_code == 200
    (row,) = manga.api.get("/api/meters/paid/query").json(parse_float=Decimal)["data"]
    assert row["value"] == Decimal("123456790.000000000001")


def test_attributes_of_a_cloudevent_that_do_not_count_are_accepted(manga: Tenant) -> None:
    attributes = {
        "specversion": "1.0",
        "datacontenttype": "application/json",
        "dataschema": "https://manga.example/page",
        "traceparent": "00-1",
    }
    assert post(manga, event("a") | attributes, "application/cloudevents+json").status_code == 200
    assert stored_ids(manga) == {"a"}


def test_another_version_of_cloudevents_is_refused(manga: Tenant) -> None:
    (error,) = refused(post(manga, event("a", specversion="0.3")))["errors"]
    assert error["field"] == "specversion"
    assert "1.0" in error["detail"]


def test_an_event_without_a_time_happened_now(manga: Tenant) -> None:
    before = datetime.now(UTC)
    manga.send(event("a"))
    assert before - timedelta(seconds=1) <= datetime.fromisoformat(stored(manga)[0]["time"]) <= datetime.now(UTC)


def test_null_members_are_as_if_left_out(manga: Tenant) -> None:
    assert manga.send(event("a", subject=None, time=None, data=None)) == {"inserted": 1, "duplicates": 0, "rejected": []}
    assert stored(manga)[0]["subject"] is None


BAD_EVENTS: dict[str, tuple[str, str, str]] = {
    "a time before 2000": ('{"id":"x","type":"t","time":"1999-12-31T23:59:59Z"}', "time", "2000"),
    "a time in year one": ('{"id":"x","type":"t","time":"0001-01-01T00:00:00+12:00"}', "time", "2000"),
    "a time past the calendar": ('{"id":"x","type":"t","time":"9999-12-31T23:59:59-12:00"}', "time", "2000"),
    "a time without a zone": ('{"id":"x","type":"t","time":"2024-01-01T00:00:00"}', "time", "timezone"),
    "a time that is none": ('{"id":"x","type":"t","time":"yesterday"}', "time", "RFC3339"),
    "an impossible date": ('{"id":"x","type":"t","time":"2023-02-29T00:00:00Z"}', "time", "RFC3339"),
    "an id of 256 characters": (f'{{"id":"{"x" * 256}","type":"t"}}', "id", "255"),
    "an empty id": ('{"id":"","type":"t"}', "id", "1"),
    "no id": ('{"type":"t"}', "id", "id"),
    "no type": ('{"id":"x"}', "type", "type"),
    "a type of 256 characters": (f'{{"id":"x","type":"{"t" * 256}"}}', "type", "255"),
    "a source of 256 characters": (f'{{"id":"x","type":"t","source":"{"s" * 256}"}}', "source", "255"),
    "a subject of 256 characters": (f'{{"id":"x","type":"t","subject":"{"s" * 256}"}}', "subject", "255"),
    "a subject that is a number": ('{"id":"x","type":"t","subject":5}', "subject", "str"),
    "a NUL in the id": ('{"id":"x\\u0000","type":"t"}', "id", "NUL"),
    "a NUL in the subject": ('{"id":"x","type":"t","subject":"\\u0000"}', "subject", "NUL"),
    "a NUL in the data": ('{"id":"x","type":"t","data":{"a":["\\u0000"]}}', "data", "NUL"),
    "a NUL in a name in the data": ('{"id":"x","type":"t","data":{"\\u0000":1}}', "data", "NUL"),
    "a deep nest": (f'{{"id":"x","type":"t","data":{"[" * 33}{"]" * 33}}}', "data", "32"),
    "a string of 10 MB": (f'{{"id":"x","type":"t","data":{{"a":"{"x" * 10_000_000}"}}}}', "data", "262144"),
    "a number of 400 digits": (f'{{"id":"x","type":"t","data":{{"a":{"9" * 400}}}}}', "data", "300"),
    "an exponent of 400": ('{"id":"x","type":"t","data":{"a":1e400}}', "data", "300"),
    "an endless exponent": ('{"id":"x","type":"t","data":{"a":1e9999999999999999999}}', "data", "300"),
    "an endless negative exponent": ('{"id":"x","type":"t","data":{"a":1e-9999999999999999999}}', "data", "300"),
    "binary data": ('{"id":"x","type":"t","data_base64":"aGk="}', "data_base64", "data"),
    "a number": ("5", "", "object"),
    "null": ("null", "", "object"),
    "a list inside the list": ("[[]]", "", "object"),
}


@pytest.mark.parametrize("fault", BAD_EVENTS)
def test_a_bad_event_is_refused_with_its_field_and_reason(manga: Tenant, fault: str) -> None:
    text, field, reason = BAD_EVENTS[fault]
    (error,) = refused(post(manga, text))["errors"]
    assert error.get("field", "") == field
    assert error["index"] == 0
    assert reason in error["detail"]
    assert len(error["detail"]) < 500
    assert stored(manga) == []


@pytest.mark.parametrize("form", ["an array", "NDJSON"])
@pytest.mark.parametrize("fault", [name for name in BAD_EVENTS if name not in ("a list inside the list", "a string of 10 MB")])
def test_a_bad_event_never_sinks_its_batch(manga: Tenant, fault: str, form: str) -> None:
    items = [json.dumps(event("first")), BAD_EVENTS[fault][0], json.dumps(event("last"))]
    body, content_type = ("[" + ",".join(items) + "]", "application/json") if form == "an array" else ("\n".join(items), LINES)
    response = post(manga, body, content_type)
    assert response.status_code == 200, response.text
    receipt = response.json()
    assert (receipt["inserted"], receipt["duplicates"]) == (2, 0)
    (rejected,) = receipt["rejected"]
    assert rejected["index"] == 1
    assert rejected.get("field", "") == BAD_EVENTS[fault][1]
    assert stored_ids(manga) == {"first", "last"}


def test_a_line_that_is_no_json_never_sinks_the_other_lines(manga: Tenant) -> None:
    lines = [json.dumps(event("a")), '{"id":"b","type":"t","data":{"x":NaN}}', "nonsense", '{"id":"c"', json.dumps(event("d"))]
    receipt = post(manga, "\n".join(lines), LINES).json()
    assert receipt["inserted"] == 2
    assert [fault["index"] for fault in receipt["rejected"]] == [1, 2, 3]
    assert all("no JSON" in fault["detail"] for fault in receipt["rejected"])


BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \r\n\t ",
    "text": b"hello",
    "half an object": b'{"id":"x","type":"t"',
    "half an array": b'[{"id":"x","type":"t"},',
    "something behind the event": b'{"id":"x","type":"t"} x',
    "NaN": b'{"id":"x","type":"t","data":{"n":NaN}}',
    "Infinity": b'{"id":"x","type":"t","data":{"n":-Infinity}}',
    "a NUL byte": b'{"id":"x","type":"t","data":{"a":"\x00"}}',
    "a control character": b'{"id":"x\x01","type":"t"}',
    "an escape that is none": b'{"id":"x","type":"t","data":{"a":"\\x"}}',
    "a number with a leading zero": b'{"id":"x","type":"t","data":{"a":01}}',
    "half of a surrogate pair in the id": b'{"id":"\\ud800","type":"t"}',
    "half of a surrogate pair in the data": b'{"id":"x","type":"t","data":{"a":"\\ud800"}}',
    "the wrong half of a surrogate pair": b'{"id":"x","type":"t","data":{"a":"\\udc00"}}',
    "invalid UTF-8": b'{"id":"\xff","type":"t"}',
    "an overlong NUL": b'{"id":"x\xc0\x80","type":"t"}',
    "an encoded surrogate": b'{"id":"x\xed\xa0\x80","type":"t"}',
    "UTF-16": '{"id":"x","type":"t"}'.encode("utf-16"),
    "a hundred thousand brackets": b"[" * 100_000,
    "a deep nest in the data": b'{"id":"x","type":"t","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep braces": b'{"a":' * 50_000,
}


@pytest.mark.parametrize("fault", BAD_BODIES)
def test_a_body_that_cannot_be_read_is_refused_and_nothing_is_stored(manga: Tenant, fault: str) -> None:
    problem = refused(post(manga, BAD_BODIES[fault]))
    assert len(problem["detail"]) < 500
    assert stored(manga) == []


def test_a_body_over_the_limit_is_refused(manga: Tenant) -> None:
    problem = refused(post(manga, b" " * ((16 << 20) + 1)), 413)
    assert "16777216" in problem["detail"]


def test_a_body_over_the_limit_without_a_length_is_refused(manga: Tenant) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b" " * (1 << 20)] * 17

    # The server may hang up before it has all of it; what counts is that it is refused and nothing is stored.
    try:
        refused(manga.api.post("/api/events", content=chunks()), 413)
    except httpx.TransportError:
        assert stored(manga) == []


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_body_that_unpacks_to_more_than_the_limit_is_refused(manga: Tenant, coding: str) -> None:
    bomb = _gzip_bomb() if coding == "gzip" else zstandard.compress(b" " * (100 << 20))
    assert len(bomb) < 200_000
    assert "unpacks" in refused(post(manga, bomb, content_encoding=coding), 413)["detail"]


def _gzip_bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * (1 << 20)) for _ in range(100)) + packer.flush()


@pytest.mark.parametrize("cut", [1, 8, 9, 500, 20_000])
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_packed_body_that_was_cut_off_stores_nothing(manga: Tenant, coding: str, cut: int) -> None:
    whole = "\n".join(json.dumps(event(str(at), data={"x": os.urandom(16).hex()})) for at in range(3000)).encode()
    packed = gzip.compress(whole) if coding == "gzip" else zstandard.compress(whole)
    assert len(packed) > 40_000
    problem = refused(post(manga, packed[:-cut], LINES, content_encoding=coding))
    assert "cut off" in problem["detail"]
    assert stored(manga) == []


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_body_packed_in_two_parts_is_taken_whole(manga: Tenant, coding: str) -> None:
    pack = gzip.compress if coding == "gzip" else zstandard.compress
    body = b"".join(pack(json.dumps(event(id)).encode() + b"\n") for id in "ab")
    assert post(manga, body, LINES, content_encoding=coding).json()["inserted"] == 2


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_garbage_behind_a_packed_body_is_refused(manga: Tenant, coding: str) -> None:
    pack = gzip.compress if coding == "gzip" else zstandard.compress
    refused(post(manga, pack(json.dumps(event("a")).encode()) + b"garbage", content_encoding=coding))
    assert stored(manga) == []


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_body_that_is_not_what_its_coding_says_is_refused(manga: Tenant, coding: str) -> None:
    assert coding in refused(post(manga, json.dumps(event("a")), content_encoding=coding))["detail"]


def test_an_unknown_coding_is_refused(manga: Tenant) -> None:
    assert "'br'" in refused(post(manga, json.dumps(event("a")), content_encoding="br"))["detail"]


def test_too_many_events_are_refused_and_none_is_stored(manga: Tenant) -> None:
    body = "\n".join(f'{{"id":"{at}","type":"t"}}' for at in range(100_001))
    assert "100000" in refused(post(manga, body, LINES), 413)["detail"]
    assert stored(manga) == []


def test_an_event_may_lie_a_day_ahead_and_not_more(manga: Tenant) -> None:
    now = datetime.now(UTC)
    near, far = (now + timedelta(hours=23)).isoformat(), (now + timedelta(hours=25)).isoformat()
    receipt = manga.send(event("near", time=near), event("far", time=far))
    assert [fault["index"] for fault in receipt["rejected"]] == [1]
    assert stored_ids(manga) == {"near"}


def test_an_event_is_counted_once_inside_one_batch(manga: Tenant) -> None:
    assert manga.send(event("a"), event("b"), event("a")) == {"inserted": 2, "duplicates": 1, "rejected": []}


def test_an_event_is_counted_once_across_requests(manga: Tenant) -> None:
    manga.send(event("a", time="2024-01-01T00:00:00Z"))
    assert manga.send(event("a", time="2024-01-01T00:00:00Z"), event("b")) == {"inserted": 1, "duplicates": 1, "rejected": []}


def test_a_retry_without_a_time_is_no_conflict(manga: Tenant) -> None:
    manga.send(event("a"))
    assert "conflicts" not in manga.send(event("a"))


def test_a_retry_with_another_stamped_time_is_no_conflict(manga: Tenant) -> None:
    manga.send(event("a", time="2024-01-01T00:00:00Z", stamped=True))
    receipt = manga.send(event("a", time="2024-01-02T00:00:00Z", stamped=True))
    assert receipt == {"inserted": 0, "duplicates": 1, "rejected": []}


def test_half_of_a_surrogate_pair_in_an_array_rejects_its_own_event(manga: Tenant) -> None:
    body = (
        b'[{"id":"a\\ud83d\\ude00","type":"t"} ,\n{"id":"b\\ud800","type":"t"},{"id":"c\\\\ud800","type":"t"},{"id":"d\\udc00","type":"t"}]'
    )
    receipt = post(manga, body).json()
    assert [fault["index"] for fault in receipt["rejected"]] == [1, 3]
    assert sorted(one["id"] for one in stored(manga)) == ["a\N{GRINNING FACE}", "c\\ud800"]


@pytest.mark.parametrize(
    "data",
    [
        '{"n":1,"n":2}',
        '{"n" :1,"n":2}',
        '{"n":1,"\\u006e":2}',
        '{"a":[{"n":1,"n":1}]}',
        '{"n":1,"a":"\\":","n":2}',
        '{"n":' + "1" * 5000 + ',"n":2}',
    ],
    ids=["flat", "spaced", "escaped", "nested", "beside a colon", "long number"],
)
def test_an_object_that_names_a_member_twice_is_refused(manga: Tenant, data: str) -> None:
    body = '[{"id":"a","type":"t"},{"id":"b","type":"t","data":' + data + '},{"id":"c","type":"t","data":{"n":1,"a":{"n":":"}}}]'
    receipt = post(manga, body.encode()).json()
    assert receipt["inserted"] == 2
    (fault,) = receipt["rejected"]
    assert (fault["index"], fault["field"]) == (1, "data")
    assert "twice" in fault["detail"]


def test_the_same_id_from_another_source_is_another_event(manga: Tenant) -> None:
    assert manga.send(event("a"), event("a", source="writer"))["inserted"] == 2


def test_the_same_id_of_another_organization_is_another_event(manga: Tenant, beats: Tenant) -> None:
    manga.send(event("a"))
    assert beats.send(event("a"))["inserted"] == 1


@pytest.mark.parametrize(
    "change",
    [{"data": {"pages": 4}}, {"subject": "dave"}, {"type": "panel"}, {"time": "2024-01-02T00:00:00Z"}],
    ids=lambda one: next(iter(one)),
)
def test_the_same_id_with_other_content_is_reported_and_the_first_one_stays(manga: Tenant, change: dict[str, Any]) -> None:
    first = event("a", time="2024-01-01T00:00:00Z")
    manga.send(first)
    receipt = manga.send(event("b"), first | change)
    assert (receipt["inserted"], receipt["duplicates"], receipt["rejected"]) == (1, 1, [])
    (conflict,) = receipt["conflicts"]
    assert (conflict["index"], conflict["field"]) == (1, "id")
    (kept,) = [one for one in stored(manga) if one["id"] == "a"]
    assert {name: kept[name] for name in ("type", "subject", "data", "time")} == {
        name: first[name] for name in ("type", "subject", "data", "time")
    }


def test_a_conflict_inside_one_batch_names_the_place_in_the_request(manga: Tenant) -> None:
    receipt = manga.send({"bad": 1}, event("a"), event("a", data={"pages": 9}))
    assert [fault["index"] for fault in receipt["rejected"]] == [0]
    assert [fault["index"] for fault in receipt["conflicts"]] == [2]


def test_an_event_that_eight_requests_send_at_once_is_inserted_by_one_of_them(manga: Tenant) -> None:
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: manga.send(*[event(str(at)) for at in range(200)]), range(8)))
    assert sum(receipt["inserted"] for receipt in receipts) == 200
    assert sum(receipt["duplicates"] for receipt in receipts) == 1400


def test_requests_that_come_at_once_share_commits(house: House, manga: Tenant) -> None:
    counters = house.tollhouse.parts.ingest.counters
    before = counters.commits

    async def send_all() -> list[int]:
        limits = httpx.Limits(max_connections=64)
        headers = {"authorization": f"Bearer {manga.secret}"}
        async with httpx.AsyncClient(base_url=house.url, headers=headers, limits=limits, timeout=60, trust_env=False) as api:
            answers = await asyncio.gather(*(api.post("/api/events", json=event(str(at))) for at in range(400)))
        return [answer.status_code for answer in answers]

    assert set(asyncio.run(send_all())) == {200}
    assert len(stored(manga)) == 400
    assert 0 < counters.commits - before < 400


def test_a_full_queue_answers_429_and_keeps_nothing_of_the_request(tmp_path: Path) -> None:
    with (
        opened(Settings(data=tmp_path, queue_events=10)) as tollhouse,
        served(tollhouse) as url,
        founded(url, tollhouse.parts.guard.operator_token, "Manga") as tenant,
        client(url, tenant.secret) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        with slow_disk(tollhouse):
            waiting = pool.submit(tenant.send, *[event(str(at)) for at in range(8)])
            wait_until(lambda: tollhouse.parts.ingest._pending == 8, "the first request to be queued")
            busy = other.post("/api/events", json=[event(f"late {at}") for at in range(5)])
            assert not waiting.done()
        assert "again" in refused(busy, 429)["detail"]
        assert int(busy.headers["retry-after"]) >= 1
        assert waiting.result()["inserted"] == 8
        assert stored_ids(tenant) == {str(at) for at in range(8)}
        assert tenant.send(*[event(f"late {at}") for at in range(5)])["inserted"] == 5


def slow_disk(tollhouse: Tollhouse) -> AbstractContextManager[Any]:
    """While it is held, no commit can begin."""
    assert isinstance(tollhouse.events, DuckDBEvents)
    return tollhouse.events._appending


def test_a_receipt_is_given_only_after_the_commit(house: House, manga: Tenant) -> None:
    with ThreadPoolExecutor(1) as pool:
        with slow_disk(house.tollhouse):
            waiting = pool.submit(manga.send, event("a"))
            wait_until(lambda: house.tollhouse.parts.ingest._pending == 1, "the request to be queued")
            assert not waiting.done()
        assert waiting.result()["inserted"] == 1


def test_what_was_sent_survives_a_restart_and_is_still_known(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    with opened(settings) as tollhouse, served(tollhouse) as url:
        assert tollhouse.first_keys is not None
        secret = tollhouse.first_keys.secret
        with client(url, secret) as api:
            assert api.post("/api/events", json=event("a")).json()["inserted"] == 1
    with opened(settings) as tollhouse, served(tollhouse) as url, client(url, secret) as api:
        assert api.post("/api/events", json=[event("a"), event("b")]).json() == {"inserted": 1, "duplicates": 1, "rejected": []}


@pytest.mark.parametrize(
    "cursor",
    ["x", "é", "W10=", "WzEsIlx1ZDgwMCIsImEiXQ==", "W1tb" * 900, "WzEsIlx1MDAwMCIsImEiXQ=="],
    ids=["text", "not ASCII", "empty list", "half a surrogate", "deep", "NUL"],
)
def test_a_forged_cursor_is_refused(manga: Tenant, cursor: str) -> None:
    assert "cursor" in refused(manga.api.get("/api/events", params={"cursor": cursor}), 422)["detail"]


def test_pages_of_events_follow_each_other_without_gap_or_repetition(manga: Tenant) -> None:
    manga.send(*[event(f"{at:03}", time=f"2024-01-01T00:00:{at % 7:02}Z") for at in range(50)])
    seen: list[tuple[str, str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = manga.api.get("/api/events", params={"limit": 7} | ({"cursor": cursor} if cursor else {})).json()
        seen += [(one["time"], one["id"]) for one in page["events"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 50
    assert seen == sorted(seen, reverse=True)


def test_events_are_found_by_type_subject_source_id_and_time(manga: Tenant) -> None:
    manga.send(
        event("a", time="2024-01-01T00:00:00Z"),
        event("b", subject="dave", time="2024-02-01T00:00:00Z"),
        event("c", type="panel", source="w"),
    )
    found = {
        name: {one["id"] for one in stored(manga, **wanted)}
        for name, wanted in {
            "type": {"type": "panel"},
            "subject": {"subject": "dave"},
            "source": {"source": "w"},
            "id": {"id": "a"},
            "span": {"start": "2024-01-01T00:00:00Z", "end": "2024-02-01T00:00:00Z"},
        }.items()
    }
    assert found == {"type": {"c"}, "subject": {"b"}, "source": {"c"}, "id": {"a"}, "span": {"a"}}


def test_deleted_events_are_gone_from_meters_and_may_be_sent_again(manga: Tenant) -> None:
    manga.api.post("/api/meters", json={"slug": "pages", "event_type": "page", "value_property": "$.pages"})
    manga.send(event("a"), event("b"))
    assert manga.api.delete("/api/events", params={"id": "a"}).json() == {"deleted": 1}
    assert manga.api.get("/api/meters/pages/query").json()["data"][0]["value"] == 3
    assert manga.send(event("a"))["inserted"] == 1


def test_deleting_without_naming_anything_is_refused(manga: Tenant) -> None:
    manga.send(event("a"))
    refused(manga.api.delete("/api/events"), 422)
    assert stored_ids(manga) == {"a"}


def test_a_preflight_lets_a_page_send_events(house: House) -> None:
    with client(house.url) as page:
        answer = page.options("/api/events", headers={"origin": "https://manga.example", "access-control-request-method": "POST"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://manga.example"
    assert "authorization" in answer.headers["access-control-allow-headers"]
