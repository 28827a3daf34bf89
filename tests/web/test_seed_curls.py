"""The lines about billing in the seed documents, run as they stand there, and what those documents promise of the answers.

The lines say `http://localhost:3000`. The server takes that port if it is free; else the lines are run with its own.
`jq` is the system's. One of its two programs divides inside an object, which jq takes from 1.7 on; where jq is older, or
is not there, that program is evaluated in Python instead, and the test's output says so.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.serving import House, Server, Tenant, client, founded, running

SEEDS = Path(__file__).parents[3] / "shared" / "seeds"
GIGABYTE = 1024**3
USER = "user-123"
SUMMARY = {
    *("user_id", "bytes_processed", "bytes_processed_gb", "compute_seconds", "compute_hours", "job_count", "jobs_completed"),
    *("jobs_failed", "jobs_skipped", "estimated_cost", "discount_percent", "discounted_cost", "currency", "period"),
}
DAY = {"date", "bytes_processed", "compute_seconds", "job_count", "jobs_completed", "jobs_failed", "cost"}
JOB = {
    *("job_id", "user_id", "bytes_processed", "bytes_processed_mb", "compute_seconds", "status", "timestamp", "completed_at"),
    *("job_cost", "metadata"),
}


def commands() -> list[str]:
    """Every `curl` line about billing in the seeds 000 and 001, each once, with what it is piped into."""
    found: list[str] = []
    for seed in sorted([*SEEDS.glob("000_*.txt"), *SEEDS.glob("001_*.txt")]):
        lines = iter(seed.read_text().splitlines())
        for line in lines:
            if line.startswith("curl ") and "/api/billing/" in line:
                command = line
                while command.endswith("\\") or command.count("'") % 2:
                    command += "\n" + next(lines)
                found.append(command)
    return list(dict.fromkeys(found))


def used(id: str, kind: str, data: dict[str, Any], when: str, user: str = USER) -> dict[str, Any]:
    return {"id": id, "type": kind, "source": "seed", "subject": user, "time": when, "data": data}


def example(user: str, job: str, when: str, **amounts: Any) -> list[dict[str, Any]]:
    """One finished job: 1 GB and 1 hour unless told."""
    return [
        used(f"{job}-bytes", "bytes_processed", {"bytes": amounts.get("bytes", GIGABYTE), "job_id": job}, when, user),
        used(f"{job}-seconds", "compute_seconds", {"seconds": amounts.get("seconds", 3600), "job_id": job}, when, user),
        used(f"{job}-done", "job_completion", {"job_id": job, "status": "completed", "metadata": {"pages": 12}}, when, user),
    ]


@pytest.fixture(scope="module")
def seed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`tollhouse up --dev`, on the port of the seeds if nobody has it, with a job of this week and one of January 2024."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"  # two processes of the tests would both find it free
        port = 3000 if first and probe.connect_ex(("127.0.0.1", 3000)) else 0
    now = datetime.now(UTC)
    environment = {"TOLLHOUSE_RETENTION_EVENT_DAYS": "36500", "TOLLHOUSE_RETENTION_DAILY_DAYS": "36500"}
    with running(tmp_path_factory.mktemp("seed") / "data", "--dev", port=port, environment=environment) as up, client(up.url) as api:
        events = example(USER, "job-abc123", now.isoformat()) + example(USER, "job-january", "2024-01-15T12:00:00Z")
        assert api.post("/api/events", json=events).json()["inserted"] == 6
        yield up


def run(command: str, server: Server) -> str:
    """Run a line of the seeds in a shell, and return what it printed."""
    line = command if server.url.endswith(":3000") else command.replace("http://localhost:3000", server.url)
    ended = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, f"{line}\n{ended.stderr}"
    return ended.stdout


def test_the_seeds_have_the_lines_that_are_run_here() -> None:
    found = commands()
    assert len(found) == 7, found
    for part in ("summary", "daily-usage", "job/job-abc123", "all-users", "summary?user_id=user-123"):
        assert any(f"/api/billing/{part}" in line for line in found), part
    assert sum("jq" in line for line in found) == 2


@pytest.mark.parametrize("command", [line for line in commands() if "jq" not in line])
def test_a_curl_line_of_the_seeds_answers_what_its_text_promises(seed_server: Server, command: str) -> None:
    answer = json.loads(run(command, seed_server), parse_float=Decimal)
    if "/summary" in command:
        assert set(answer) >= SUMMARY
        assert answer["user_id"] == USER
        assert answer["estimated_cost"] == Decimal("0.722")
    elif "/daily-usage" in command:
        assert len(answer["daily_usage"]) == 30
        assert all(set(day) >= DAY for day in answer["daily_usage"])
        assert sum(day["cost"] for day in answer["daily_usage"]) == Decimal("0.361")
    elif "/job/" in command:
        assert set(answer) >= JOB
        assert answer["job_cost"] == Decimal("0.361")
    else:
        assert answer["total_users"] == 1
        assert [user["user_id"] for user in answer["users"]] == [USER]


@pytest.mark.parametrize("command", [line for line in commands() if "jq" in line], ids=["months-cost", "all-users"])
def test_a_line_that_is_piped_into_jq_gives_the_promised_figures(seed_server: Server, command: str) -> None:
    if not jq_knows(command):
        answer = _as_jq(json.loads(run(command.partition("|")[0].strip().rstrip("\\"), seed_server)))
    else:
        answer = json.loads(run(command, seed_server))
    if "daily-usage" in command:
        assert answer["total_bytes_gb"] == 1
        assert answer["total_compute_hours"] == 1
        assert answer["estimated_cost"] == pytest.approx(0.361)  # jq reckons in doubles
    else:
        assert answer == {"user_id": USER, "estimated_cost": 0.722}


def jq_knows(command: str) -> bool:
    """Whether there is a jq, and one that reads the command's program."""
    program = command[command.index("jq '") + 4 :].rstrip("'")
    jq = shutil.which("jq")
    if jq is not None and subprocess.run([jq, "-n", f"empty | {program}"], capture_output=True, check=False).returncode == 0:
        return True
    sys.stderr.write(f"\n{'this jq cannot read' if jq else 'there is no jq for'} the program; it is evaluated in Python: {program}\n")
    return False


