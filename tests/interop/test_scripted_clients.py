"""Clients that cannot run here, as scripts of what their sources send, in their order and with
their headers: MediaMTX's browser reader, Meetecho's simple-whip-client and simple-whep-client,
vue-wish's `WISH`. Each ends with real media: pictures that are decoded and numbered, sounds that
were sent.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import pytest

from rtcfwd.client.probe import Probe
from tests.interop.browser_fetch import Page
from tests.interop.interop_tools import Server, serving
from tests.interop.scripted import (
    FRAGMENT,
    Screen,
    Sender,
    Track,
    exchange,
    first_ssrc,
    go_live,
    golden,
    in_order,
    payload_types,
    pictures,
    run,
    sections,
    sounds,
    values,
)

TYPE = ("Content-Type", "application/sdp")
TRICKLE = ("Content-Type", FRAGMENT)
HOST = "candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host"
MDNS = "candidate:2 1 udp 2130706431 0b6f63a1-4f4b-4e1c-9c1e-6c1e0d3f9a10.local 50001 typ host"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With STUN and TURN in its Links, which clients parse in their own ways."""
    servers = ("stun:127.0.0.1:3478", "turn:127.0.0.1:3478?transport=udp")
    options = ("--ice-servers", *servers, "--turn-secret", "secret-of-the-test")
    log = tmp_path_factory.mktemp("server") / "server.log"
    with serving(log, workers=1, options=options) as running:
        yield running


@pytest.fixture
def probe() -> Iterator[Callable[..., Probe]]:
    """Makes probes, closes them."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Probe:
            made = Probe(**options)
            stack.callback(made.close)
            return made

        yield make


def sender(offer: str, answer: str, probe: Probe) -> Sender:
    """Sends what the answer accepts, under the offer's SSRCs: H264 and Opus or G.711."""
    tracks: dict[str, Track] = {}
    for offered, section in zip(sections(offer), sections(answer), strict=True):
        ssrc = first_ssrc(offered)
        if section[0].startswith("m=video"):
            pt = payload_types(section, "H264")[0]
            tracks["video"] = Track(pt, ssrc, 90000, pictures(640, 360), 25)
            continue
        opus, alaw = payload_types(section, "opus"), payload_types(section, "PCMA")
        units = [(packet,) for packet in sounds("opus" if opus else "pcm_alaw")]
        clock = 48000 if opus else 8000
        tracks["audio"] = Track((opus or alaw)[0], ssrc, clock, units, 50, marked=False)
    return Sender(probe, [tracks["video"]], tracks.get("audio"))


def screen(answer: str, probe: Probe, audio: str) -> Screen:
    found: dict[str, list[int]] = {"video": [], "audio": []}
    for section in sections(answer):
        kind = section[0][2:].split()[0]
        if kind in found:
            found[kind] = payload_types(section, "H264" if kind == "video" else audio)
    return Screen(probe, found["video"], found["audio"])


@pytest.fixture
def stream(server: Server, probe: Callable[..., Probe]) -> Callable[[str, str], Sender]:
    """A live stream of H264 and PCMA or Opus, from a scripted browser."""

    def publish(name: str, audio: str) -> Sender:
        client = probe(publish=True)
        kind = "sendonly-default" if audio == "opus" else "sendonly-h264-pcma"
        offer = golden(f"chromium156-{kind}", client)
        reply = exchange(server.url(f"/whip/{name}"), "POST", [TYPE], offer)
        assert reply.status == 201, reply.body
        client.answer(reply.text)
        client.connect()
        made = sender(offer, reply.text, client)
        go_live(made, server, name)
        return made

    return publish


def watched(publisher: Sender, viewer: Screen, pictures: int = 60) -> None:
    """Both live until the viewer has its pictures: all of them, in order, and true sounds."""
    run([publisher, viewer], lambda: viewer.frames() > pictures, f"{pictures} pictures")
    shown = viewer.pictures()
    assert len(shown) >= pictures - 1
    assert in_order(shown)
    heard = viewer.sounds
    assert len(heard) >= pictures
    assert set(heard) <= publisher.sent


