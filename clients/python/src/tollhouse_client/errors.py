"""The one error of the reading calls. The tracking calls raise nothing."""

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
