"""A job as the function sees it that does it: what is wanted, the files, a place to work in, and a word on how far it is."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tollhouse_client.pulse import Pulse


class JobFile:
    """A file that was handed in: `size` is in bytes, `content_type` what its content says. It is fetched when it is first needed."""

    def __init__(self, name: str, size: int, content_type: str, place: Path, fetch: Callable[[Path], None]) -> None:
        self.name, self.size, self.content_type = name, size, content_type
        self._place, self._fetch = place, fetch
        self._lock = threading.Lock()

    def path(self) -> Path:
        """Where the file is on this machine, until the job ends; raises TollhouseError if it cannot be fetched."""
        with self._lock:
            if not self._place.exists():
                self._place.parent.mkdir(parents=True, exist_ok=True)
                self._fetch(self._place)
        return self._place

    def open(self) -> IO[bytes]:
        """The file, open for reading."""
        return self.path().open("rb")

    def read(self) -> bytes:
        """All that is in it."""
        return self.path().read_bytes()


class Job:
    """One attempt at a job. `attempt` counts from 1; `scratch` is an empty directory that is removed afterwards."""

    def __init__(
        self, id: str, kind: str, user_id: str, data: Mapping[str, Any], attempt: int, files: Sequence[JobFile], scratch: Path, pulse: Pulse
    ) -> None:
        self.id, self.kind, self.user_id, self.data, self.attempt = id, kind, user_id, data, attempt
        self.files, self.scratch = files, scratch
        self._pulse = pulse

    def progress(self, percent: float, message: str | None = None) -> None:
        """Say how far the job has come, 0 to 100; as often as you like, the latest is sent a few times a second.

        Raises `Lost` when the job is not this worker's any more: let it pass, and what came out is dropped.
        """
        self._pulse.tell(max(0, min(100, int(percent))), message)
