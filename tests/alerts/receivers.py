"""Real receivers on free ports of the loopback address: a webhook that fails, stalls and recovers, and a mail server."""

import email
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Webhook:
    """What arrived, and how it answers: a status, or nothing before `answers` is set."""

    url: str = ""
    status: int = 200
    answers: threading.Event = field(default_factory=threading.Event)
    received: list[dict[str, Any]] = field(default_factory=list)
    tried: int = 0

    def stall(self) -> None:
        """Take requests and say nothing."""
        self.answers.clear()

    def recover(self) -> None:
        """Answer again, and well."""
        self.status = 200
        self.answers.set()


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook receiver that listens."""
    kept = Webhook()
    kept.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.tried += 1
            kept.answers.wait(20)
            if kept.status == 200:
                kept.received.append(json.loads(body))
            self.send_response(kept.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    try:
        yield kept
    finally:
        kept.recover()
        server.shutdown()
        server.server_close()


@dataclass
class Mailbox:
    """A mail server's mailbox; `refusal` is what it answers instead of taking a message."""

    address: str = ""
    refusal: str = ""
    messages: list[Message] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refusal:
            return self.refusal
        content = envelope.original_content or b""
        self.messages.append(email.message_from_bytes(content))
        self.recipients += envelope.rcpt_tos
        return "250 OK"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A mail server that listens."""
    kept = Mailbox()
    controller = Controller(kept, hostname="127.0.0.1", port=_free_port())
    controller.start()
    kept.address = f"mailto://127.0.0.1:{controller.port}/?from=tollhouse@manga.example&to=team@manga.example"
    try:
        yield kept
    finally:
        controller.stop()


def _free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as probe:
        return int(probe.server_address[1])
