import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.client.server import EventServer
from tollhouse_client import Client, TollhouseError


class Recorder:
    """A transport that keeps the last request and answers with `content`."""

    def __init__(self) -> None:
        self.status, self.content = 200, b"{}"
        self.request = httpx.Request("GET", "http://none")

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        return httpx.Response(self.status, content=self.content)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def reader(recorder: Recorder) -> Client:
    return Client("http://toll.test", "sk_test", transport=httpx.MockTransport(recorder), spool_dir=None)


CALLS: list[tuple[Callable[[Client], Any], str, str]] = [
    (lambda c: c.meters(), "GET", "/api/meters"),
    (lambda c: c.meters(limit=5, offset=10), "GET", "/api/meters?limit=5&offset=10"),
    (lambda c: c.query("a/b"), "GET", "/api/meters/a%2Fb/query"),
    (lambda c: c.query("m", subject=["a", "b"], window="day"), "GET", "/api/meters/m/query?subject=a&subject=b&window=day"),
    (lambda c: c.query("m", filter={"status": "ok"}), "GET", "/api/meters/m/query?filter%5Bstatus%5D=ok"),
    (lambda c: c.events(type="tokens", limit=2), "GET", "/api/events?type=tokens&limit=2"),
    (lambda c: c.events(start=datetime(2024, 1, 1, tzinfo=UTC)), "GET", "/api/events?start=2024-01-01T00%3A00%3A00%2B00%3A00"),
    (lambda c: c.summary("carol"), "GET", "/api/billing/summary?user_id=carol"),
    (lambda c: c.summary("carol", "2024-01"), "GET", "/api/billing/summary?user_id=carol&period=2024-01"),
    (lambda c: c.daily_usage("carol", date(2024, 1, 1)), "GET", "/api/billing/daily-usage?user_id=carol&start_date=2024-01-01"),
    (lambda c: c.job_billing("job 1"), "GET", "/api/billing/job/job%201"),
    (lambda c: c.job("job 1"), "GET", "/api/jobs/job%201"),
    (lambda c: c.job("job-1", "carol"), "GET", "/api/jobs/job-1?user_id=carol"),
    (lambda c: c.jobs(), "GET", "/api/jobs"),
    (lambda c: c.jobs("carol", "failed", limit=5), "GET", "/api/jobs?user_id=carol&status=failed&limit=5"),
    (lambda c: c.thumbnail("job-1"), "GET", "/api/jobs/job-1/thumbnail"),
    (lambda c: c.cancel_job("job-1"), "POST", "/api/jobs/job-1/cancel"),
    (lambda c: c.retry_job("job-1", "carol"), "POST", "/api/jobs/job-1/retry?user_id=carol"),
    (lambda c: c.customer_token("carol"), "POST", "/api/customer-tokens"),
    (lambda c: c.all_users(), "GET", "/api/billing/all-users"),
    (lambda c: c.bill("carol", "2024-01"), "GET", "/api/billing/bill?user_id=carol&period=2024-01"),
    (lambda c: c.reset("carol"), "POST", "/api/billing/users/carol/reset"),
    (lambda c: c.customers(), "GET", "/api/customers"),
    (lambda c: c.prices(), "GET", "/api/prices"),
    (lambda c: c.backups(limit=2), "GET", "/api/backups?limit=2"),
    (lambda c: c.backup("run 1"), "GET", "/api/backups/run%201"),
    (lambda c: c.backup_repositories(), "GET", "/api/backup-repositories"),
    (lambda c: c.backup_schedules(), "GET", "/api/backup-schedules"),
    (lambda c: c.run_backup("nightly"), "POST", "/api/backup-schedules/nightly/run"),
    (lambda c: c.drills(), "GET", "/api/drills"),
    (lambda c: c.alerts("open", limit=1), "GET", "/api/alerts?status=open&limit=1"),
    (lambda c: c.alert_deliveries("alert-1"), "GET", "/api/alerts/alert-1/deliveries"),
    (lambda c: c.alert_rules(), "GET", "/api/alert-rules"),
    (lambda c: c.alert_channels(), "GET", "/api/alert-channels"),
]