# ---- MediaMTX's reader.js ----


def links_to_ice_servers(links: str | None) -> list[dict[str, str]]:
    """Its own parser: one pattern for every Link, and null where one does not match."""
    found = []
    for link in links.split(", ") if links else []:
        match = re.match(
            r'<(.+?)>; rel="ice-server"'
            r'(; username="(.*?)"; credential="(.*?)"; credential-type="password")?',
            link,
            re.I,
        )
        assert match is not None, f"the reader throws at {link!r}"
        server = {"urls": match[1]}
        if match[3] is not None:
            server |= {"username": match[3], "credential": json.loads(f'"{match[4]}"')}
        found.append(server)
    return found


@pytest.mark.client("MediaMTX reader")
def test_mediamtx_reader(
    server: Server, stream: Callable[[str, str], Sender], probe: Callable[..., Probe]
) -> None:
    """OPTIONS (preflighted) for the Links; an offer with a data channel and payload types of its
    own; each candidate in a PATCH with `If-Match: *` and the offer's own m-line, 204 or it starts
    over; DELETE without credentials."""
    publisher = stream("mediamtx", "opus")
    page, url = Page(), server.url("/whep/mediamtx")
    servers = links_to_ice_servers(page.fetch(url, "OPTIONS").header("Link"))
    assert [s["urls"].split(":")[0] for s in servers] == ["stun", "turn"]
    assert servers[1]["username"]

    client = probe(publish=False)
    offer = golden("made-mediamtx-reader-whep-offer", client)
    reply = page.fetch(url, "POST", [TYPE], offer)
    assert reply.status == 201, reply.text
    session = urljoin(url, reply.header("Location") or "")
    medias = [line[2:] for line in offer.split("\r\n") if line.startswith("m=")]
    assert [section[0].split()[1] == "0" for section in sections(reply.text)] == [
        media.startswith("application") for media in medias
    ]
    client.answer(reply.text)
    index = next(i for i, media in enumerate(medias) if not media.startswith("application"))
    for candidate in (HOST, MDNS):
        fragment = (
            f"a=ice-ufrag:{client.ufrag}\r\na=ice-pwd:{client.pwd}\r\n"
            f"m={medias[index]}\r\na=mid:{index}\r\na={candidate}\r\n"
        )
        assert page.fetch(session, "PATCH", [TRICKLE, ("If-Match", "*")], fragment).status == 204
    client.connect()
    watched(publisher, screen(reply.text, client, "opus"))
    assert page.fetch(session, "DELETE").status == 200

    missing = page.fetch(server.url("/whep/mediamtx-nobody"), "POST", [TYPE], offer)
    assert missing.status == 409  # "bad status code 409": it tries again after 2 s, as after 404
    assert page.sent.count(("preflight", 200)) + page.sent.count(("preflight", 204)) == 6


# ---- Meetecho's simple-whip-client and simple-whep-client ----


