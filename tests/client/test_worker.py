"""Workers against a real `tollhouse up`, with short leases."""

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.client.networks import Counting, Cutting, Deaf, Severed
from tests.scenarios.serving import Server, running, wait_until
from tollhouse_client import Client, Job, Lost, Permanent, Result, Skip, TollhouseError, Worker
from tollhouse_client.outcome import failure_of

TERMS = {"TOLLHOUSE_JOB_LEASE_SECONDS": "1.2", "TOLLHOUSE_JOB_BACKOFF_SECONDS": "0", "TOLLHOUSE_JOB_ATTEMPTS": "3"}


@pytest.fixture(scope="module")
def tollhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose workers count as lost after 1.2 seconds."""
    with running(tmp_path_factory.mktemp("worker") / "data", environment=TERMS) as up:
        yield up


@pytest.fixture
def app(tollhouse: Server) -> Iterator[Client]:
    """The app whose customers hand in jobs."""
    with Client(tollhouse.url, tollhouse.secret, spool_dir=None) as client:
        yield client


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of job of this test's own."""
    return str(request.node.name)[:80]


@pytest.fixture
def worker(tollhouse: Server, tmp_path: Path) -> Worker:
    return Worker(tollhouse.url, tollhouse.secret, wait=1.0, retry_seconds=0.05, scratch_dir=tmp_path)


@contextmanager
def at_work(worker: Worker) -> Iterator[threading.Thread]:
    """The worker runs in a thread, until the block ends."""
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        worker.stop()
        thread.join(30)
        assert not thread.is_alive()


def ended(app: Client, job: dict[str, Any], status: str) -> dict[str, Any]:
    """The job, once it is in that status."""

    def look() -> dict[str, Any] | None:
        now = app.job(job["id"])
        return now if now["status"] == status else None

    found: dict[str, Any] = wait_until(look, f"the job to be {status}: {app.job(job['id'])}")
    return found


def test_files_go_in_and_come_out(app: Client, worker: Worker, kind: str, tmp_path: Path) -> None:
    page = tmp_path / "page.txt"
    page.write_text("from a path")
    seen: list[tuple[str, int, str, bytes]] = []

    @worker.job(kind)
    def work(job: Job) -> Path:
        seen.extend((file.name, file.size, file.content_type, file.read()) for file in job.files)
        with job.files[1].open() as file:
            assert file.read() == job.files[1].path().read_bytes() == b"from bytes"
        assert list(job.scratch.iterdir()) == []
        (job.scratch / "out.txt").write_text(f"{job.kind} {job.user_id} {job.attempt} {job.data['n']}")
        return job.scratch / "out.txt"

    same = "page.txt"  # two files may have one name
    made = app.create_job("carol", kind, [page, ("b.txt", b"from bytes"), (same, io.BytesIO(b"from a file"))], {"n": Decimal("0.10")})
    worker.run(until_idle=True)
    assert seen == [
        ("page.txt", 11, "text/plain", b"from a path"),
        ("b.txt", 10, "text/plain", b"from bytes"),
        ("page.txt", 11, "text/plain", b"from a file"),
    ]
    job = app.job(made["id"], "carol")
    assert (job["status"], job["progress"]) == ("completed", 100)
    got = app.download(made["id"], tmp_path, "carol")
    assert (got.name, got.read_text()) == ("out.txt", f"{kind} carol 1 0.1")
    assert not list(tmp_path.glob("tollhouse-*")), "a directory of the job is left"
    with pytest.raises(TollhouseError, match="404"):
        app.job(made["id"], "dave")


