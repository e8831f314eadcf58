"""A mail server on loopback that answers as it is told and keeps what it takes."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any


class MailServer(socketserver.ThreadingTCPServer):
    """``answers["RCPT"].append("450 busy")`` is what the next RCPT is told; without one everything is taken."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.answers: dict[str, deque[str]] = defaultdict(deque)
        self.taken: list[EmailMessage] = []
        self.envelopes: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Session(socketserver.StreamRequestHandler):
    """One connection. ``DROP`` as an answer ends it without a word."""

    server: MailServer

    def handle(self) -> None:
        if not self._answer("CONNECT", "220 ready"):
            return
        while line := self.rfile.readline():
            verb = line.decode().split()[0].upper() if line.strip() else ""
            if verb == "QUIT":
                self._say("221 bye")
                return
            if verb == "RCPT":
                self.server.envelopes.append(line.decode().strip())
            usual = {"EHLO": "250-here\r\n250 AUTH PLAIN", "AUTH": "235 in", "DATA": "354 go on"}
            if not self._answer(verb, usual.get(verb, "250 ok")):
                return
            if verb == "DATA" and self.said.startswith("354") and not self._take():
                return

    def _take(self) -> bool:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        queued = self.server.answers["END"]
        if not queued or queued[0].startswith("250"):
            message: Any = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
            self.server.taken.append(message)
        return self._answer("END", "250 queued")

    def _answer(self, verb: str, usual: str) -> bool:
        queued = self.server.answers[verb]
        self.said = queued.popleft() if queued else usual
        if self.said == "DROP":
            return False
        self._say(self.said)
        return True

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