@pytest.mark.parametrize(("call", "method", "path"), CALLS)
def test_reading_call_asks_its_route(reader: Client, recorder: Recorder, call: Callable[[Client], Any], method: str, path: str) -> None:
    assert call(reader) == {}
    assert (recorder.request.method, recorder.request.url.raw_path.decode()) == (method, path)


def test_meter_is_created_with_what_is_given(reader: Client, recorder: Recorder) -> None:
    reader.create_meter("tokens", "tokens", value_property="$.n", group_by={"model": "$.model"})
    sent = json.loads(recorder.request.content)
    assert (sent["slug"], sent["aggregation"], sent["value_property"], sent["group_by"]) == ("tokens", "sum", "$.n", {"model": "$.model"})
    assert "filters" not in sent


def test_price_is_sent_digit_for_digit(reader: Client, recorder: Recorder) -> None:
    reader.create_price("tokens", amount=Decimal("0.000000000000000000010"), per=1000)
    assert recorder.request.content == b'{"meter":"tokens","model":"per_unit","amount":0.000000000000000000010,"per":1000}'


def test_fractions_are_read_as_decimals(reader: Client, recorder: Recorder) -> None:
    recorder.content = b'{"estimated_cost": 0.361000000000000000001, "job_count": 3}'
    assert reader.summary("carol") == {"estimated_cost": Decimal("0.361000000000000000001"), "job_count": 3}


def test_error_says_what_the_server_said(reader: Client, recorder: Recorder) -> None:
    faults = [{"field": "slug", "detail": "taken"}]
    recorder.status, recorder.content = 409, json.dumps({"title": "No.", "detail": "slug: taken", "errors": faults}).encode()
    with pytest.raises(TollhouseError, match=r"409 No\. slug: taken") as raised:
        reader.create_meter("tokens", "tokens")
    assert (raised.value.status, raised.value.title, raised.value.detail, raised.value.errors) == (409, "No.", "slug: taken", tuple(faults))


@pytest.mark.parametrize("content", [b"<html>login</html>", b"[1]", b"", b"\xff"])
def test_answer_that_is_not_tollhouses_is_an_error(reader: Client, recorder: Recorder, content: bytes) -> None:
    recorder.content = content
    with pytest.raises(TollhouseError, match="check the address"):
        reader.meters()


def test_server_that_does_not_answer_is_an_error_of_status_zero(server: EventServer) -> None:
    server.vanish()
    with Client(server.url, spool_dir=None) as client, pytest.raises(TollhouseError, match="does not answer") as raised:
        client.meters()
    assert raised.value.status == 0


def test_argument_that_cannot_be_sent_is_an_error(reader: Client) -> None:
    with pytest.raises(TollhouseError, match="cannot be sent"):
        reader.create_price("tokens", amount=float("nan"))


def test_client_talks_to_an_asgi_app(tmp_path: Path) -> None:
    bodies = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bodies.append(json.loads((await receive())["body"] or b"null"))
        content = b'{"inserted": 1, "duplicates": 0, "rejected": [], "meters": [0.5]}'
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": content})

    with Client("http://toll.test", transport=httpx.ASGITransport(app), spool_dir=tmp_path) as client:
        id = client.track("tokens", "alice")
        assert client.flush()
        assert client.meters()["meters"] == [Decimal("0.5")]
    assert bodies[0][0]["id"] == id


def test_client_talks_to_a_wsgi_app() -> None:
    def app(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [("content-type", "application/json")])
        return [json.dumps({"path": environ["PATH_INFO"]}).encode()]

    with Client("http://toll.test", transport=httpx.WSGITransport(app), spool_dir=None) as client:
        assert client.prices() == {"path": "/api/prices"}
