"""WHIP over HTTP: the endpoint (POST an offer) and session URLs (DELETE, PATCH). RFC 9725.

WHEP has the same shape (``whep.py`` adds what differs): :class:`Endpoint` is told which one it
serves by the function that joins. A session URL is rooted, has no query, and never holds the
letters "http", whatever the stream is called.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from rtcfwd.sdp import parse_fragment
from rtcfwd.session.ids import is_stream_name
from rtcfwd.session.registry import Registry
from rtcfwd.session.session import Session

from .headers import FRAGMENT, SDP, has_media_type
from .problems import Problem
from .resource import no_content

SESSION_STEP = "session"
"""``/whip/session/ID``: two steps, so that it never meets a stream's ``/whip/NAME``."""


def stream_name(request: web.Request) -> str:
    """The stream that a URL names, by path or by ``?streamid=``. Raises :class:`Problem`."""
    rule = "Name the stream with 1 to 128 of A-Z a-z 0-9 . _ ~ -"
    name = request.match_info.get("stream")
    if name is None:
        name = request.query.get("streamid")
        if not name:
            raise Problem(400, "No stream named", f"{rule}, as ?streamid=NAME.")
    if not is_stream_name(name):
        raise Problem(404, "No such stream", f"{rule}.")
    return name


class Endpoint:
    """``/whip/{stream}`` or ``/whep/{stream}``. ``join``: the registry's publish or view."""

    def __init__(self, join: Callable[[str, bytes], Session]) -> None:
        self._join = join

    async def post(self, request: web.Request) -> web.Response:
        name = stream_name(request)
        if not has_media_type(request, SDP):
            raise Problem(
                415,
                "Offer expected",
                f"POST the SDP offer with Content-Type: {SDP}.",
                {"Accept": SDP, "Accept-Post": SDP},
            )
        session = self._join(name, await request.read())
        # /whip/NAME and the alias /webrtc/whip?streamid=NAME: sessions live below the protocol.
        base = request.path.rpartition("/")[0] if "stream" in request.match_info else request.path
        return web.Response(
            status=201,
            body=session.sdp,
            headers={
                "Content-Type": SDP,  # with a charset some clients refuse it
                "Location": f"{base}/{SESSION_STEP}/{session.id}",
                "ETag": session.etag,
                "Accept-Patch": FRAGMENT,
            },
        )

    async def get(self, request: web.Request) -> web.Response:
        stream_name(request)
        return await no_content(request)


class SessionUrl:
    """``…/session/{id}``: the same for publishers and viewers."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def _session(self, request: web.Request) -> Session:
        session = self._registry.sessions.get(request.match_info["id"])
        if session is None:
            raise Problem(404, "No such session", "It has ended or never was; POST a new offer.")
        return session

    async def get(self, request: web.Request) -> web.Response:
        self._session(request)
        return await no_content(request)

    async def delete(self, request: web.Request) -> web.Response:
        """200, also for a session that ended a short while ago; If-Match is ignored (RFC 9725
        section 4.3.1)."""
        if not self._registry.delete(request.match_info["id"]):
            raise Problem(404, "No such session", "It has ended or never was.")
        return web.Response(status=200)

    async def patch(self, request: web.Request) -> web.Response:
        """Trickle ICE: 204. Candidates are not needed, as a lite agent sends no checks; every form
        of If-Match is taken. An ICE restart is refused with 422 and leaves the session as it is
        (RFC 9725 section 4.3.3)."""
        session = self._session(request)
        if not has_media_type(request, FRAGMENT):
            raise Problem(
                415,
                "ICE fragment expected",
                f"PATCH with Content-Type: {FRAGMENT}.",
                {"Accept-Patch": FRAGMENT},
            )
        fragment = parse_fragment(await request.read())
        if session.is_restart(fragment):
            raise Problem(
                422,
                "No ICE restart",
                "This server does not restart ICE; keep the credentials or POST a new offer.",
            )
        return web.Response(status=204)
