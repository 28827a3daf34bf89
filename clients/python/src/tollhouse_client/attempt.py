"""One attempt at a job, from the claim to the end: a directory, a pulse, the function, and what is sent of its outcome."""

import threading
import time
from collections.abc import Callable
from decimal import InvalidOperation
from pathlib import Path

from tollhouse_client import fetching, scratch
from tollhouse_client.asking import persist
from tollhouse_client.errors import TollhouseError
from tollhouse_client.job import Job, JobFile
from tollhouse_client.options import log
from tollhouse_client.outcome import Failure, Lost, Outcome, Result, failure_of, outcome_of
from tollhouse_client.pulse import Pulse
from tollhouse_client.wire import Wire
from tollhouse_client.work import Claimed, WorkCalls, billed

Function = Callable[[Job], object]
STOPPED = "The worker was stopped before the job was done."
FETCHES = 6


class Attempt:
    """Carries out one claimed job in the calling thread; `give_back` is for another one."""

    def __init__(self, wire: Wire, claimed: Claimed, function: Function, scratch_dir: Path | None) -> None:
        self._wire, self._work, self._claimed, self._function = wire, WorkCalls(wire), claimed, function
        self._scratch_dir = scratch_dir
        self._given_back = threading.Event()
        self._began = time.monotonic()
        self._took: float | None = None
        self._pulse = Pulse(
            claimed.id,
            lambda percent, message, timeout: self._work.progress(claimed, percent, message, timeout),
            claimed.lease,
            claimed.lease_until,
        )

    def carry_out(self) -> None:
        """Do the job and send what came of it. Raises nothing: what goes wrong is the job's failure, or is logged."""
        try:
            with scratch.directory(self._scratch_dir) as home:
                self._settle(self._outcome(home))
        except Exception as error:  # no place for scratch, or a fault of ours: the worker goes on with other jobs
            log.exception("The job %s broke off.", self._claimed.id)
            self._send(failure_of(error))
        finally:
            self._pulse.end()

    def give_back(self) -> None:
        """The worker stops and cannot wait for the function: let another worker have the job."""
        self._pulse.lose(STOPPED)
        self._given_back.set()
        self._send(Failure(STOPPED, release=True), tries=2, sleep=time.sleep)

    def _outcome(self, home: Path) -> Outcome | None:
        """What the function says; None if the job is lost."""
        place = home / "scratch"
        place.mkdir()
        claimed = self._claimed
        job = Job(claimed.id, claimed.kind, claimed.user_id, claimed.data, claimed.attempt, self._files(home), place, self._pulse)
        self._began = time.monotonic()
        try:
            try:
                returned = self._function(job)
            finally:
                self._took = time.monotonic() - self._began
        except Lost as lost:
            log.warning("The job %s is dropped: %s", claimed.id, lost)
            return None
        except BaseException as error:  # even SystemExit is this job's matter and not the worker's
            log.exception("The job %s has failed.", claimed.id)
            return failure_of(error)
        try:
            return _checked(outcome_of(returned))
        except (TypeError, ValueError) as error:
            log.error("The job %s has failed: %s", claimed.id, error)
            return Failure(failure_of(error).reason, retry=False)

    def _files(self, home: Path) -> list[JobFile]:
        made = []
        for at, file in enumerate(self._claimed.files):
            place = home / "files" / str(at) / Path(file["name"]).name

            def fetch(to: Path, url: str = file["url"], size: int = file["size"]) -> None:
                persist(lambda: fetching.fetch(self._wire, url, to, size), FETCHES, sleep=self._pause)

            made.append(JobFile(file["name"], file["size"], file["content_type"], place, fetch))
        return made

    def _pause(self, seconds: float) -> None:
        if self._given_back.wait(seconds) or self._pulse.lost:
            raise Lost(self._pulse.lost)

    def _settle(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        if self._pulse.lost:
            log.warning("The result of the job %s is dropped: %s", self._claimed.id, self._pulse.lost)
            return
        if not isinstance(outcome, Result):
            self._pulse.flush(2.0)
        self._send(outcome)

    def _send(self, outcome: Outcome, tries: int = 12, sleep: Callable[[float], object] | None = None) -> None:
        """Send the outcome; if it cannot be sent, send that."""
        stated = outcome.compute_seconds if isinstance(outcome, Result) else None
        measured = time.monotonic() - self._began if self._took is None else self._took
        try:
            self._work.end(self._claimed, outcome, billed(measured if stated is None else stated), sleep or self._given_back.wait, tries)
            log.info(
                "The job %s (%s) ended after %.1f s: %s", self._claimed.id, self._claimed.kind, measured, type(outcome).__name__.lower()
            )
        except TollhouseError as error:
            self._not_sent(outcome, error)
        except (OSError, TypeError, ValueError) as error:
            log.error("The result of the job %s cannot be sent: %s", self._claimed.id, error)
            self._send(Failure(f"The result cannot be sent: {failure_of(error).reason}", retry=False))

    def _not_sent(self, outcome: Outcome, error: TollhouseError) -> None:
        if error.status in (404, 409) or self._given_back.is_set():
            log.warning("The job %s is somebody else's by now, or cancelled: %s", self._claimed.id, error.detail)
        elif isinstance(outcome, Failure):
            log.error("The failure of the job %s cannot be sent: %s", self._claimed.id, error)
        else:
            log.error("The result of the job %s is not taken: %s", self._claimed.id, error)
            self._send(Failure(f"The result was not taken: {error.detail or error}"[:2000], retry=error.passes))


def _checked(outcome: Outcome) -> Outcome:
    """The outcome, if it can be sent as it is."""
    seconds = outcome.compute_seconds if isinstance(outcome, Result) else None
    if seconds is not None:
        try:
            good = billed(seconds) >= 0
        except InvalidOperation:
            good = False
        if not good:
            raise ValueError(f"compute_seconds: {str(seconds)[:40]} is no time; give seconds, such as 12.5")
    return outcome
