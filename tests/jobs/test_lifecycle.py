"""A job's life on both records databases: every arrow of the diagram, every arrow that is not there, and who holds it when."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.jobs.floor import START, TERMS, Clock, Floor
from tollhouse import jobs
from tollhouse.jobs import STATUSES, Job, NewJob, Outcome, StoredFile, Terms
from tollhouse.jobs.lifecycle import LOST
from tollhouse.kit.errors import Conflict, NotFound, Unprocessable
from tollhouse.kit.paging import Page
from tollhouse.store.records import Records

D = Decimal


@pytest.fixture
def floor(records: Records) -> Floor:
    return Floor(records)


VERBS: dict[str, Callable[[Floor, Job], Job]] = {
    "complete": Floor.complete,
    "skip": Floor.skip,
    "fail": Floor.fail,
    "give_up": Floor.give_up,
    "give_back": Floor.give_back,
    "cancel": Floor.cancel,
    "retry": Floor.retry,
    "advance": Floor.advance,
}
ARROWS = {
    ("processing", "complete"): "completed",
    ("processing", "skip"): "skipped",
    ("processing", "fail"): "pending",
    ("processing", "give_up"): "failed",
    ("processing", "give_back"): "pending",
    ("processing", "cancel"): "cancelled",
    ("processing", "advance"): "processing",
    ("pending", "cancel"): "cancelled",
    ("failed", "retry"): "pending",
    ("cancelled", "retry"): "pending",
}
WRITTEN = {
    "complete": ["completed"],
    "skip": ["skipped"],
    "fail": ["returned"],
    "give_up": ["failed"],
    "give_back": ["given back"],
    "cancel": ["cancelled"],
    "retry": ["retried"],
    "advance": [],
}


@pytest.mark.parametrize(("status", "verb"), ARROWS)
def test_every_arrow_leads_where_it_points_and_writes_one_row(floor: Floor, status: str, verb: str) -> None:
    job = floor.bring(status)
    before = floor.history(job)
    moved = VERBS[verb](floor, job)
    assert moved.status == floor.look(job).status == ARROWS[status, verb]
    assert floor.history(job) == before + WRITTEN[verb]


@pytest.mark.parametrize(("status", "verb"), [(status, verb) for status in STATUSES for verb in VERBS if (status, verb) not in ARROWS])
def test_an_arrow_that_is_not_there_is_a_conflict_and_changes_nothing(floor: Floor, status: str, verb: str) -> None:
    job = floor.bring(status)
    before, reported = floor.history(job), floor.reports().keys()
    with pytest.raises(Conflict) as refused:
        VERBS[verb](floor, job)
    assert job.id in refused.value.detail
    now = floor.look(job)
    assert (now.status, now.fence, now.run, now.attempt) == (status, job.fence, job.run, job.attempt)
    assert floor.history(job) == before
    assert floor.reports().keys() == reported


@pytest.mark.parametrize("status", STATUSES)
def test_only_a_pending_job_is_claimed(floor: Floor, status: str) -> None:
    job = floor.bring(status)
    before = floor.history(job)
    taken = floor.claim("w2")
    if status != "pending":
        assert taken is None
        assert floor.history(job) == before
        return
    assert taken is not None
    assert (taken.id, taken.status, taken.worker, taken.attempt) == (job.id, "processing", "w2", 1)
    assert taken.fence == job.fence + 1
    assert (taken.started_at, taken.lease_until) == (START, START + TERMS.lease)
    assert floor.history(job) == [*before, "claimed"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_job_of_another_organization_is_not_there(floor: Floor, verb: str) -> None:
    job = floor.bring("processing")
    beats = Floor(floor.records)
    with pytest.raises(NotFound):
        VERBS[verb](beats, job)
    assert beats.claim() is None
    assert floor.look(job).status == "processing"


def test_a_change_that_somebody_else_made_first_is_a_conflict(floor: Floor) -> None:
    job = floor.bring("pending")
    with floor.records.transaction() as session:
        stale = jobs.find(session, floor.organization, job.id)
        session.expunge(stale)
    floor.cancel(job)
    with floor.records.transaction() as session, pytest.raises(Conflict):
        jobs.job.move(session, stale, "processing", START, "w1", "claimed")
    assert floor.history(job) == ["created", "cancelled"]


# Who gets which job


def test_a_claim_takes_the_job_that_has_waited_longest(floor: Floor) -> None:
    made = []
    for _ in range(4):
        made.append(floor.create().id)
        floor.clock.forward(seconds=1)
    assert [floor.claimed().id for _ in made] == made
    assert floor.claim() is None


def test_jobs_that_were_made_at_the_same_moment_are_claimed_as_they_were_made(floor: Floor) -> None:
    made = [floor.create().id for _ in range(5)]
    assert [floor.claimed().id for _ in made] == made


def test_a_worker_is_given_only_the_kinds_that_it_asks_for(floor: Floor) -> None:
    made = {kind: floor.create(kind).id for kind in ("animate", "colour", "letter")}
    letter = floor.claim(kinds=("letter", "print"))
    assert letter is not None
    assert letter.id == made["letter"]
    assert floor.claim(kinds=("letter", "print")) is None
    rest = [floor.claim(kinds=("colour", "animate")) for _ in range(3)]
    assert [job.id if job else None for job in rest] == [made["animate"], made["colour"], None]


def test_a_look_finds_what_a_claim_would_take(floor: Floor) -> None:
    def waiting(*kinds: str) -> bool:
        with floor.records.reading() as session:
            return jobs.waiting(session, floor.organization, kinds, floor.clock.now)

    assert not waiting()
    floor.create("animate")
    assert waiting()
    assert waiting("animate")
    assert not waiting("letter")
    held = floor.claimed()
    assert not waiting()
    floor.clock.forward(seconds=61)
    assert waiting()
    floor.fail(held)
    assert not waiting()
    floor.clock.forward(seconds=5)
    assert waiting()


def test_a_job_that_was_given_back_waits_and_twice_as_long_the_next_time(floor: Floor) -> None:
    floor.create(attempts=5)
    for pause in (5, 10, 20, 40):
        floor.fail(floor.claimed())
        floor.clock.forward(seconds=pause - 0.001)
        assert floor.claim() is None
        floor.clock.forward(seconds=0.001)


def test_a_job_that_was_given_back_does_not_go_before_one_that_could_be_done_earlier(floor: Floor) -> None:
    first = floor.create()
    floor.fail(floor.claimed())
    floor.clock.forward(seconds=3)
    second = floor.create()
    floor.clock.forward(seconds=10)
    assert [floor.claimed().id, floor.claimed().id] == [second.id, first.id]


def test_the_pause_ends_at_a_quarter_of_an_hour() -> None:
    assert [Terms().pause(attempt).total_seconds() for attempt in (1, 2, 8, 9, 1000)] == [5, 10, 640, 900, 900]


# Leases


def test_a_lease_that_runs_to_its_last_moment_is_still_held(floor: Floor) -> None:
    floor.create()
    held = floor.claimed()
    floor.clock.forward(seconds=60)
    assert floor.release() == 0
    assert floor.complete(held).status == "completed"


def test_a_job_whose_worker_is_silent_goes_back_and_waits(floor: Floor) -> None:
    floor.create()
    held = floor.claimed()
    floor.clock.forward(seconds=60.001)
    assert floor.release() == 1
    back = floor.look(held)
    assert (back.status, back.error, back.worker, back.lease_until) == ("pending", LOST, None, None)
    assert back.available_at == floor.clock.now + timedelta(seconds=5)
    assert back.fence == held.fence + 1
    assert floor.claim() is None
    floor.clock.forward(seconds=5)
    again = floor.claimed("w2")
    assert (again.id, again.attempt, again.run) == (held.id, 2, 1)
    assert floor.history(held) == ["created", "claimed", "returned", "claimed"]


def test_a_claim_takes_back_what_is_overdue_itself(floor: Floor) -> None:
    floor.create()
    held = floor.claimed()
    floor.clock.forward(seconds=61)
    assert floor.claim("w2") is None
    assert floor.look(held).status == "pending"
    floor.clock.forward(seconds=5)
    assert floor.claimed("w2").id == held.id


def test_a_job_whose_last_worker_was_lost_has_failed_and_costs_no_seconds(floor: Floor) -> None:
    job = floor.create(attempts=2, sizes=[7])
    for _ in range(2):
        floor.claimed()
        floor.clock.forward(seconds=61)
        assert floor.release() == 1
        floor.clock.forward(seconds=5)
    ended = floor.look(job)
    assert (ended.status, ended.error, ended.compute_seconds) == ("failed", LOST, None)
    assert floor.claim() is None
    assert {id.partition(":")[2]: json.loads(report.data) for id, report in floor.reports().items()} == {
        "bytes_processed": {"bytes": 7, "job_id": job.id},
        "job_completion": {"status": "failed", "job_id": job.id},
    }


def test_a_sign_of_life_extends_the_lease(floor: Floor) -> None:
    floor.create()
    held = floor.claimed()
    for _ in range(5):
        floor.clock.forward(seconds=50)
        assert floor.advance(held).lease_until == floor.clock.now + timedelta(seconds=60)
    assert floor.release() == 0


def test_a_sign_of_life_extends_the_lease_that_the_worker_asked_for(floor: Floor) -> None:
    floor.create()
    held = floor.claim(lease=timedelta(minutes=30))
    assert held is not None
    floor.clock.forward(minutes=1)
    assert floor.advance(held, 5).lease_until == START + timedelta(minutes=31)
    floor.clock.forward(minutes=30)
    assert floor.release() == 0
    assert floor.advance(held, 90).lease_until == START + timedelta(minutes=61)


def test_only_so_many_overdue_jobs_go_back_at_once_and_the_rest_the_next_time(floor: Floor) -> None:
    for _ in range(5):
        floor.create()
        floor.claimed()
    floor.clock.forward(seconds=61)
    with floor.records.transaction() as session:
        assert jobs.release_overdue(session, floor.clock.now, TERMS, floor.organization, limit=3) == 3
    assert floor.release() == 2


def test_overdue_jobs_of_every_organization_go_back(floor: Floor) -> None:
    beats = Floor(floor.records, floor.clock)
    held = []
    for one in (floor, beats):
        one.create()
        held.append(one.claimed())
    floor.clock.forward(seconds=61)
    with floor.records.transaction() as session:
        assert jobs.release_overdue(session, floor.clock.now, TERMS) == 2
    assert (floor.look(held[0]).status, beats.look(held[1]).status) == ("pending", "pending")


def test_a_worker_that_is_stopped_gives_its_job_back_at_once_and_without_an_attempt(floor: Floor) -> None:
    job = floor.create(attempts=1)
    for _ in range(3):
        held = floor.claimed()
        assert held.attempt == 1
        back = floor.give_back(held)
        assert (back.status, back.attempt, back.worker, back.lease_until, back.available_at) == ("pending", 0, None, None, floor.clock.now)
        assert back.fence == held.fence + 1
        floor.clock.forward(seconds=1)
    assert floor.complete(floor.claimed()).status == "completed"
    assert set(floor.reports()) == {f"{job.id}:compute_seconds", f"{job.id}:job_completion"} | {f"{job.id}:bytes_processed"}


# The fence


@pytest.mark.parametrize("verb", ["advance", "complete", "skip", "fail", "give_up", "give_back"])
@pytest.mark.parametrize("meanwhile", ["returned", "taken", "cancelled", "run again", "done"])
def test_a_worker_that_lost_its_job_is_stopped(floor: Floor, verb: str, meanwhile: str) -> None:
    floor.create(sizes=[1])
    mine = floor.claimed("w1")
    if meanwhile in ("returned", "taken"):
        floor.clock.forward(seconds=61)
        floor.release()
        floor.clock.forward(seconds=5)
        if meanwhile == "taken":
            floor.advance(floor.claimed("w2"), 40, "page 4")
    elif meanwhile == "done":
        floor.complete(mine)
    else:
        floor.cancel(mine)
        if meanwhile == "run again":
            floor.retry(mine)
            floor.claimed("w2")
    before, reported, history = floor.look(mine), floor.reports().keys(), floor.history(mine)
    with pytest.raises(Conflict, match=before.status):
        VERBS[verb](floor, mine)
    after = floor.look(mine)
    assert (after.status, after.progress, after.message, after.worker, after.lease_until) == (
        before.status,
        before.progress,
        before.message,
        before.worker,
        before.lease_until,
    )
    assert floor.reports().keys() == reported
    assert floor.history(mine) == history


def test_the_fence_rises_with_every_claim_and_every_return(floor: Floor) -> None:
    job = floor.create(attempts=2)
    seen = [job.fence]
    for _ in range(2):
        seen.append(floor.claimed().fence)
        floor.fail(floor.look(job))
        seen.append(floor.look(job).fence)
        floor.clock.forward(minutes=1)
    assert seen == [0, 1, 2, 3, 3]
    assert floor.retry(job).fence == 4


# Two at once


def at_once(count: int, work: Callable[..., Any]) -> list[Any]:
    """What `work` returned in each of so many threads, which begin together."""
    barrier = threading.Barrier(count, timeout=20)
    found: list[Any] = [None] * count

    def run(at: int) -> None:
        barrier.wait()
        try:
            found[at] = work(at)
        except Exception as error:  # the test looks at it
            found[at] = error

    threads = [threading.Thread(target=run, args=(at,)) for at in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_one_job_is_given_to_one_of_many_workers(floor: Floor) -> None:
    for _ in range(8):
        job = floor.create()
        given = at_once(6, lambda at: floor.claim(f"w{at}"))
        (taken,) = (one for one in given if one is not None)
        assert taken.id == job.id
        assert floor.look(job).worker == taken.worker
        assert floor.history(job) == ["created", "claimed"]


def test_many_workers_share_many_jobs_and_each_job_is_given_once(floor: Floor) -> None:
    made = [floor.create().id for _ in range(30)]

    def work(at: int) -> list[str]:
        mine: list[str] = []
        idle = 0
        while idle < 3:  # a claim may find only rows that others are just taking
            job = floor.claim(f"w{at}")
            idle = 0 if job else idle + 1
            mine += [job.id] if job else []
        return mine

    given = at_once(6, work)
    assert sorted(id for mine in given for id in mine) == made


def test_an_overdue_job_goes_back_once_though_many_look(floor: Floor) -> None:
    job = floor.create(attempts=2)
    floor.claimed()
    floor.clock.forward(seconds=61)
    assert sum(at_once(6, lambda _: floor.release())) == 1
    assert floor.history(job) == ["created", "claimed", "returned"]


@pytest.mark.parametrize("other", [Floor.cancel, Floor.fail, Floor.complete])
def test_of_two_ends_at_once_one_counts(floor: Floor, other: Callable[[Floor, Job], Job]) -> None:
    for _ in range(5):
        floor.create(sizes=[1])
        held = floor.claimed()
        ends = at_once(4, lambda at, held=held: floor.complete(held) if at % 2 else other(floor, held))
        assert sum(isinstance(end, Job) for end in ends) == 1
        assert sum(isinstance(end, Conflict) for end in ends) == 3
        assert len(floor.history(held)) == 3
        floor.clock.forward(hours=1)
        while job := floor.claim():
            floor.give_up(job)


def test_signs_of_life_that_overtake_each_other_never_turn_progress_back(floor: Floor) -> None:
    for _ in range(4):
        floor.create()
        held = floor.claimed()
        told = at_once(8, lambda at, held=held: floor.advance(held, 100 - 10 * at))
        assert all(isinstance(one, Job) for one in told)
        assert floor.look(held).progress == 100


# Progress


def test_progress_never_goes_back_within_an_attempt(floor: Floor) -> None:
    floor.create()
    held = floor.claimed()
    assert [floor.advance(held, said).progress for said in (0, 30, 10, None, 31, 100, 0)] == [0, 30, 30, 30, 31, 100, 100]


def test_a_new_attempt_begins_at_nothing(floor: Floor) -> None:
    floor.create()
    floor.advance(floor.claimed(), 80, "page 8")
    floor.clock.forward(seconds=61)
    floor.release()
    floor.clock.forward(seconds=5)
    again = floor.claimed()
    assert (again.progress, again.message) == (0, "")


@pytest.mark.parametrize("progress", [-1, 101])
def test_progress_is_a_percentage(floor: Floor, progress: int) -> None:
    floor.create()
    with pytest.raises(Unprocessable, match=str(progress)):
        floor.advance(floor.claimed(), progress)


def test_a_message_stays_until_another_comes(floor: Floor) -> None:
    floor.create()
    held = floor.claimed()
    assert floor.advance(held, 1, "page 1").message == "page 1"
    assert floor.advance(held, 2).message == "page 1"
    assert floor.advance(held, 3, "").message == ""
    assert len(floor.advance(held, 4, "x" * 900).message) == 500


# Ends


def test_a_completed_job_has_its_files_its_picture_and_its_result(floor: Floor) -> None:
    floor.create(sizes=[5])
    held = floor.claimed()
    floor.clock.forward(seconds=12.5)
    done = floor.complete(
        held,
        Outcome(
            files=[StoredFile("a.webp", "k1", 9, "image/webp"), StoredFile("b.webp", "k2", 9, "image/webp")],
            thumbnail=StoredFile("thumbnail.webp", "k3", 3, "image/webp"),
            result={"pages": 3},
        ),
    )
    assert (done.status, done.progress, done.completed_at, done.lease_until) == ("completed", 100, floor.clock.now, None)
    assert (done.compute_seconds, done.result, done.error) == (D("12.5"), {"pages": 3}, None)
    with floor.records.reading() as session:
        files = jobs.files_of(session, floor.organization, [held.id])[held.id]
    assert [(file.role, file.name) for file in files] == [
        ("input", "0.png"),
        ("result", "a.webp"),
        ("result", "b.webp"),
        ("thumbnail", "thumbnail.webp"),
    ]


def test_a_result_that_is_too_large_is_refused_and_the_job_is_still_held(floor: Floor) -> None:
    floor.create()
    held = floor.claimed()
    with pytest.raises(Unprocessable):
        floor.complete(held, Outcome(result={"text": "x" * (64 << 10)}))
    assert floor.complete(held).status == "completed"


@pytest.mark.parametrize("seconds", ["-1", "-1e-400", "NaN", "Infinity", "1e9", "1e400"])
def test_seconds_that_are_no_time_are_refused(floor: Floor, seconds: str) -> None:
    floor.create()
    held = floor.claimed()
    with pytest.raises(Unprocessable, match="compute_seconds"):
        floor.complete(held, Outcome(compute_seconds=D(seconds)))
    with pytest.raises(Unprocessable, match="compute_seconds"):
        floor.fail(held, retry=False, seconds=D(seconds))
    assert floor.look(held).status == "processing"


@pytest.mark.parametrize(
    ("measured", "kept"), [("12.345678901234567", "12.345678901235"), ("1e-400", "0"), (f"0.{'1' * 60}", f"0.{'1' * 12}")]
)
def test_seconds_are_kept_to_as_many_places_as_a_quantity_has(floor: Floor, measured: str, kept: str) -> None:
    floor.create()
    done = floor.complete(floor.claimed(), Outcome(compute_seconds=D(measured)))
    assert str(done.compute_seconds) == kept
    assert f'"seconds":{kept},' in floor.reports()[f"{done.id}:compute_seconds"].data


def test_a_reason_is_kept_and_one_is_given_where_none_is(floor: Floor) -> None:
    job = floor.create(attempts=1)
    assert floor.fail(floor.claimed(), "torn\0 page " + "x" * 3000).error == ("torn page " + "x" * 3000)[:2000]
    floor.retry(job)
    assert floor.fail(floor.claimed(), "").error == "The worker gave no reason."


def test_a_retry_is_a_run_of_its_own_with_all_its_attempts(floor: Floor) -> None:
    job = floor.create(attempts=2, sizes=[10])
    for _ in range(2):
        floor.fail(floor.claimed(), seconds=D(3))
        floor.clock.forward(minutes=1)
    assert floor.look(job).status == "failed"
    again = floor.retry(job)
    assert (again.status, again.run, again.attempt, again.progress, again.available_at) == ("pending", 2, 0, 0, floor.clock.now)
    assert (again.error, again.completed_at, again.started_at, again.worker, again.compute_seconds) == (None, None, None, None, None)
    floor.fail(floor.claimed())
    assert floor.look(job).status == "pending"
    floor.clock.forward(minutes=1)
    second = floor.claimed()
    assert (second.run, second.attempt) == (2, 2)
    floor.complete(second, Outcome(compute_seconds=D(4)))
    assert floor.history(job) == [
        "created",
        *["claimed", "returned", "claimed", "failed"],
        "retried",
        *["claimed", "returned"],
        *["claimed", "completed"],
    ]


def test_bytes_are_reported_once_and_each_runs_seconds_and_outcome_once(floor: Floor) -> None:
    job = floor.create(attempts=2, sizes=[10, 20])
    for _ in range(2):
        floor.fail(floor.claimed(), seconds=D("3.5"))
        floor.clock.forward(minutes=1)
    floor.retry(job)
    floor.clock.forward(minutes=1)
    floor.cancel(job)
    floor.retry(job)
    floor.complete(floor.claimed(), Outcome(compute_seconds=D("4.123456789")))
    reported = {id.removeprefix(job.id): (report.type, report.customer, report.data) for id, report in floor.reports().items()}
    assert reported == {
        ":bytes_processed": ("bytes_processed", "carol", f'{{"bytes":30,"job_id":"{job.id}"}}'),
        ":compute_seconds": ("compute_seconds", "carol", f'{{"seconds":3.5,"job_id":"{job.id}"}}'),
        ":job_completion": ("job_completion", "carol", f'{{"status":"failed","job_id":"{job.id}"}}'),
        ":compute_seconds:3": ("compute_seconds", "carol", f'{{"seconds":4.123456789,"job_id":"{job.id}"}}'),
        ":job_completion:3": ("job_completion", "carol", f'{{"status":"completed","job_id":"{job.id}"}}'),
    }


def test_a_worker_cannot_have_its_seconds_forgotten_by_what_it_says(floor: Floor) -> None:
    floor.create()
    assert floor.fail(floor.claimed(), LOST, retry=False, seconds=D(7)).compute_seconds == 7


# Making them


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (NewJob("", "animate"), "user_id"),
        (NewJob("c" * 256, "animate"), "user_id"),
        (NewJob("carol", ""), "kind"),
        (NewJob("carol", "k" * 81), "kind"),
        (NewJob("carol", "ani\nmate"), "kind"),
        (NewJob("carol", "animate", {"text": "x" * (64 << 10)}), "data"),
        (NewJob("carol", "animate", idempotency_key=""), "Idempotency-Key"),
        (NewJob("carol", "animate", idempotency_key="k" * 256), "Idempotency-Key"),
    ],
)
def test_a_job_that_makes_no_sense_is_told_which_field_is_wrong(floor: Floor, new: NewJob, field: str) -> None:
    with floor.records.transaction() as session, pytest.raises(Unprocessable) as refused:
        jobs.create(session, floor.organization, START, "alice", new)
    assert [fault.field for fault in refused.value.faults] == [field]


def test_jobs_are_listed_newest_first_by_customer_and_status_and_found_by_name(floor: Floor) -> None:
    made = [floor.create(kind, customer=customer) for kind, customer in (("a%b", "carol"), ("a_b", "dave"), ("axb", "carol"))]
    floor.claimed()

    def listed(**wanted: Any) -> list[str]:
        with floor.records.reading() as session:
            found, total = jobs.list_jobs(session, floor.organization, Page(10, 0), **wanted)
        assert total == len(found)
        return [job.kind for job in found]

    assert listed() == ["axb", "a_b", "a%b"]
    assert listed(customer="carol") == ["axb", "a%b"]
    assert listed(statuses=("processing",)) == ["a%b"]
    assert listed(search="a%b") == ["a%b"]
    assert listed(search="a_b") == ["a_b"]
    assert listed(search="DAV") == ["a_b"]
    assert listed(search=made[2].id) == ["axb"]
    with floor.records.reading() as session:
        counts = jobs.count_by_status(session, floor.organization, "carol")
    assert counts == dict.fromkeys(STATUSES, 0) | {"pending": 1, "processing": 1}


# Against a model


@dataclass
class Expected:
    """A job as the model has it. `fences` are all that its workers were ever given."""

    id: str
    attempts: int
    available_at: datetime
    status: str = "pending"
    run: int = 1
    attempt: int = 0
    lease_until: datetime = START
    progress: int = 0
    holder: Job | None = None
    fences: list[int] = field(default_factory=list)
    lost: list[Job] = field(default_factory=list)


class Life(RuleBasedStateMachine):
    """Jobs and a model of them, side by side."""

    records: Records

    @initialize()
    def begin(self) -> None:
        self.floor = Floor(self.records, Clock())
        self.model: dict[str, Expected] = {}
        self.usage: set[str] = set()

    def job(self, data: st.DataObject, *statuses: str) -> Expected:
        return data.draw(st.sampled_from([job for job in self.model.values() if job.status in statuses]))

    def any_in(self, *statuses: str) -> bool:
        return any(job.status in statuses for job in self.model.values())

    def _end(self, job: Expected, status: str, seconds: bool) -> None:
        suffix = f":{job.run}" if job.run > 1 else ""
        self.usage |= {f"{job.id}:job_completion{suffix}"} | ({f"{job.id}:compute_seconds{suffix}"} if seconds else set())
        self._leave(job, status)

    def _leave(self, job: Expected, status: str) -> None:
        if job.holder is not None:
            job.lost.append(job.holder)
        job.status, job.holder = status, None

    def _back(self, job: Expected) -> None:
        job.available_at = self.floor.clock.now + TERMS.pause(job.attempt)
        self._leave(job, "pending")

    def _release(self) -> int:
        overdue = [job for job in self.model.values() if job.status == "processing" and job.lease_until < self.floor.clock.now]
        for job in overdue:
            if job.attempt < job.attempts:
                self._back(job)
            else:
                self._end(job, "failed", seconds=False)
        return len(overdue)

    @precondition(lambda self: len(self.model) < 6)
    @rule(attempts=st.integers(1, 3))
    def create(self, attempts: int) -> None:
        made = self.floor.create(attempts=attempts, sizes=[3])
        self.model[made.id] = Expected(made.id, attempts, self.floor.clock.now)
        self.usage.add(f"{made.id}:bytes_processed")

    @rule(worker=st.sampled_from(["w1", "w2", "w3"]))
    def claim(self, worker: str) -> None:
        self._release()
        ready = [job for job in self.model.values() if job.status == "pending" and job.available_at <= self.floor.clock.now]
        given = self.floor.claim(worker)
        if not ready:
            assert given is None
            return
        job = min(ready, key=lambda one: (one.available_at, one.id))
        assert given is not None
        assert given.id == job.id
        assert given.worker == worker
        assert given.fence > max(job.fences, default=0)
        job.fences.append(given.fence)
        job.status, job.holder, job.attempt, job.progress = "processing", given, job.attempt + 1, 0
        job.lease_until = self.floor.clock.now + TERMS.lease

    @precondition(lambda self: self.any_in("processing"))
    @rule(data=st.data(), progress=st.none() | st.integers(0, 100))
    def advance(self, data: st.DataObject, progress: int | None) -> None:
        job = self.job(data, "processing")
        assert job.holder is not None
        self.floor.advance(job.holder, progress)
        job.progress = max(job.progress, progress or 0)
        job.lease_until = self.floor.clock.now + TERMS.lease

    @precondition(lambda self: self.any_in("processing"))
    @rule(data=st.data(), status=st.sampled_from(["completed", "skipped"]))
    def complete(self, data: st.DataObject, status: Any) -> None:
        job = self.job(data, "processing")
        assert job.holder is not None
        self.floor.complete(job.holder, Outcome(status))
        job.progress = 100 if status == "completed" else job.progress
        self._end(job, status, seconds=True)

    @precondition(lambda self: self.any_in("processing"))
    @rule(data=st.data(), retry=st.booleans())
    def fail(self, data: st.DataObject, retry: bool) -> None:
        job = self.job(data, "processing")
        assert job.holder is not None
        self.floor.fail(job.holder, retry=retry)
        if retry and job.attempt < job.attempts:
            self._back(job)
        else:
            self._end(job, "failed", seconds=True)

    @rule(seconds=st.sampled_from([1, 5, 30, 59, 61]))
    def expire(self, seconds: int) -> None:
        self.floor.clock.forward(seconds=seconds)
        assert self.floor.release() == self._release()

    @precondition(lambda self: self.any_in("pending", "processing"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = self.job(data, "pending", "processing")
        self.floor.cancel(self.floor.look(_named(job)))
        self._leave(job, "cancelled")

    @precondition(lambda self: self.any_in("failed", "cancelled"))
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job = self.job(data, "failed", "cancelled")
        self.floor.retry(self.floor.look(_named(job)))
        job.status, job.run, job.attempt, job.progress, job.available_at = "pending", job.run + 1, 0, 0, self.floor.clock.now

    @precondition(lambda self: any(job.lost for job in self.model.values()))
    @rule(data=st.data(), verb=st.sampled_from([Floor.advance, Floor.complete, Floor.fail]))
    def come_late(self, data: st.DataObject, verb: Callable[[Floor, Job], Job]) -> None:
        lost = data.draw(st.sampled_from([claim for job in self.model.values() for claim in job.lost]))
        with pytest.raises(Conflict):
            verb(self.floor, lost)

    @invariant()
    def they_agree(self) -> None:
        with self.records.reading() as session:
            found, _ = jobs.list_jobs(session, self.floor.organization, Page(100, 0))
        assert {job.id: (job.status, job.run, job.attempt, job.progress) for job in found} == {
            job.id: (job.status, job.run, job.attempt, job.progress) for job in self.model.values()
        }
        for job in found:
            holder = self.model[job.id].holder
            assert (job.lease_until is not None) == (job.status == "processing") == (holder is not None)
            assert job.fence >= max(self.model[job.id].fences, default=0)
            if holder is not None:
                assert (job.fence, job.worker) == (holder.fence, holder.worker)
        assert self.floor.reports().keys() == self.usage


def _named(job: Expected) -> Job:
    return Job(id=job.id)


def test_whatever_happens_a_job_has_one_holder_and_is_reported_once(records: Records) -> None:
    life = type("Life", (Life,), {"records": records})
    bounded = settings(max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(life, settings=bounded)
