"""OBS Studio's WHIP output as a script: its HTTP, SDP, ICE, DTLS and RTP, read in its source and in
that of libdatachannel, since no OBS with WHIP can be installed where rtcfwd is tested.

An :class:`Obs` is one output: :meth:`start` POSTs and connects, :meth:`tick` sends, :meth:`stop`
ends; :meth:`disconnected` is what makes libobs reconnect. It fails an assertion where OBS would log
an error or tell its user one.
"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit, urlunsplit

from rtcfwd.client.probe import Probe
from rtcfwd.dtls import DtlsState
from tests.conformance.harness import Reply
from tests.interop.scripted import Sender, Track, exchange, golden, pictures, sounds
from tests.interop.scripted import sections as sections_of

AGENT = "Mozilla/5.0 (OBS-Studio/31.1.2; Linux x86_64; en-US)"
AUDIO_PT, VIDEO_PT = 111, 96
MID_ID, RID_ID = 1, 2
SIZES = ((640, 360), (426, 240), (212, 120))  # its simulcast: each a third of the output smaller


class Obs:
    """``layers``: as in *Total Layers* of its simulcast setting; 1 is without simulcast."""

    def __init__(
        self, url: str, token: str = "", *, layers: int = 1, profile: str = "high"
    ) -> None:
        self.url, self.token = url, token
        self.layers, self.profile = layers, profile
        self.resource = ""
        self.answer = ""
        self.probe: Probe
        self.sender: Sender

    def start(self) -> None:
        """Init, Setup, Connect, then the ICE agent and DTLS."""
        self.post()
        self.probe.connect()

    def headers(self, *, sdp: bool) -> list[tuple[str, str]]:
        """As libcurl writes them: its own, then the list that OBS made."""
        lines = [("Accept", "*/*")]
        if sdp:
            lines.append(("Content-Type", "application/sdp"))
        if self.token:
            lines.append(("Authorization", f"Bearer {self.token}"))
        return [*lines, ("User-Agent", AGENT)]

    def offer(self) -> str:
        """libdatachannel's: the bundle's transport at session level, no candidates; with simulcast
        `a=rid` and no `a=ssrc` for the video, without it the other way round."""
        text = golden("made-obs-whip-offer", self.probe)
        head, audio, video = text.split("m=", 2)
        audio = audio.replace("1180423941", str(self.ssrc))
        lines = [v for v in video.split("\r\n") if not v.startswith(("a=rid:", "a=simulcast:"))]
        at = next(i for i, line in enumerate(lines) if line.startswith("a=msid:"))
        if self.layers > 1:
            rids = [str(i) for i in range(self.layers)]
            lines[at + 1 : at + 1] = [f"a=rid:{rid} send" for rid in rids]
            lines.insert(at + 1 + len(rids), f"a=simulcast:send {';'.join(rids)}")
        else:
            lines.insert(at, f"a=ssrc:{self.ssrc + 1} cname:obs")
            lines.insert(at + 1, f"a=ssrc:{self.ssrc + 1} msid:stream video")
        return f"{head}m={audio}m=" + "\r\n".join(lines)

    def post(self) -> Reply:
        """The POST and what OBS reads from its reply. A redirect is followed, with the token."""
        self.close()
        self.ssrc = secrets.randbits(31)
        self.probe = Probe(publish=True, ufrag=secrets.token_hex(2), pwd=secrets.token_hex(11))
        self.probe.offer = self.offer()
        effective, locations = self.url, []
        for _ in range(10):
            reply = exchange(effective, "POST", self.headers(sdp=True), self.probe.offer)
            locations += [reply.header("Location")] if reply.header("Location") else []
            if reply.status not in (301, 302, 307, 308):
                break
            effective = locations[-1]
        assert reply.status == 201, f"Connect failed: response code {reply.status}: {reply.body!r}"
        assert reply.body, "Connect failed: No data returned"
        assert reply.header("Location"), "WHIP server did not provide a resource URL"
        location = locations[-1]
        if location.startswith("http"):
            self.resource = location
        else:  # a path, whatever is in it
            assert location.startswith("/")
            assert "?" not in location
            base = urlsplit(effective)
            self.resource = urlunsplit((base.scheme, base.netloc, location, "", ""))
        self.answer = reply.text[reply.text.index("v=0") :]
        self._set_remote_description()
        return reply

    def _set_remote_description(self) -> None:
        if self.layers > 1:
            at = self.answer.find("a=simulcast")
            assert at >= 0, "simulcast is not supported by the server"
            line = self.answer[at : self.answer.index("\r\n", at)]
            assert line.count(";") + 1 == self.layers, line
        assert all(section[0].split()[1] != "0" for section in sections_of(self.answer))
        self.probe.answer(self.answer)
        assert self.probe.remote.setup in ("active", "passive")
        mid, tracks = (MID_ID, b"1"), []
        for i in range(self.layers):
            units = pictures(*SIZES[i], self.profile)
            extensions = (mid, (RID_ID, str(i).encode()))
            tracks.append(Track(VIDEO_PT, self.ssrc + 1 + i, 90000, units, 25, extensions))
        opus = [(packet,) for packet in sounds("opus")]
        audio = Track(AUDIO_PT, self.ssrc, 48000, opus, 50)
        self.sender = Sender(self.probe, tracks, audio, answers_pli=False)

    def tick(self, now: float) -> None:
        self.sender.tick(now)

    def close(self) -> None:
        """Let go of the socket, whatever state it is in."""
        if hasattr(self, "probe"):
            self.probe.close()

    def disconnected(self) -> bool:
        """Whether the server said close_notify: libobs then tries again by itself."""
        return self.probe.dtls is not None and self.probe.dtls.state is DtlsState.CLOSED

    def stop(self) -> None:
        """StopThread: the connection first, then DELETE, which has to give 200."""
        if not self.disconnected():
            self.probe.hang_up()
        self.probe.close()
        reply = exchange(self.resource, "DELETE", self.headers(sdp=False))
        assert reply.status == 200, f"DELETE request failed. HTTP Code: {reply.status}"
        self.resource = ""
