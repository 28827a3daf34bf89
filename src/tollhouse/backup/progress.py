"""How far a long run has come, for whoever wants to show it."""

from collections.abc import Callable

Report = Callable[[int, int, int], None]
"""Called with (objects done, objects in all, bytes done)."""


def silent(done: int, total: int, bytes: int) -> None:
    """For nobody."""