@pytest.mark.parametrize(
    ("returned", "files", "data"),
    [
        (lambda job: None, [], None),
        (lambda job: ("a.txt", b"a"), ["a.txt"], None),
        (lambda job: [("a.txt", b"a"), ("b.txt", b"b")], ["a.txt", "b.txt"], None),
        (lambda job: Result([("a.txt", b"a")], {"pages": 3}), ["a.txt"], {"pages": 3}),
        (lambda job: Result(("a.txt", b"a")), ["a.txt"], None),  # type: ignore[arg-type]  # what is meant is clear
        (lambda job: Result(data={"pages": Decimal("1.5")}), [], {"pages": Decimal("1.5")}),
    ],
    ids=["nothing", "pair", "list", "result", "one", "data"],
)
def test_what_the_function_returns_is_the_result(
    app: Client, worker: Worker, kind: str, returned: Callable[[Job], object], files: list[str], data: Any
) -> None:
    made = app.create_job("carol", kind)
    worker.job(kind)(returned)
    worker.run(until_idle=True)
    job = app.job(made["id"])
    assert job["status"] == "completed", job
    assert [file["name"] for file in job["files"]] == files
    assert job["result"] == data


def test_stated_seconds_are_billed_and_else_the_functions_own(app: Client, worker: Worker, kind: str) -> None:
    worker.job(kind)(lambda job: Result(compute_seconds=12.5) if job.data["stated"] else None)
    stated, measured = (app.create_job("carol", kind, data={"stated": stated}) for stated in (True, False))
    worker.run(until_idle=True)
    assert app.job(stated["id"])["compute_seconds"] == Decimal("12.5")
    assert 0 <= app.job(measured["id"])["compute_seconds"] < 1
    assert app.job_billing(stated["id"])["compute_seconds"] == Decimal("12.5")


def test_skipped_job_says_why(app: Client, worker: Worker, kind: str) -> None:
    made = app.create_job("carol", kind)
    worker.job(kind)(lambda job: Skip("It is there already."))
    worker.run(until_idle=True)
    job = app.job(made["id"])
    assert (job["status"], job["result"]) == ("skipped", {"reason": "It is there already."})


def test_job_whose_function_raises_is_tried_again(app: Client, worker: Worker, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    @worker.job(kind)
    def work(job: Job) -> None:
        if job.attempt < 3:
            job.progress(40, "so far")
            raise OSError(f"attempt {job.attempt}")

    made = app.create_job("carol", kind)
    with at_work(worker), caplog.at_level(logging.ERROR, "tollhouse_client"):
        job = ended(app, made, "completed")
    assert (job["attempt"], job["error"]) == (3, None)
    assert sum("Traceback" in (record.exc_text or "") for record in caplog.records) == 2


def test_reason_that_cannot_be_written_as_utf8_is_written_as_it_can() -> None:
    assert failure_of(OSError("scan \udcff")).reason.encode()


def test_job_that_fails_each_time_has_failed_with_the_last_error(app: Client, worker: Worker, kind: str) -> None:
    @worker.job(kind)
    def work(job: Job) -> None:
        job.progress(30, "at page 3")
        raise KeyError(f"attempt {job.attempt}")

    made = app.create_job("carol", kind)
    worker.run(until_idle=True)
    job = app.job(made["id"])
    assert (job["status"], job["attempt"], job["error"]) == ("failed", 3, "KeyError: 'attempt 3'")
    assert (job["progress"], job["message"]) == (30, "at page 3"), "the last progress is sent"
    again = app.retry_job(made["id"])
    assert (again["status"], again["run"]) == ("pending", 2)
    app.cancel_job(made["id"])


def test_permanent_failure_is_not_tried_again(app: Client, worker: Worker, kind: str) -> None:
    @worker.job(kind)
    def work(job: Job) -> None:
        raise Permanent("There is no page in it.")

    made = app.create_job("carol", kind)
    worker.run(until_idle=True)
    job = app.job(made["id"])
    assert (job["status"], job["attempt"], job["error"]) == ("failed", 1, "There is no page in it.")


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda job: 7, "returned int"),
        (lambda job: job.scratch / "nowhere", "cannot be sent"),
        (lambda job: ("empty.txt", b""), "empty"),
        (lambda job: [Skip("some")], "returned Skip"),
        (lambda job: Result(compute_seconds=-1), "compute_seconds"),
        (lambda job: Result(data={"x": object()}), "JSON has no object"),
    ],
    ids=["number", "missing", "empty", "skips", "seconds", "data"],
)
def test_result_that_cannot_be_one_fails_the_job_at_once(
    app: Client, worker: Worker, kind: str, returned: Callable[[Job], object], said: str
) -> None:
    made = app.create_job("carol", kind)
    worker.job(kind)(returned)
    worker.run(until_idle=True)
    job = app.job(made["id"])
    assert (job["status"], job["attempt"]) == ("failed", 1)
    assert said in job["error"]