class Simple:
    """The HTTP of both (libsoup): the bearer token and, once there is an ETag, If-Match on every
    request, DELETE included; a redirect only by 301 and 307."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url, self.token = url, token
        self.etag = self.resource = ""

    def send(self, method: str, url: str, body: str = "", content_type: str = "") -> Any:
        headers = [("Content-Type", content_type)] if content_type else []
        headers += [("Authorization", f"Bearer {self.token}")] if self.token else []
        headers += [("If-Match", self.etag)] if self.etag else []
        headers += [("Accept-Encoding", "gzip, deflate"), ("Connection", "Keep-Alive")]
        for _ in range(10):
            reply = exchange(url, method, headers, body)
            if reply.status not in (301, 307):
                break
            url = self._resolve(reply.header("Location"))
        return reply

    def _resolve(self, location: str) -> str:
        """Absolute where "http" stands anywhere in it, else a path of the endpoint's host."""
        if "http" in location:
            return location
        assert location.startswith("/")
        base = urlsplit(self.url)
        return urlunsplit((base.scheme, base.netloc, location, base.query, ""))

    def follow_links(self) -> list[str]:
        """`--follow-link`: OPTIONS before anything else."""
        reply = self.send("OPTIONS", self.url)
        assert reply.status in (200, 204)
        links: list[str] = reply.headers.get_all("Link") or []
        assert all('rel="ice-server"' in link for link in links)
        return links

    def post(self, offer: str) -> str:
        reply = self.send("POST", self.url, offer, "application/sdp")
        assert reply.status == 201, reply.body
        assert reply.header("Content-Type").split(";")[0].lower() == "application/sdp"
        assert reply.text.startswith("v=0\r\n")
        self.etag = reply.header("ETag")
        assert self.etag
        self.resource = self._resolve(reply.header("Location"))
        first = sections(reply.text)[0]  # candidates are read from there alone
        assert any(" udp " in value for value in values(first, "candidate"))
        answer: str = reply.text
        return answer

    def trickle(self, offer: str, kind: str, candidates: Sequence[str]) -> int:
        """What its timer sends every 100 ms: all that has been gathered since."""
        section = sections(offer)[0]
        fragment = (
            f"a=ice-ufrag:{values(section, 'ice-ufrag')[0]}\r\n"
            f"a=ice-pwd:{values(section, 'ice-pwd')[0]}\r\n"
            f"m={kind} 9 RTP/AVP 0\r\na=mid:{values(section, 'mid')[0]}\r\n"
            + "".join(f"a={candidate}\r\n" for candidate in candidates)
        )
        status: int = self.send("PATCH", self.resource, fragment, FRAGMENT).status
        return status

    def disconnect(self) -> int:
        status: int = self.send("DELETE", self.resource).status
        return status


@pytest.mark.client("simple-whip-client", "simple-whep-client")
@pytest.mark.duty("S2")
def test_simple_whip_and_whep_clients(server: Server, probe: Callable[..., Probe]) -> None:
    """GStreamer's offers without candidates, trickled under `m=audio 9 RTP/AVP 0` whatever the
    section is, with the ETag; the last PATCH says end-of-candidates; DELETE has If-Match, too."""
    ends = []
    for publish, path in ((True, "/whip/simple"), (False, "/whep/simple")):
        client = probe(publish=publish)
        name = "gst1.22-webrtcbin-whip-offer" if publish else "gst1.22-webrtcbin-whep-offer"
        offer = golden(name, client, candidates=False)
        http = Simple(server.url(path), "a-token-that-nobody-asks-for")
        assert len(http.follow_links()) == 2
        answer = http.post(offer)
        client.answer(answer)
        tcp = "candidate:2 1 TCP 1015022591 192.0.2.7 9 typ host tcptype active"
        assert http.trickle(offer, "audio", [HOST, tcp]) == 204
        assert http.trickle(offer, "audio", ["end-of-candidates"]) == 204
        client.connect()
        ends.append((http, client, offer, answer))
        if publish:
            publisher = sender(offer, answer, client)
            go_live(publisher, server, "simple")
    watched(publisher, screen(ends[1][3], ends[1][1], "PCMA"))
    for http, client, _, _ in reversed(ends):
        client.hang_up()
        assert http.disconnect() == 200


# ---- vue-wish's WISH ----


