"""Pages of a list: a limit, an offset, and the shape every list answers in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST = 1000


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted: `limit` rows (1 to 1000) after the first `offset`."""

    limit: int = 50
    offset: int = 0

    def answer(self, name: str, rows: Sequence[Any], total: int) -> dict[str, Any]:
        """`{"<name>": rows, "total", "limit", "offset"}`."""
        return {name: list(rows), "total": total, "limit": self.limit, "offset": self.offset}
