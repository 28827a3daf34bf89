"""The errors of the calls that wait for an answer. The tracking calls raise nothing."""

from collections.abc import Sequence
from typing import Any


class TollhouseError(Exception):
    """Tollhouse answered with an error, or did not answer.

    `status` is the HTTP status, 0 where there was no answer; `title` says what kind of error it is, `detail` what was
    wrong and what would be right; `errors` are the single faults of a form (`field`) or of a list (`index`), if several.
    """

    def __init__(self, status: int, title: str, detail: str = "", errors: Sequence[Any] = ()) -> None:
        super().__init__(f"{status} {title} {detail}".strip() if status else f"{title} {detail}".strip())
        self.status, self.title, self.detail, self.errors = status, title, detail, tuple(errors)

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in (408, 425, 429) or self.status >= 500


class Unreachable(TollhouseError):
    """Tollhouse did not answer: nobody knows whether the request has arrived."""

    def __init__(self, url: str, error: Exception) -> None:
        super().__init__(0, "Tollhouse does not answer.", f"{url}: {type(error).__name__}: {error}")

    @property
    def passes(self) -> bool:
        """Whoever is away may come back."""
        return True