def test_cancelled_job_is_lost_to_its_worker(app: Client, worker: Worker, kind: str) -> None:
    begun, raised = threading.Event(), threading.Event()

    @worker.job(kind)
    def work(job: Job) -> tuple[str, bytes]:
        begun.set()
        try:
            wait_until(lambda: job.progress(1), "to be told")
        except Lost:
            raised.set()
        return "late.txt", b"too late"

    made = app.create_job("carol", kind)
    with at_work(worker):
        assert begun.wait(10)
        app.cancel_job(made["id"])
        assert raised.wait(10)
    job = app.job(made["id"])
    assert (job["status"], job["files"]) == ("cancelled", [])


def test_heartbeat_keeps_a_job_for_longer_than_its_lease(app: Client, tollhouse: Server, kind: str) -> None:
    release, network = threading.Event(), Counting("/progress")
    worker = Worker(tollhouse.url, tollhouse.secret, wait=0.5, transport=network)

    @worker.job(kind)
    def work(job: Job) -> None:
        assert release.wait(20)

    made = app.create_job("carol", kind)
    rival = Worker(tollhouse.url, tollhouse.secret, name="rival")
    rival.job(kind)(lambda job: None)
    with at_work(worker):
        wait_until(lambda: network.count >= 7, "seven thirds of the lease to pass")
        rival.run(until_idle=True)  # finds nothing overdue
        release.set()
        assert ended(app, made, "completed")["attempt"] == 1
    assert network.count < 20


def test_progress_is_seen_and_never_waits_for_the_network(app: Client, worker: Worker, kind: str) -> None:
    release = threading.Event()

    @worker.job(kind)
    def work(job: Job) -> None:
        began = time.monotonic()
        for at in range(5000):
            job.progress(at / 100, f"step {at}")
        assert time.monotonic() - began < 15
        assert release.wait(20)

    made = app.create_job("carol", kind)
    with at_work(worker):
        wait_until(lambda: app.job(made["id"])["message"] == "step 4999", "the last progress")
        assert app.job(made["id"])["progress"] == 49
        release.set()
        ended(app, made, "completed")


def test_worker_that_reaches_nobody_for_a_whole_lease_has_lost_its_job(app: Client, tollhouse: Server, kind: str) -> None:
    worker = Worker(tollhouse.url, tollhouse.secret, transport=Severed("/progress"))
    raised: list[int] = []

    @worker.job(kind)
    def work(job: Job) -> Result:
        if job.attempt == 1:
            try:
                wait_until(lambda: job.progress(1), "the lease to be over", 10)
            except Lost:
                raised.append(job.attempt)
                raise
        return Result(data={"attempt": job.attempt})

    made = app.create_job("carol", kind)
    worker.run(until_idle=True)
    assert raised == [1]
    assert app.job(made["id"])["result"] == {"attempt": 2}


def test_file_that_breaks_off_is_fetched_again(app: Client, tollhouse: Server, kind: str) -> None:
    worker = Worker(tollhouse.url, tollhouse.secret, transport=Cutting("/files/", 1))
    worker.job(kind)(lambda job: job.files[0].path())
    made = app.create_job("carol", kind, [("a.txt", b"all of it")])
    worker.run(until_idle=True)
    job = app.job(made["id"])
    assert (job["status"], job["files"][1]["size"], job["attempt"]) == ("completed", 9, 1)


