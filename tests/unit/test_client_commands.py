"""`publish` and `play` as commands: arguments, statuses, figures, against a small aiortc relay.

The relay decodes and encodes again: it stands for a server only as far as HTTP, ICE and DTLS go.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay

from rtcfwd.client import play, publish
from rtcfwd.client.pattern import read_number
from rtcfwd.client.peer import Peer, offer_loopback, prefer
from rtcfwd.client.report import Line, PatternCheck, Rate, bits, clock, loss
from rtcfwd.client.whip import ClientError, Session


class Relay:
    """One publisher, any number of viewers; sessions end by DELETE or :meth:`close`."""

    def __init__(self) -> None:
        self.peers: dict[str, RTCPeerConnection] = {}
        self.tracks: dict[str, MediaStreamTrack] = {}
        self.deleted: list[str] = []
        self._relay = MediaRelay()
        self.app = web.Application()
        self.app.router.add_post("/whip/a", self.whip)
        self.app.router.add_post("/whep/a", self.whep)
        self.app.router.add_delete("/session/{id}", self.delete)

    async def whip(self, request: web.Request) -> web.Response:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.on("track", lambda track: self.tracks.__setitem__(track.kind, track))
        await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        return await self._answer(pc)

    async def whep(self, request: web.Request) -> web.Response:
        if not self.tracks:
            return web.Response(status=409, headers={"Retry-After": "1"})
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        await pc.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        for transceiver in pc.getTransceivers():
            if transceiver.kind in self.tracks:
                transceiver.sender.replaceTrack(
                    self._relay.subscribe(self.tracks[transceiver.kind])
                )
                transceiver.direction = "sendonly"
        return await self._answer(pc)

    async def _answer(self, pc: RTCPeerConnection) -> web.Response:
        await pc.setLocalDescription(await pc.createAnswer())
        name = str(len(self.peers))
        self.peers[name] = pc
        return web.Response(
            status=201,
            body=pc.localDescription.sdp.encode(),
            content_type="application/sdp",
            headers={"Location": f"/session/{name}"},
        )

    async def delete(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.deleted.append(name)
        await self.peers[name].close()
        return web.Response()

    async def close(self) -> None:
        for pc in self.peers.values():
            await pc.close()


@pytest.fixture
async def relay() -> AsyncIterator[tuple[Relay, TestServer]]:
    offer_loopback()
    here = Relay()
    async with TestServer(here.app) as server:
        yield here, server
        await here.close()


def arguments(module: object, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)  # type: ignore[attr-defined]
    return parser.parse_args(words)


async def test_publish_and_play(
    relay: tuple[Relay, TestServer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, server = relay
    out = tmp_path / "out.mkv"
    whip, whep = str(server.make_url("/whip/a")), str(server.make_url("/whep/a"))
    publishing = asyncio.create_task(
        publish._publish(
            arguments(publish, "--test", "--size", "320x180", "--seconds", "6", "--stats", whip)
        )
    )
    played = await play._play(
        arguments(play, "--wait", "5", "--seconds", "1.5", "--stats", "-o", str(out), whep)
    )
    shown = json.loads(capsys.readouterr().out)
    publishing.cancel()  # as Ctrl-C does: it ends well, with figures
    published = await publishing
    sent = json.loads(capsys.readouterr().out)

    assert (played, published) == (0, 0)
    assert sent["ended"] == "interrupted"
    assert (sent["video"]["codec"], sent["audio"]["codec"]) == ("H264", "PCMA")
    assert sent["video"]["frames"] >= 30
    assert (shown["video"]["size"], shown["ended"]) == ("320x180", "time")
    assert shown["pattern"]["backward"] == shown["pattern"]["unreadable"] == 0
    assert shown["pattern"]["read"] == shown["video"]["frames"] > 10
    assert shown["audio"]["samples"] > 4000
    assert sorted(here.deleted) == ["0", "1"]
    with av.open(str(out)) as container:
        numbers = [read_number(frame) for frame in container.decode(video=0)]
    assert numbers[0] == shown["pattern"]["first"]
    assert len(numbers) >= shown["video"]["frames"]  # one may come between the two counts


async def test_play_tells_when_the_server_ends_it(relay: tuple[Relay, TestServer]) -> None:
    here, server = relay
    async with Session(str(server.make_url("/whip/a")), "publish") as session:
        peer = Peer(session)
        try:
            peer.send(publish.PatternTrack(160, 90), ["vp8"])
            await peer.connect()
            assert (peer.codec("video"), peer.codec("audio")) == ("VP8", None)
            await here.tracks["video"].recv()  # media flows: the other side is up too
            await here.close()
            assert await asyncio.wait_for(peer.ended, 10) == "the server closed it"
        finally:
            await peer.close()


async def test_nobody_publishes(relay: tuple[Relay, TestServer]) -> None:
    _, server = relay
    with pytest.raises(ClientError, match="nobody is publishing"):
        await play._play(arguments(play, str(server.make_url("/whep/a"))))


def test_failures_are_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{unused_port()}/whep/a"
    assert play.run(arguments(play, "--seconds", "1", url)) == 1
    error = capsys.readouterr().err
    assert error.startswith("rtcfwd play: no server answers at 127.0.0.1")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("play", "-o", "x.avi"),
        ("play", "-o", "/no/such/folder/x.mkv"),
        ("play", "--video", "none", "--audio", "none"),
        ("publish", "--loop"),
    ],
)
def test_wrong_use_is_status_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    module = {"play": play, "publish": publish}[words[0]]
    assert module.run(arguments(module, *words[1:], "http://127.0.0.1:1/whep/a")) == 2
    assert capsys.readouterr().err.startswith(f"rtcfwd {words[0]}: ")


@pytest.mark.parametrize(
    "words",
    [
        ("notaurl",),
        ("--seconds", "0", "http://h/whip/a"),
        ("--seconds", "x", "http://h/whip/a"),
        ("--size", "161x90", "http://h/whip/a"),
        ("--bitrate", "2X", "http://h/whip/a"),
        ("--test", "--file", "f", "http://h/whip/a"),
    ],
)
def test_bad_arguments(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments(publish, *words)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


async def test_unknown_codec() -> None:
    pc = RTCPeerConnection()
    with pytest.raises(ClientError, match="no video codec named theora"):
        prefer(pc.addTransceiver("video"), ["theora"])
    await pc.close()


def test_pattern_check() -> None:
    check = PatternCheck()
    for number in (None, 5, 6, 9, None, 9, 10):
        check.add(number)
    assert check.as_dict() == {
        "first": 5,
        "last": 10,
        "read": 5,
        "missing": 2,
        "backward": 1,
        "unreadable": 1,
    }


def test_rate_over_the_last_second() -> None:
    rate = Rate()
    assert rate.add(0.0, 0) == 0.0
    assert rate.add(0.5, 10) == 20.0
    assert rate.add(10.0, 10) == 0.0
    assert rate.add(10.5, 20) == 20.0


def test_words() -> None:
    assert (clock(65.9), bits(2_500_000), bits(999)) == ("01:05", "2.50 Mbit/s", "1 kbit/s")
    assert loss(1, 99) == "lost 1 (1.0 %)"
    assert loss(-3, 10) == loss(0, 0) == "lost 0 (0.0 %)"


def test_live_line_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    line = Line(stream)
    line.show(["play", "", "long text"])
    line.show(["play"])
    line.note("done")
    assert stream.getvalue() == "\rplay  long text\rplay           \ndone\n"
