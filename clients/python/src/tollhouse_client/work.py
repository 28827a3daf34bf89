"""The calls of a worker: claim a job, keep it, end it. The fence number of the claim goes along with each of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tollhouse_client.asking import Answer, Asking, given, part, persist
from tollhouse_client.attachment import opened
from tollhouse_client.encoding import encode
from tollhouse_client.errors import TollhouseError
from tollhouse_client.outcome import Failure, Outcome, Skip
from tollhouse_client.wire import Form

TRIES = 12
RESULT_SECONDS = 120.0
_MILLISECOND = Decimal("0.001")


@dataclass(frozen=True)
class Claimed:
    """A job as it was claimed. `run` and `attempt` together name the claim, as `fence` does; `lease` is in seconds."""

    id: str
    kind: str
    user_id: str
    data: Mapping[str, Any]
    run: int
    attempt: int
    fence: int
    lease: float
    lease_until: str
    files: Sequence[Mapping[str, Any]]


class WorkCalls(Asking):
    """One worker's side of the conversation."""

    def claim(self, worker: str, kinds: Sequence[str], wait: float, lease: float | None) -> Claimed | None:
        """The job that has waited longest, or None when none came within `wait` seconds."""
        wanted = given({"worker": worker, "kinds": list(kinds), "wait": wait, "lease": lease})
        said = self._ask("POST", "/api/jobs/claim", body=wanted, timeout=wait + 15)
        if not said:
            return None
        named = {name: said[name] for name in ("id", "kind", "user_id", "data", "run", "attempt", "fence", "lease_until", "files")}
        return Claimed(lease=float(said["lease_seconds"]), **named)

    def progress(self, claimed: Claimed, percent: int | None, message: str | None, timeout: float) -> str:
        """A sign of life; returns until when the lease lasts now. Raises TollhouseError: 409 for a job that is lost."""
        said = given({"fence": claimed.fence, "progress": percent, "message": message})
        return str(self._ask("POST", f"/api/jobs/{part(claimed.id)}/progress", body=said, timeout=timeout)["lease_until"])

    def end(self, claimed: Claimed, outcome: Outcome, seconds: Decimal, sleep: Callable[[float], object], tries: int = TRIES) -> None:
        """Send how the job ended, until an answer comes; raises TollhouseError, or OSError for a result that cannot be read.

        An answer may be lost on its way, and then the next one is that the job is not ours any more: so we look whether it
        was ended by this very claim, which is as good as the answer.
        """
        try:
            persist(lambda: self._end(claimed, outcome, seconds), tries, sleep=sleep)
        except TollhouseError as error:
            if error.status != 409 or not self._ended_by(claimed, outcome):
                raise

    def _end(self, claimed: Claimed, outcome: Outcome, seconds: Decimal) -> Answer:
        path, said = f"/api/jobs/{part(claimed.id)}", {"fence": claimed.fence, "compute_seconds": str(seconds)}
        if isinstance(outcome, Failure):
            return self._ask(
                "POST", f"{path}/fail", body=said | {"error": outcome.reason, "retry": outcome.retry, "release": outcome.release}
            )
        if isinstance(outcome, Skip):
            return self._ask("POST", f"{path}/complete", body=said | {"status": "skipped", "data": {"reason": outcome.reason}})
        data = {} if outcome.data is None else {"data": outcome.data}
        if not outcome.files:
            return self._ask("POST", f"{path}/complete", body=said | data, timeout=RESULT_SECONDS)
        fields = {name: str(value) for name, value in said.items()} | {name: encode(value).decode() for name, value in data.items()}
        with opened(outcome.files) as files:
            return self._ask("POST", f"{path}/complete", form=Form(fields, files), timeout=RESULT_SECONDS)

    def _ended_by(self, claimed: Claimed, outcome: Outcome) -> bool:
        if isinstance(outcome, Failure):
            return False  # given back or failed by us, or taken by another: there is nothing more to do in any case
        try:
            job = self._ask("GET", f"/api/jobs/{part(claimed.id)}")
        except TollhouseError:
            return False  # a key for work alone may not read
        wanted = "skipped" if isinstance(outcome, Skip) else "completed"
        return (job["status"], job["run"], job["attempt"]) == (wanted, claimed.run, claimed.attempt)


def billed(seconds: float | Decimal) -> Decimal:
    """Seconds as they are sent: to the millisecond."""
    return Decimal(str(seconds)).quantize(_MILLISECOND)