def _as_jq(answer: dict[str, Any]) -> dict[str, Any]:
    """What the seeds' two jq programs make of an answer."""
    if "users" in answer:
        return {name: answer["users"][0][name] for name in ("user_id", "estimated_cost")}
    bytes_ = sum(day["bytes_processed"] for day in answer["daily_usage"])
    seconds = sum(day["compute_seconds"] for day in answer["daily_usage"])
    cost = bytes_ / GIGABYTE * 0.001 + seconds * 0.0001
    return {"total_bytes_gb": bytes_ / GIGABYTE, "total_compute_hours": seconds / 3600, "estimated_cost": cost}


def get(tenant: Tenant, path: str, **params: str) -> Any:
    answer = tenant.api.get(f"/api/billing/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json(parse_float=Decimal)


def test_one_gigabyte_and_one_hour_cost_0_361_exactly(manga: Tenant) -> None:
    manga.send(*example("carol", "job-1", "2026-01-10T00:00:00Z"))
    summary = get(manga, "summary", user_id="carol")
    assert '"estimated_cost":0.361,' in manga.api.get("/api/billing/summary", params={"user_id": "carol"}).text
    assert summary == {
        "user_id": "carol",
        "bytes_processed": GIGABYTE,
        "bytes_processed_gb": 1,
        "compute_seconds": 3600,
        "compute_hours": 1,
        "job_count": 1,
        "jobs_completed": 1,
        "jobs_failed": 0,
        "jobs_skipped": 0,
        "estimated_cost": Decimal("0.361"),
        "discount_percent": 0,
        "discounted_cost": Decimal("0.361"),
        "currency": "USD",
        "period": "lifetime",
    }


def test_a_job_shows_what_it_used_and_cost(manga: Tenant) -> None:
    manga.send(*example("carol", "job-1", "2026-01-10T00:00:00Z", bytes=3 * 1024**2 // 2, seconds="2.5"))
    job = get(manga, "job/job-1")
    assert job == {
        "job_id": "job-1",
        "user_id": "carol",
        "bytes_processed": 1572864,
        "bytes_processed_mb": Decimal("1.5"),
        "compute_seconds": Decimal("2.5"),
        "status": "completed",
        "timestamp": "2026-01-10T00:00:00Z",
        "completed_at": "2026-01-10T00:00:00Z",
        "job_cost": Decimal("0.000251464844"),
        "metadata": {"pages": 12},
    }


def test_a_job_that_is_not_finished_is_processing(manga: Tenant) -> None:
    manga.send(example("carol", "job-1", "2026-01-10T00:00:00Z")[0])
    job = get(manga, "job/job-1")
    assert (job["status"], job["completed_at"]) == ("processing", None)


def test_a_job_of_another_customer_is_not_found(manga: Tenant) -> None:
    manga.send(*example("carol", "job-1", "2026-01-10T00:00:00Z"))
    assert manga.api.get("/api/billing/job/job-1", headers={"x-user-id": "dave"}).status_code == 404
    assert manga.api.get("/api/billing/job/job-1", headers={"x-user-id": "carol"}).status_code == 200
    assert manga.api.get("/api/billing/job/unknown").status_code == 404


@pytest.mark.parametrize(
    ("seconds", "percent", "net"),
    [
        ("999949", "0", "99.9949"),
        ("999999", "10", "89.99991"),  # 99.9999, which a bill shows as 100.00
        ("1000000", "10", "90"),
        ("4999949", "10", "449.99541"),
        ("5000000", "20", "400"),
        ("19999949", "20", "1599.99592"),
        ("20000000", "30", "1400"),
        ("100000000", "30", "7000"),
    ],
)
def test_a_months_total_earns_its_tiers_discount_on_all_of_it(manga: Tenant, seconds: str, percent: str, net: str) -> None:
    manga.send(used("big", "compute_seconds", {"seconds": seconds}, "2026-01-10T00:00:00Z", "carol"))
    summary = get(manga, "summary", user_id="carol", period="2026-01")
    assert summary["estimated_cost"] == Decimal(seconds) * Decimal("0.0001")
    assert summary["discount_percent"] == Decimal(percent)
    assert summary["discounted_cost"] == Decimal(net)
    assert summary["period"] == "2026-01"


def test_two_months_do_not_add_up_to_a_discount(manga: Tenant) -> None:
    manga.send(*[used(month, "compute_seconds", {"seconds": 600_000}, f"2026-0{month}-10T00:00:00Z", "carol") for month in "12"])
    summary = get(manga, "summary", user_id="carol")
    assert (summary["estimated_cost"], summary["discounted_cost"], summary["discount_percent"]) == (120, 120, 0)


def test_the_days_of_a_month_add_up_to_the_month(manga: Tenant) -> None:
    events = [
        event
        for day in range(1, 32)
        for event in example("carol", f"job-{day}", f"2026-01-{day:02}T23:59:59.999999Z", bytes=day * 7_777_777, seconds=f"0.{day:02}7")
    ]
    manga.send(*events)
    month = get(manga, "summary", user_id="carol", period="2026-01")
    daily = get(manga, "daily-usage", user_id="carol", start_date="2026-01-01", end_date="2026-01-31")
    days = daily["daily_usage"]
    assert [day["date"] for day in days] == [f"2026-01-{day:02}" for day in range(1, 32)]
    for of_days, of_month in (("cost", "estimated_cost"), *((name, name) for name in ("bytes_processed", "compute_seconds", "job_count"))):
        assert sum(Decimal(day[of_days]) for day in days) == month[of_month], of_days
    assert (daily["user_id"], daily["start_date"], daily["end_date"]) == ("carol", "2026-01-01", "2026-01-31")


def test_the_last_thirty_days_are_shown_when_no_dates_are_given(manga: Tenant) -> None:
    today = datetime.now(UTC).date()
    daily = get(manga, "daily-usage", user_id="carol")
    assert [day["date"] for day in daily["daily_usage"]] == [(today - timedelta(days=back)).isoformat() for back in range(29, -1, -1)]


def test_jobs_are_counted_by_how_they_ended(manga: Tenant) -> None:
    ended = ["completed", "completed", "failed", "skipped"]
    manga.send(
        *[
            used(f"job-{at}", "job_completion", {"status": how, "job_id": f"job-{at}"}, "2026-01-10T00:00:00Z")
            for at, how in enumerate(ended)
        ]
    )
    summary = get(manga, "summary", user_id=USER)
    assert {name: summary[name] for name in ("job_count", "jobs_completed", "jobs_failed", "jobs_skipped")} == {
        "job_count": 4,
        "jobs_completed": 2,
        "jobs_failed": 1,
        "jobs_skipped": 1,
    }
    (day,) = get(manga, "daily-usage", user_id=USER, start_date="2026-01-10", end_date="2026-01-10")["daily_usage"]
    assert (day["job_count"], day["jobs_completed"], day["jobs_failed"]) == (4, 2, 1)


def test_a_reset_starts_the_lifetime_totals_again_and_leaves_the_month(manga: Tenant) -> None:
    manga.send(*example("carol", "job-1", "2026-01-10T00:00:00Z"), *example("dave", "job-2", "2026-01-10T00:00:00Z"))
    month = get(manga, "bill", user_id="carol", period="2026-01")
    answer = manga.api.post("/api/billing/users/carol/reset")
    assert answer.status_code == 200
    assert answer.json()["user_id"] == "carol"
    after = get(manga, "summary", user_id="carol")
    assert (after["bytes_processed"], after["compute_seconds"], after["job_count"], after["estimated_cost"]) == (0, 0, 0, 0)
    assert get(manga, "bill", user_id="carol", period="2026-01") == month
    assert get(manga, "summary", user_id="dave")["estimated_cost"] == Decimal("0.361")
    manga.send(*example("carol", "job-3", "2026-02-10T00:00:00Z"))
    assert get(manga, "summary", user_id="carol")["estimated_cost"] == Decimal("0.361")
    assert len(manga.api.get("/api/events", params={"subject": "carol"}).json()["events"]) == 6


def test_resetting_a_customer_that_is_none_is_refused(manga: Tenant) -> None:
    assert manga.api.post("/api/billing/users/nobody/reset").status_code == 404


def test_all_users_come_dearest_first_and_need_the_admin_scope(house: House, manga: Tenant) -> None:
    for user, seconds in (("carol", 10), ("dave", 30), ("erin", 20)):
        manga.send(used(user, "compute_seconds", {"seconds": seconds}, "2026-01-10T00:00:00Z", user))
    answer = get(manga, "all-users")
    assert answer["total_users"] == 3
    assert [user["user_id"] for user in answer["users"]] == ["dave", "erin", "carol"]
    assert all(set(user) >= SUMMARY - {"period"} for user in answer["users"])
    with client(house.url, manga.key("read")["secret"]) as reader:
        refused = reader.get("/api/billing/all-users")
        assert refused.status_code == 403
        assert "admin" in refused.json()["detail"]
        assert reader.post("/api/billing/users/carol/reset").status_code == 403


def test_the_customer_has_to_be_named_and_by_one_name(manga: Tenant) -> None:
    for path in ("summary", "daily-usage", "bill"):
        assert manga.api.get(f"/api/billing/{path}").status_code == 422
        both = manga.api.get(f"/api/billing/{path}", params={"user_id": "carol"}, headers={"x-user-id": "dave"})
        assert both.status_code == 422
        assert manga.api.get(f"/api/billing/{path}", params={"user_id": ""}).status_code == 422


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("daily-usage", {"start_date": "2026-02-30"}),
        ("daily-usage", {"start_date": "2026-02-02", "end_date": "2026-02-01"}),
        ("daily-usage", {"start_date": "2010-01-01", "end_date": "2026-02-01"}),
        ("daily-usage", {"end_date": "tomorrow"}),
        ("summary", {"period": "2026-13"}),
        ("summary", {"period": "2026"}),
        ("bill", {"period": "2026-01-01"}),
    ],
)
def test_a_date_that_makes_no_sense_is_refused_by_name(manga: Tenant, path: str, params: dict[str, str]) -> None:
    answer = manga.api.get(f"/api/billing/{path}", params={"user_id": "carol", **params})
    assert answer.status_code == 422, answer.text
    assert any(name in answer.json()["detail"] for name in ("start_date", "end_date", "period"))


def test_a_bill_is_in_whole_cents_with_its_discount(manga: Tenant) -> None:
    manga.send(used("big", "compute_seconds", {"seconds": "1234567.8"}, "2026-01-10T00:00:00Z", "carol"))
    bill = get(manga, "bill", user_id="carol", period="2026-01")
    assert (bill["gross"], bill["discount_percent"], bill["discount"], bill["net"]) == (
        Decimal("123.46"),
        10,
        Decimal("12.35"),
        Decimal("111.11"),
    )
    (line,) = bill["lines"]
    assert (line["meter"], line["quantity"], line["amount"]) == ("compute_seconds", Decimal("1234567.8"), Decimal("123.46"))


def test_days_begin_at_midnight_of_the_organization(house: House) -> None:
    with founded(house.url, house.operator, "Manga", "Asia/Tokyo") as tenant:
        tenant.send(used("late", "compute_seconds", {"seconds": 10}, "2026-01-31T15:00:00Z", "carol"))
        (day,) = get(tenant, "daily-usage", user_id="carol", start_date="2026-02-01", end_date="2026-02-01")["daily_usage"]
        assert day["compute_seconds"] == 10
        assert get(tenant, "summary", user_id="carol", period="2026-01")["compute_seconds"] == 0
