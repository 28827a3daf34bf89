"""The courier: brings what jobs reported to the event store, after the change that reported it has been committed."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import structlog

from tollhouse.events import EventLimits, Ingest, Promotion, parse
from tollhouse.jobs import usage
from tollhouse.kit import times
from tollhouse.kit.errors import TollhouseError
from tollhouse.store.records import Records

log = structlog.get_logger()


@dataclass
class Courier:
    """Delivers usage reports. A report is forgotten only once the event store has its event; twice delivered counts once."""

    records: Records
    ingest: Ingest
    promoted: Callable[[str], Mapping[str, Promotion]]
    clock: Callable[[], datetime]
    _busy: threading.Lock = field(default_factory=threading.Lock)

    def deliver(self) -> int:
        """Bring everything that waits; returns how many events were delivered. What cannot be delivered now stays for later."""
        delivered = 0
        with self._busy:
            while reports := self._unsent():
                try:
                    self._send(reports)
                except Exception as error:  # the change that it tells of is made; it must not fail for the store's sake
                    reason = error.detail if isinstance(error, TollhouseError) else repr(error)
                    log.warning("usage of jobs waits to be delivered", reports=len(reports), reason=reason)
                    return delivered
                with self.records.transaction() as session:
                    usage.confirm(session, reports)
                delivered += len(reports)
        return delivered

    def _unsent(self) -> list[usage.UsageReport]:
        with self.records.reading() as session:
            return usage.unsent(session)

    def _send(self, reports: list[usage.UsageReport]) -> None:
        limits = EventLimits()
        for organization in sorted({report.organization for report in reports}):
            mine = msgspec.json.encode([report.event() for report in reports if report.organization == organization])
            now = times.micros(self.clock())
            submission = parse(mine, "application/json", organization, now, limits, self.promoted(organization))
            if submission.faults:
                raise TollhouseError(f"An event of ours is refused: {submission.faults[0].detail}.")
            self.ingest.store_now(submission.batch)
