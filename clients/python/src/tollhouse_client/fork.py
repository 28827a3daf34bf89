"""Tells what lives in this process that it has been forked: threads do not survive that, and locks may be left locked."""

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that has to begin anew in a forked child."""

    def after_fork(self) -> None:
        """Called in the child, while it has one thread."""


_living: "weakref.WeakSet[Forkable]" = weakref.WeakSet()
_listening = False


def tell(who: Forkable) -> None:
    """Call its `after_fork` in every child from now on, as long as it lives."""
    global _listening  # noqa: PLW0603  # a registration cannot be taken back, so there is one a process
    _living.add(who)
    if not _listening and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)
        _listening = True


def _forked() -> None:
    for one in list(_living):
        one.after_fork()
