"""Apprise, held to what a server may do: speak to services on the network, read no file, and say why when it fails."""

import logging
import re
import threading
import warnings
from urllib.parse import parse_qsl, unquote, urlsplit

import apprise
from apprise import Apprise, NotifyType
from apprise.manager_plugins import NotificationManager

from tollhouse.kit.errors import Unavailable, Unprocessable

# They reach the machine that Tollhouse runs on, not a person; `file` is here for who tries it.
_LOCAL = {"file", "dbus", "glib", "kde", "qt", "gnome", "macosx", "windows", "syslog", "blink1"}
# Members that name a file of this machine, whose content would be sent away.
_READS_FILES = {"template", "keyfile", "subfile", "pgpkey"}
CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
_log = logging.getLogger("apprise")


class _Reasons(logging.Handler):
    """What Apprise logs while it sends is the only place where it says why; kept by thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.by_thread: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.by_thread[record.thread or 0] = record.getMessage()


with warnings.catch_warnings(action="ignore"):  # one of its services still imports what Python has deprecated
    NotificationManager().load_modules()  # type: ignore[no-untyped-call]
_reasons = _Reasons()
_log.addHandler(_reasons)
_log.propagate = False


def check(address: str) -> None:
    """Raise Unprocessable for an address that cannot be used."""
    _service(address)


def send(address: str, title: str, body: str) -> None:
    """Send; raises Unavailable with what Apprise says, without what is secret in the address."""
    try:
        service = _service(address)
    except Unprocessable as error:
        raise Unavailable(error.detail) from None
    service.socket_connect_timeout, service.socket_read_timeout = CONNECT_SECONDS, READ_SECONDS
    _reasons.by_thread.pop(threading.get_ident(), None)
    try:
        arrived = service.notify(body=body, title=title, notify_type=NotifyType.WARNING)
        reason = _reasons.by_thread.pop(threading.get_ident(), "")
    except Exception as error:  # of a library for a hundred services; it may name the address, so it goes no further as it is
        arrived, reason = False, f"{type(error).__name__}: {error}"
    if not arrived:
        raise Unavailable(f"{_without_secrets(reason, address) or 'The service did not take the message'}.")


def _service(address: str) -> apprise.NotifyBase:
    scheme = address.partition("://")[0].lower()
    if scheme in _LOCAL:
        raise Unprocessable(f"address: {scheme[:20]}:// stays on this machine; name a service that reaches a person.")
    try:
        named = {name.lower() for name, _ in parse_qsl(urlsplit(address).query, keep_blank_values=True)}
    except ValueError:
        named = set()
    if found := named & _READS_FILES or ({"file"} if "file://" in address.lower() else set()):
        raise Unprocessable(f"address: {min(found)} would read a file of this machine; leave it out.")
    service = Apprise.instantiate(address, suppress_exceptions=True)
    if service is None:
        raise Unprocessable("address: no service is known by that address; https://github.com/caronc/apprise/wiki lists them all.")
    return service


def _without_secrets(reason: str, address: str) -> str:
    written = re.split(r"[:/@?&=#]+", address.partition("://")[2])
    for part in sorted({*written, *map(unquote, written)}, key=len, reverse=True):
        if len(part) >= 6 and part != urlsplit(address).hostname:
            reason = reason.replace(part, "…")
    return " ".join(reason.split()).rstrip(".,")[:400]
