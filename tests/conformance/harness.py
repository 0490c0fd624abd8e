"""What the checks stand on: HTTP as a plain client sends it, and offers to send. How a check is
written and found: ``registry.py``; clients with ICE, DTLS and SRTP: ``peer.py``."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import ssl
import urllib.parse
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Protocol

OFFERS = Path(__file__).parents[1] / "vectors" / "offers"
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class NotApplicable(Exception):
    """The duty hangs on a choice that this server did not make; the text says which."""


class Closes(Protocol):
    def close(self) -> None: ...


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Message
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    @property
    def text(self) -> str:
        return self.body.decode()

    def lines(self, prefix: str) -> list[str]:
        return [line for line in self.text.split("\r\n") if line.startswith(prefix)]

    def sections(self) -> list[list[str]]:
        """The lines of each m-section."""
        parts = self.text.split("\r\nm=")[1:]
        return [("m=" + part).split("\r\n") for part in parts]


class EventStream:
    """A GET of server-sent events, read as they come."""

    def __init__(self, connection: http.client.HTTPConnection, path: str) -> None:
        self._connection = connection
        connection.request("GET", path, headers={"Accept": "text/event-stream"})
        self._reply = connection.getresponse()
        assert self._reply.status == 200, f"GET of events gives {self._reply.status}"
        self.raw: list[str] = []  # the lines of the last event

    def header(self, name: str) -> str:
        return self._reply.getheader(name) or ""

    def next(self) -> tuple[str, Any] | None:
        """Type and data of the next event; None at the stream's end."""
        self.raw = []
        while line := self._reply.readline().decode():
            text = line.rstrip("\r\n")
            if text and not text.startswith(":"):
                self.raw.append(text)
            elif self.raw and not text:
                fields = dict(field.split(": ", 1) for field in self.raw)
                return fields["event"], json.loads(fields["data"])
        return None

    def close(self) -> None:
        self._connection.close()


class Server:
    """The server under test. Each check gets stream names of its own from :meth:`name`."""

    def __init__(self, url: str, options: dict[str, str] | None = None) -> None:
        self.base = urllib.parse.urlsplit(url)
        self.options = options or {}
        self.peers: list[Closes] = []  # closed by clean()
        self._opened: list[str] = []

    def given(self, name: str, what: str) -> str:
        """An option of the command line (``--with NAME=VALUE``) without which a check has nothing
        to look at; ``what`` says what it is. Raises :class:`NotApplicable`."""
        if name not in self.options:
            raise NotApplicable(f"run with --with {name}=…: {what}")
        return self.options[name]

    def name(self) -> str:
        return "conf-" + secrets.token_hex(6)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        **headers: str,
    ) -> Reply:
        """``headers``: names with underscores for dashes. A token that was given is sent along,
        unless there is an ``Authorization`` (an empty one is left out)."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if "token" in self.options:
            sent.setdefault("Authorization", f"Bearer {self.options['token']}")
        if not sent.get("Authorization", "-"):
            del sent["Authorization"]
        if content_type is not None:
            sent["Content-Type"] = content_type
        path = urllib.parse.urljoin(self.base.path or "/", path)
        connection = self._connection()
        try:
            connection.request(method, path, body=body, headers=sent)
            reply = connection.getresponse()
            found = Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()
        if found.status == 201:
            self._opened.append(found.header("Location"))
        return found

    def events(self, path: str) -> EventStream:
        """An open stream of server-sent events, asked for as a browser does: without a token."""
        connection = self._connection()
        path = urllib.parse.urljoin(self.base.path or "/", path)
        stream = EventStream(connection, path)
        self.peers.append(stream)
        return stream

    def _connection(self) -> http.client.HTTPConnection:
        host = self.base.hostname or ""
        if self.base.scheme == "https":  # whose certificate it is does not matter here
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return http.client.HTTPSConnection(
                host, self.base.port or 443, timeout=10, context=context
            )
        return http.client.HTTPConnection(host, self.base.port or 80, timeout=10)

    def post(self, path: str, offer: str, content_type: str = SDP, **headers: str) -> Reply:
        return self.request("POST", path, offer.encode(), content_type, **headers)

    def whip(self, offer: str | None = None, name: str | None = None) -> Reply:
        return self.post(f"/whip/{name or self.name()}", offer or publisher_offer())

    def publish(self) -> tuple[str, Reply]:
        """A stream with a publisher (that never connects): its name and the 201."""
        name = self.name()
        reply = self.whip(name=name)
        assert reply.status == 201, f"WHIP POST gives {reply.status}: {reply.body!r}"
        return name, reply

    def view(self, offer: str | None = None) -> Reply:
        """The reply to a WHEP POST for a stream that is published."""
        name, _ = self.publish()
        return self.post(f"/whep/{name}", offer or viewer_offer())

    def clean(self) -> None:
        """Close every peer, DELETE every session that was opened."""
        for peer in self.peers:
            peer.close()
        self.peers.clear()
        for location in self._opened:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.request("DELETE", location)
        self._opened.clear()


def publisher_offer() -> str:
    return (OFFERS / "chromium156-sendonly-h264-pcma.sdp").read_bytes().decode()


def viewer_offer() -> str:
    return (OFFERS / "chromium156-recvonly-h264-pcma.sdp").read_bytes().decode()


def attribute(offer: str, name: str) -> str:
    """The first value of ``a=name:`` in an offer."""
    return offer.split(f"a={name}:", 1)[1].split("\n", 1)[0].strip()


def fragment(
    offer: str, *, ufrag: str | None = None, pwd: str | None = None, more: str = ""
) -> str:
    """A trickle fragment for ``offer``, with its credentials or others."""
    return (
        f"a=ice-ufrag:{ufrag or attribute(offer, 'ice-ufrag')}\r\n"
        f"a=ice-pwd:{pwd or attribute(offer, 'ice-pwd')}\r\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
        "a=candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host generation 0\r\n" + more
    )


def is_problem(reply: Reply) -> None:
    """The body is application/problem+json with the status and what to change."""
    assert reply.header("Content-Type") == "application/problem+json", reply.header("Content-Type")
    body = json.loads(reply.body)
    assert body["status"] == reply.status, body
    assert body["detail"], body


def has_cors(reply: Reply) -> None:
    assert reply.header("Access-Control-Allow-Origin") in ("*", "null") or reply.header("Vary")
    methods = {m.strip() for m in reply.header("Access-Control-Allow-Methods").split(",")}
    assert {"GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE"} <= methods, methods
    allowed = {h.strip().lower() for h in reply.header("Access-Control-Allow-Headers").split(",")}
    assert {"authorization", "content-type", "if-match", "etag"} <= allowed, allowed
    exposed = {h.strip().lower() for h in reply.header("Access-Control-Expose-Headers").split(",")}
    wanted = "location etag link accept-post accept-patch retry-after www-authenticate"
    assert {*wanted.split(), "access-control-allow-methods"} <= exposed, exposed
