"""A WHIP and WHEP server as a Python user would write it with aiortc, for the benchmark beside it.

aiortc hands received media to Python as decoded frames, so forwarding with it means decoding what
is published once and encoding it again for every viewer; ``MediaRelay`` gives each viewer its own
copy of the frames. Video is unbuffered: a viewer whose encoder is behind gets the newest picture
instead of a growing delay.

``python -m benchmarks.peers.media_relay --host ADDRESS --port 8080``; publish to ``/whip``, watch
at ``/whep``.
"""

from __future__ import annotations

import argparse
import secrets

from aiohttp import web
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaRelay


class Broadcast:
    """One publisher's tracks and everybody's connections."""

    def __init__(self) -> None:
        self.relay = MediaRelay()
        self.tracks: dict[str, MediaStreamTrack] = {}
        self.connections: dict[str, RTCPeerConnection] = {}

    async def publish(self, request: web.Request) -> web.Response:
        connection = RTCPeerConnection()

        @connection.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self.tracks[track.kind] = track

        return await self._answer(connection, request)

    async def watch(self, request: web.Request) -> web.Response:
        if not self.tracks:
            raise web.HTTPConflict(text="nobody publishes yet")
        connection = RTCPeerConnection()
        for kind, track in self.tracks.items():
            connection.addTrack(self.relay.subscribe(track, buffered=kind == "audio"))
        return await self._answer(connection, request)

    async def _answer(self, connection: RTCPeerConnection, request: web.Request) -> web.Response:
        name = secrets.token_hex(8)
        self.connections[name] = connection

        @connection.on("connectionstatechange")
        async def on_state() -> None:
            if connection.connectionState == "failed":
                await connection.close()
            if connection.connectionState == "closed":
                self.connections.pop(name, None)

        offer = RTCSessionDescription(sdp=await request.text(), type="offer")
        await connection.setRemoteDescription(offer)
        await connection.setLocalDescription(await connection.createAnswer())
        return web.Response(
            status=201,
            content_type="application/sdp",
            headers={"Location": f"/session/{name}"},
            text=connection.localDescription.sdp,
        )

    async def leave(self, request: web.Request) -> web.Response:
        connection = self.connections.pop(request.match_info["name"], None)
        if connection is None:
            raise web.HTTPNotFound
        await connection.close()
        return web.Response()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    broadcast = Broadcast()
    app = web.Application()
    app.add_routes(
        [
            web.post("/whip", broadcast.publish),
            web.post("/whep", broadcast.watch),
            web.delete("/session/{name}", broadcast.leave),
        ]
    )
    web.run_app(app, host=arguments.host, port=arguments.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
