"""The client: tracking calls that return at once and never raise, and the calls of `Reader`, `JobCalls` and `OperatorCalls`."""

import atexit
import os
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from multiprocessing import util
from types import TracebackType
from typing import Any, Self

from tollhouse_client import event, fork, options
from tollhouse_client.jobs import JobCalls
from tollhouse_client.operating import OperatorCalls
from tollhouse_client.options import Default
from tollhouse_client.reading import Reader
from tollhouse_client.sender import Limits, Sender
from tollhouse_client.spool import Spool
from tollhouse_client.stats import Stats
from tollhouse_client.wire import Transport, Wire

SPOOL_BYTES = 64 << 20
EXIT_SECONDS = 5.0


class Client(Reader, JobCalls, OperatorCalls):
    """One connection to one Tollhouse; safe to share between threads, and to keep across a fork.

    `url` and `api_key` default to TOLLHOUSE_URL and TOLLHOUSE_API_KEY. `batch_size` is in events, `batch_seconds`, `timeout`
    and `retry_seconds` (the first pause after a failure, which then doubles) are in seconds. At most `max_waiting` events
    are kept in memory and `spool_bytes` in `spool_dir`; None switches the spool off. `transport` is one of httpx's.
    Raises ValueError for an option that cannot be used.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        source: str = "tollhouse-client",
        batch_size: int | None = None,
        batch_seconds: float | None = None,
        max_waiting: int = 10_000,
        spool_dir: str | os.PathLike[str] | Default | None = Default.DIRECTORY,
        spool_bytes: int = SPOOL_BYTES,
        timeout: float = 10.0,
        retry_seconds: float = 0.5,
        transport: Transport | None = None,
    ) -> None:
        url = options.text(url, "TOLLHOUSE_URL", "http://127.0.0.1:3000")
        wire = Wire(url, options.text(api_key, "TOLLHOUSE_API_KEY", ""), timeout, transport)
        super().__init__(wire)
        limits = Limits(
            options.number(batch_size, ("TOLLHOUSE_BATCH_SIZE", "USAGE_BATCH_SIZE"), 500, int),
            options.number(batch_seconds, ("USAGE_BATCH_TIMEOUT",), 1.0, float),
            max_waiting,
            retry_seconds,
        )
        directory = options.directory(spool_dir, wire.url, source)
        spool = Spool(directory, spool_bytes) if directory is not None else None
        self._source = source
        self._sender = Sender(lambda batch: wire.send("POST", "/api/events", content=batch), spool, limits)
        self._at_exit: util.Finalize | None = None
        fork.tell(self)
        if spool is not None and spool.stored:
            self._sender.replay()
            self._tidy_up_at_exit()

    def track(
        self,
        type: str,
        subject: str | int | None,
        data: Mapping[str, Any] | None = None,
        id: str | None = None,
        time: datetime | str | None = None,
    ) -> str:
        """Note that something happened to a customer (`subject`); returns the event's id at once.

        An event with the id of another from the same source counts once. `time` is when it happened, now if left out. What
        cannot be written as JSON is counted in `stats().dropped` and logged; nothing is raised.
        """
        chosen = event.new_id() if id is None else id
        try:
            self._tidy_up_at_exit()
            self._sender.put(event.line(type, self._source, subject, data, chosen, time))
        except Exception as error:  # whatever the app has in its data, metering must not stop it
            self._sender.drop("data", f"An event is dropped, JSON cannot say it: {_said(error)}.")
        return chosen

    def track_bytes_processed(self, user_id: str, bytes: int | Decimal, job_id: str, *, part: str = "") -> str:
        """A job has processed so many bytes. One report a job counts, unless each names another `part`."""
        return self._track_job("bytes_processed", user_id, job_id, part, {"bytes": bytes})

    def track_compute_seconds(self, user_id: str, seconds: float | Decimal, job_id: str, *, part: str = "") -> str:
        """A job has computed for so many seconds. One report a job counts, unless each names another `part`."""
        return self._track_job("compute_seconds", user_id, job_id, part, {"seconds": seconds})

    def track_job_completion(
        self, user_id: str, job_id: str, status: str, metadata: Mapping[str, Any] | None = None, *, part: str = ""
    ) -> str:
        """A job has ended: completed, failed or skipped. One report a job counts, unless each names another `part`."""
        more = {} if metadata is None else {"metadata": metadata}
        return self._track_job("job_completion", user_id, job_id, part, {"status": status, **more})

    def stats(self) -> Stats:
        """What became of the events so far."""
        return self._sender.stats()

    def flush(self, timeout: float = 10.0) -> bool:
        """Send everything now, the spool too; False if that was not done within `timeout` seconds."""
        return self._sender.flush(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Send what is in memory; what cannot be sent within `timeout` seconds is left in the spool. Tracks nothing after that."""
        atexit.unregister(self._end)
        if self._at_exit is not None:
            self._at_exit.cancel()
        self._sender.close(timeout)
        self._wire.close()

    def after_fork(self) -> None:
        """In a forked child: begin with an empty queue; threads and connections are made when needed."""
        self._at_exit = None
        self._wire.after_fork()
        self._sender.after_fork()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _track_job(self, type: str, user_id: str, job_id: str, part: str, data: Mapping[str, Any]) -> str:
        id = f"{job_id}:{type}:{part}" if part else f"{job_id}:{type}"
        return self.track(type, user_id, {**data, "job_id": job_id}, id)

    def _tidy_up_at_exit(self) -> None:
        """Once a process. A child of `multiprocessing` runs no exit functions but its own."""
        if self._at_exit is None:
            self._at_exit = util.Finalize(None, self._end, exitpriority=10)
            atexit.unregister(self._end)
            atexit.register(self._end)

    def _end(self) -> None:
        self.close(EXIT_SECONDS)


def _said(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # the app's own error class may be broken, too
        return type(error).__name__