class Wish:
    """The class of that name: no Authorization anywhere, the ETag by JSON.parse and so sent back
    without its quotes, `m=audio` and mid 0 in every fragment."""

    def __init__(self, endpoint: str) -> None:
        self.page = Page("https://wish.example")
        self.endpoint = endpoint
        self.trickles = True
        links = self.page.fetch(endpoint, "OPTIONS").header("Link")
        assert links is not None
        # Its parser keeps the last one of a rel.
        self.ice_server = re.findall(r'<([^>]+)>[^,]*rel="?ice-server', links)[-1]

    def post(self, offer: str) -> str:
        reply = self.page.fetch(self.endpoint, "POST", [("content-type", "application/sdp")], offer)
        assert reply.status == 201, reply.text
        location = reply.header("location") or ""
        base = urlsplit(self.endpoint)
        assert "?" not in location  # it becomes URL.pathname
        self.resource = (
            location
            if location.startswith("http")
            else urlunsplit((base.scheme, base.netloc, location, base.query, ""))
        )
        self.etag = json.loads(reply.header("etag") or "")
        return reply.text

    def trickle(self, client: Probe, candidate: str) -> None:
        if candidate.split()[4].endswith(".local"):
            return  # "Skipping mDNS candidate"
        fragment = (
            f"a=ice-ufrag:{client.ufrag}\r\na=ice-pwd:{client.pwd}\r\n"
            f"m=audio 9 RTP/AVP 0\r\na=mid:0\r\na={candidate}\r\n"
        )
        headers = [("content-type", FRAGMENT), ("if-match", self.etag)]
        assert self.page.fetch(self.resource, "PATCH", headers, fragment).status == 204

    def disconnect(self) -> None:
        reply = self.page.fetch(self.resource, "DELETE")
        assert reply.status == 200, f"Unexpected status code {reply.status}: {reply.text}"


def in_wish_order(offer: str, first: str) -> str:
    """Video before audio, as its transceivers are added; the mids are numbers in that order."""
    head, *parts = offer.split("\r\nm=")
    parts = [part.removesuffix("\r\n") for part in parts]
    parts.sort(key=lambda part: not part.startswith(first))
    parts = [re.sub(r"a=mid:\d+", f"a=mid:{i}", part) for i, part in enumerate(parts)]
    return "\r\nm=".join([head, *parts]) + "\r\n"


def prefer_vp9(offer: str) -> str:
    """setCodecPreferences with VP9 in front: its publisher's m-line."""

    def reorder(match: re.Match[str]) -> str:
        video = next(s for s in sections(offer) if s[0].startswith("m=video"))
        first = [str(n) for n in payload_types(video, "VP9")]
        rest = [n for n in match[2].split() if n not in first]
        return f"{match[1]}{' '.join([*first, *rest])}"

    return re.sub(r"(m=video \d+ \S+ )([\d ]+)", reorder, offer)


@pytest.mark.client("vue-wish WISH")
@pytest.mark.parametrize("trickle", [True, pytest.param(False, marks=pytest.mark.full)])
def test_wish(server: Server, probe: Callable[..., Probe], trickle: bool) -> None:
    """It publishes with VP9 in front and gets H264, because the answer keeps that; it plays both
    tracks. With trickle the offer has no candidates; without, it has what 1 s of gathering gave."""
    name = "wish-trickle" if trickle else "wish-whole"
    ends = []
    for publish, path in ((True, f"/whip/{name}"), (False, f"/whep/{name}")):
        client = probe(publish=publish)
        wish = Wish(server.url(path))
        assert wish.ice_server.startswith("turn:")
        kind = "sendonly" if publish else "recvonly"
        offer = golden(f"chromium156-{kind}-default", client, candidates=not trickle)
        offer = prefer_vp9(offer) if publish else in_wish_order(offer, "video")
        answer = wish.post(offer)
        client.answer(answer)
        if trickle:
            for candidate in (HOST, MDNS):
                wish.trickle(client, candidate)
        client.connect()
        ends.append((wish, client, answer))
        if publish:
            publisher = sender(offer, answer, client)
            go_live(publisher, server, name)
    # Two track events, or its player stays blank: no section is rejected or inactive.
    answered = sections(ends[1][2])
    assert [s[0].split()[0] for s in answered] == ["m=video", "m=audio"]
    assert all(s[0].split()[1] != "0" and "a=sendonly" in s for s in answered)
    watched(publisher, screen(ends[1][2], ends[1][1], "opus"))
    for wish, client, _ in reversed(ends):
        client.hang_up()  # killConnection comes before DELETE
        wish.disconnect()
