"""WHEP over HTTP (draft-ietf-wish-whep): WHIP's endpoint and session URLs, and a HEAD of its own.

Without a publisher the answer to a POST is 409 with Retry-After (section 4.3.8); the registry
refuses it.
"""

from __future__ import annotations

from aiohttp import web

from rtcfwd import playout
from rtcfwd.session.registry import Registry
from rtcfwd.session.session import Session

from .events import links
from .headers import SDP, has_media_type
from .problems import Problem
from .whip import Endpoint, location, stream_name


class ViewerEndpoint(Endpoint):
    def __init__(self, registry: Registry) -> None:
        self._view = registry.view
        self._counter_offer = registry.counter_offer

    async def post(self, request: web.Request) -> web.Response:
        """As for WHIP, with the extensions (section 4.10). Without an offer, or with
        ``?counter-offer``, 406 and the server's own (section 4.3.2)."""
        asked = "counter-offer" in request.query
        if asked or (has_media_type(request, SDP) and not await request.read()):
            response = self._counter(request)
        else:
            response = await super().post(request)
        for link in links(response.headers["Location"]):
            response.headers.add("Link", link)
        return response

    def join(self, request: web.Request, name: str, body: bytes) -> Session:
        """``?playout=MIN-MAX``: this viewer's playout delay in ms (rtcfwd/playout.py)."""
        asked = request.query.get("playout", "auto")
        try:
            wanted = playout.parse(asked)
        except ValueError as error:
            raise Problem(400, "Bad query", f"playout {error}.") from None
        return self._view(name, body, wanted)

    def _counter(self, request: web.Request) -> web.Response:
        offer = self._counter_offer(stream_name(request))
        return web.Response(
            status=406,
            body=offer.sdp,
            headers={
                "Content-Type": SDP,  # without valid-until: 30 s
                "Location": location(request, offer.id),
                "ETag": offer.etag,
                "Accept-Patch": SDP,
            },
        )

    async def head(self, request: web.Request) -> web.Response:
        """What kind of URL this is (section 4.2)."""
        stream_name(request)
        return web.Response(status=200, headers={"Content-Type": SDP, "Content-Length": "0"})
