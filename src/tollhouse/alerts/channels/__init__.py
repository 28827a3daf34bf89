"""Where messages leave for the world outside, through Apprise, which knows some hundred and thirty services.

Loaded late, with the first message: Apprise and its services take 18 MB of a server that idles below 200 MB, and most servers
send an alert a week (see docs/decisions/0013).
"""

import importlib
from typing import Any


def check(address: str) -> None:
    """Raise Unprocessable for an address that no message can be sent to."""
    _notifier().check(address)


def send(address: str, title: str, body: str) -> None:
    """Send a message; raises Unavailable with one sentence where it did not arrive."""
    _notifier().send(address, title, body)


def _notifier() -> Any:
    return importlib.import_module("tollhouse.alerts.channels.notifier")


__all__ = ["check", "send"]