def test_stopped_worker_finishes_what_it_has_and_takes_no_more(app: Client, worker: Worker, kind: str) -> None:
    begun, release = threading.Event(), threading.Event()

    @worker.job(kind)
    def work(job: Job) -> None:
        begun.set()
        assert release.wait(20)

    first, second = app.create_job("carol", kind), app.create_job("carol", kind)
    with at_work(worker) as thread:
        assert begun.wait(10)
        worker.stop()
        release.set()
        thread.join(20)
    assert [app.job(job["id"])["status"] for job in (first, second)] == ["completed", "pending"]
    app.cancel_job(second["id"])


def test_stopped_worker_gives_back_what_it_cannot_finish(app: Client, tollhouse: Server, kind: str) -> None:
    hasty = Worker(tollhouse.url, tollhouse.secret, grace=0.1, wait=1.0)
    begun, release, raised = threading.Event(), threading.Event(), threading.Event()

    @hasty.job(kind)
    def work(job: Job) -> None:
        begun.set()
        release.wait(20)
        try:
            job.progress(1)
        except Lost:
            raised.set()
            raise

    made = app.create_job("carol", kind)
    with at_work(hasty):
        assert begun.wait(10)
    job = app.job(made["id"])
    assert (job["status"], job["attempt"], job["error"]) == ("pending", 0, None)  # no attempt is used up
    release.set()
    assert raised.wait(10)
    app.cancel_job(made["id"])


def test_worker_does_several_jobs_at_once(app: Client, tollhouse: Server, kind: str) -> None:
    double = Worker(tollhouse.url, tollhouse.secret, concurrency=2, wait=1.0)
    together = threading.Barrier(2, timeout=10)
    double.job(kind)(lambda job: Result(data={"place": together.wait()}))
    made = [app.create_job("carol", kind) for _ in range(2)]
    double.run(until_idle=True)
    assert [app.job(job["id"])["status"] for job in made] == ["completed"] * 2


def test_worker_with_a_wrong_key_ends_with_the_servers_sentence(tollhouse: Server, kind: str) -> None:
    stranger = Worker(tollhouse.url, "sk_wrong")
    stranger.job(kind)(lambda job: None)
    with pytest.raises(TollhouseError, match="401"):
        stranger.run()


def test_worker_without_functions_says_so(worker: Worker) -> None:
    with pytest.raises(ValueError, match="no function"):
        worker.run()
    worker.job("once")(lambda job: None)
    with pytest.raises(ValueError, match="'once' has a function already"):
        worker.job("once")(lambda job: None)


def test_job_whose_end_was_not_heard_is_completed_once(app: Client, tollhouse: Server, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(tollhouse.url, tollhouse.secret, transport=Deaf("/complete", 1))
    worker.job(kind)(lambda job: ("a.txt", b"a"))
    made = app.create_job("carol", kind)
    worker.run(until_idle=True)
    job = app.job(made["id"])
    assert (job["status"], job["attempt"], len(job["files"])) == ("completed", 1, 1)
    assert not caplog.records


def test_job_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    begun, release = threading.Event(), threading.Event()
    server = Server.start(tmp_path / "data", environment=TERMS)
    try:
        key, port = server.secret, int(server.url.rpartition(":")[2])
        worker = Worker(server.url, key, wait=1.0, retry_seconds=0.05)

        @worker.job("slow")
        def work(job: Job) -> tuple[str, bytes]:
            begun.set()
            assert release.wait(60)
            return "a.txt", job.files[0].read()

        with Client(server.url, key, spool_dir=None) as app:
            made = app.create_job("carol", "slow", [("in.txt", b"kept")])
            with at_work(worker):
                assert begun.wait(10)
                server.kill()
                release.set()
                server = Server.start(tmp_path / "data", environment=TERMS, port=port)
                job = ended(app, made, "completed")
            assert len([file for file in job["files"] if file["role"] == "result"]) == 1
            wait_until(lambda: app.summary("carol")["jobs_completed"] == 1, "the bill")
            assert app.summary("carol")["bytes_processed"] == 4
    finally:
        server.kill()
