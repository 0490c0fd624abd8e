"""WHEP over HTTP (draft-ietf-wish-whep): WHIP's endpoint and session URLs, and a HEAD of its own.

Without a publisher the answer to a POST is 409 with Retry-After (section 4.3.8); the registry
refuses it.
"""

from __future__ import annotations

from aiohttp import web

from .headers import SDP
from .whip import Endpoint, stream_name


class ViewerEndpoint(Endpoint):
    async def head(self, request: web.Request) -> web.Response:
        """What kind of URL this is (section 4.2)."""
        stream_name(request)
        return web.Response(status=200, headers={"Content-Type": SDP, "Content-Length": "0"})
