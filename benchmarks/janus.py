"""Janus under the benchmarks' load: its streaming plugin fed with plain RTP, viewers over its API.

Janus has no WHIP or WHEP of its own. A viewer makes a session and a handle over HTTP, asks to
watch, reads the offer from the session's event queue and answers it; from there on it is a viewer
like all others: ICE check, DTLS, SRTP.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from .fanout import Bench
from .peer import Credentials, JoinFailed, Peer, read_answer, transport_lines
from .publisher import Publisher
from .server import Command, ServerFailed, Subject
from .viewers import Viewers

CONFIG = Path(__file__).resolve().parent / "peers" / "janus"
MOUNTPOINT, VIDEO_PORT, AUDIO_PORT, HTTP_PORT = 1, 5004, 5002, 8088  # as in CONFIG
_KEPT = ("rtpmap", "fmtp", "rtcp-fb", "mid")


def make_answer(offer: str, local: Credentials) -> str:
    """An answer that takes everything offered; we receive, and our side opens DTLS."""
    lines = ["v=0", f"o=- {secrets.randbits(62)} 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    for line in offer.splitlines():
        if line.startswith("m="):
            lines += [line, *transport_lines(local, "recvonly")]
        elif line.startswith("a=group:BUNDLE") or line[2:].partition(":")[0] in _KEPT:
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"


class JanusPeer(Peer):
    """A viewer of the mountpoint; ``url`` is the API's."""

    __slots__ = ()

    async def signal(self, http: aiohttp.ClientSession) -> Credentials:
        async def call(url: str, **request: Any) -> dict[str, Any]:
            request["transaction"] = secrets.token_hex(6)
            async with http.post(url, json=request) as response:
                said: dict[str, Any] = await response.json(content_type=None)
            if said.get("janus") not in ("success", "ack"):
                raise JoinFailed(f"Janus, {request['janus']}: {said}")
            return said

        session = f"{self.url}/{(await call(self.url, janus='create'))['data']['id']}"
        plugin = "janus.plugin.streaming"
        handle = f"{session}/{(await call(session, janus='attach', plugin=plugin))['data']['id']}"
        self.session_url = handle
        await call(handle, janus="message", body={"request": "watch", "id": MOUNTPOINT})
        offer = await self._offer(http, session)
        local = Credentials(
            self.local.ufrag,
            self.local.pwd,
            self.local.fingerprints,
            "active",
            self.local.candidates,
        )
        jsep = {"type": "answer", "sdp": make_answer(offer, local), "trickle": False}
        await call(handle, janus="message", body={"request": "start"}, jsep=jsep)
        return read_answer(offer)

    @staticmethod
    async def _offer(http: aiohttp.ClientSession, session: str) -> str:
        for _ in range(8):
            async with http.get(session) as response:
                event: dict[str, Any] = await response.json(content_type=None)
            if "jsep" in event:
                return str(event["jsep"]["sdp"])
            if event.get("plugindata", {}).get("data", {}).get("error"):
                raise JoinFailed(f"Janus: {event['plugindata']['data']}")
        raise JoinFailed("Janus made no offer")


class JanusViewers(Viewers):
    kind = JanusPeer


class RtpPublisher(Publisher):
    """The same packets as plain RTP, video and audio to a port each; ``url``: rtp://HOST."""

    def __init__(
        self, url: str, address: str, bitrate: int, audio: bool = True, even: bool = False
    ) -> None:
        super().__init__(url, address, bitrate, audio, even)
        self._socks: dict[str, socket.socket] = {}
        for kind, port in (("video", VIDEO_PORT), ("audio", AUDIO_PORT)):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sock.bind((address, 0))
            sock.connect((urlsplit(url).hostname or "", port))
            self._socks[kind] = sock

    def join(self) -> int:
        self._live = True
        return 0

    def _encrypt(self, packet: bytes) -> bytes:
        return packet

    def _sender(self, kind: str) -> Callable[[bytes], int]:
        return self._socks[kind].send

    def _consent(self) -> None:
        """Plain RTP asks nobody."""

    def _report(self, now: float) -> None:
        """The mountpoint has no RTCP ports."""

    def _drain(self) -> None:
        """Nothing comes back."""


def version() -> str:
    """Of Debian's package, or of the program if that is from elsewhere."""
    query = ["dpkg-query", "-W", "-f=${Version}", "janus"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "of unknown version"


class JanusBench(Bench):
    """Publisher and viewers around Janus."""

    viewer_kind = JanusViewers
    publisher_kind = RtpPublisher

    def _serve(self) -> Subject:
        program = shutil.which("janus")
        if program is None:
            raise ServerFailed("no janus here: make bench-peers installs Debian's package")
        s, host = self.settings, self.lab.server
        self.whip, self.whep = f"rtp://{host}", f"http://{host}:{HTTP_PORT}/janus"
        server = Command(
            [program, "-F", str(CONFIG), "-d", "0"],
            self.lab.server_namespace,
            s.server_cpu,
            s.nice - os.nice(0),
        )
        try:
            server.wait_for(self.whep)
        except BaseException:
            server.close()
            raise
        return server
