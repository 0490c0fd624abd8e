"""WHIP over HTTP: the endpoint (POST an offer) and session URLs (DELETE, PATCH). RFC 9725.

WHEP has the same shape: ``whep.py`` adds what differs to :class:`Endpoint`. A session URL is
rooted, has no query, and never holds the letters "http", whatever the stream is called.
"""

from __future__ import annotations

from aiohttp import web

from rtcfwd.sdp import parse_fragment
from rtcfwd.session.counter_offers import CounterOffer
from rtcfwd.session.ids import is_stream_name
from rtcfwd.session.registry import Registry
from rtcfwd.session.session import Session

from .headers import FRAGMENT, SDP, has_media_type, if_match
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


def location(request: web.Request, id: str) -> str:
    """The URL of a session that a POST to an endpoint makes: below the protocol, for /whip/NAME and
    for the alias /webrtc/whip?streamid=NAME."""
    base = request.path.rpartition("/")[0] if "stream" in request.match_info else request.path
    return f"{base}/{SESSION_STEP}/{id}"


class Endpoint:
    """What ``/whip/{stream}`` and ``/whep/{stream}`` have in common."""

    def join(self, request: web.Request, name: str, body: bytes) -> Session:
        """A session for the offer ``body``."""
        raise NotImplementedError

    async def post(self, request: web.Request) -> web.Response:
        name = stream_name(request)
        if not has_media_type(request, SDP):
            raise Problem(
                415,
                "Offer expected",
                f"POST the SDP offer with Content-Type: {SDP}.",
                {"Accept": SDP, "Accept-Post": SDP},
            )
        session = self.join(request, name, await request.read())
        return web.Response(
            status=201,
            body=session.sdp,
            headers={
                "Content-Type": SDP,  # with a charset some clients refuse it
                "Location": location(request, session.id),
                "ETag": session.etag,
                "Accept-Patch": FRAGMENT,
            },
        )

    async def get(self, request: web.Request) -> web.Response:
        stream_name(request)
        return await no_content(request)


class PublisherEndpoint(Endpoint):
    def __init__(self, registry: Registry) -> None:
        self._publish = registry.publish

    def join(self, request: web.Request, name: str, body: bytes) -> Session:
        return self._publish(name, body)


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
        if request.match_info["id"] not in self._registry.counter_offers:
            self._session(request)
        return await no_content(request)

    async def _answer(self, request: web.Request, pending: CounterOffer) -> web.Response:
        """The answer to a counter-offer (draft-ietf-wish-whep, section 4.3.2)."""
        if not has_media_type(request, SDP):
            raise Problem(
                415, "Answer expected", f"PATCH the SDP answer with Content-Type: {SDP}.",
                {"Accept-Patch": SDP},
            )  # fmt: skip
        body = await request.read()
        if pending.id not in self._registry.counter_offers:
            raise Problem(404, "No such session", "Its offer has expired; POST again.")
        self._registry.answer_counter_offer(pending, body)
        return web.Response(status=204)

    async def delete(self, request: web.Request) -> web.Response:
        """200, also for a session that ended a short while ago; If-Match is ignored (RFC 9725
        section 4.3.1)."""
        if not self._registry.delete(request.match_info["id"]):
            raise Problem(404, "No such session", "It has ended or never was.")
        return web.Response(status=200)

    async def patch(self, request: web.Request) -> web.Response:
        """Trickle ICE (204) or ICE restart (200), told apart by the ufrag alone (RFC 9725 section
        4.3). Candidates are not needed, as a lite agent sends no checks."""
        pending = self._registry.counter_offers.get(request.match_info["id"])
        if pending is not None:
            return await self._answer(request, pending)
        session = self._session(request)
        if not has_media_type(request, FRAGMENT):
            raise Problem(
                415,
                "ICE fragment expected",
                f"PATCH with Content-Type: {FRAGMENT}.",
                {"Accept-Patch": FRAGMENT},
            )
        fragment = parse_fragment(await request.read())
        tags = if_match(request)
        restart = session.is_restart(fragment)
        if tags is None and (restart or self._registry.config.http_profile == "strict"):
            wanted = "*" if restart else session.etag
            raise Problem(428, "If-Match wanted", f"Send If-Match: {wanted} with the PATCH.")
        # Late news of an ICE session that is over is stale whatever its If-Match says.
        fits = tags is None or "*" in tags or session.etag.strip('"') in tags
        if not fits or session.is_outdated(fragment):
            raise Problem(
                412,
                "Another ICE session",
                "ICE was restarted since; use the ETag of the last 200 or 201, or If-Match: * "
                "with new ice-ufrag and ice-pwd to restart it again.",
            )
        if not restart:
            return web.Response(status=204)
        if fragment.pwd is None:
            raise Problem(400, "Half a restart", "Send a=ice-pwd with the new a=ice-ufrag.")
        answer = self._registry.restart(session, fragment)
        headers = {"Content-Type": FRAGMENT, "ETag": session.etag}
        return web.Response(status=200, body=answer, headers=headers)
