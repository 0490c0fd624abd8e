"""A browser that is sent the source's media straight from the publisher, with no server between.

What such a viewer sees is the browser's own doing: how far it brings sound and picture together,
how long it keeps them. The publisher offers (RFC 8829) and hosts the page that answers; it learns
the browser's address from the first check that comes, so no candidate of the browser's is needed.
It does not resend: only for ways without loss.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import aiohttp
from aiohttp import web

from ..peer import Credentials, Peer, make_offer, read_answer
from .clip import NumberedPublisher

# As much of the server's page as the probe looks for.
_PAGE = """<!DOCTYPE html><title>direct</title>
<video id="watch-video" autoplay playsinline width="480" height="270"></video>
<script>
  const pc = new RTCPeerConnection();
  window.rtcfwd = {viewer: {pc}};
  const stream = new MediaStream();
  const element = document.getElementById('watch-video');
  pc.ontrack = ({track}) => {
    stream.addTrack(track);
    element.srcObject = stream;
    element.play();
  };
  (async () => {
    await pc.setRemoteDescription(await (await fetch('offer')).json());
    await pc.setLocalDescription();
    await fetch('answer', {method: 'POST', body: pc.localDescription.sdp});
  })();
</script>"""


class DirectPeer(Peer):
    """``url`` is where it hosts the page. Joining waits until a browser has opened that."""

    __slots__ = ()

    async def signal(self, http: aiohttp.ClientSession) -> Credentials:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        offer = {"type": "offer", "sdp": make_offer(self.local, True, self.ssrcs)}

        async def page(_: web.Request) -> web.Response:
            return web.Response(text=_PAGE, content_type="text/html")

        async def offered(_: web.Request) -> web.Response:
            return web.Response(text=json.dumps(offer), content_type="application/json")

        async def answered(request: web.Request) -> web.Response:
            if not answer.done():
                answer.set_result(await request.text())
            return web.Response(status=204)

        app = web.Application()
        app.add_routes([web.get("/", page), web.get("/offer", offered)])
        app.add_routes([web.post("/answer", answered)])
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            port = int(self.url.rpartition(":")[2])
            await web.TCPSite(runner, "127.0.0.1", port).start()
            async with asyncio.timeout(30):
                remote = read_answer(await answer)
                _, source = await loop.sock_recvfrom(self.sock, 2048)  # it asks again
        finally:
            await runner.cleanup()
        return Credentials(
            remote.ufrag, remote.pwd, remote.fingerprints, remote.setup, (source[:2],)
        )


class DirectPublisher(NumberedPublisher):
    """:class:`NumberedPublisher` to one browser alone."""

    def _make_peer(self, *arguments: Any) -> Peer:
        return DirectPeer(*arguments)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
