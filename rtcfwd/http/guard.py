"""What stands before the endpoints: rate limits, authorization, redirects, ice-server links.

    request ─▶ preflight? ─ yes ─▶ handler
               │ no
               429  this address asks too often            POST, PATCH, DELETE, what needs a token
               401  no token or an unknown one (delayed)   403  a token for something else
               503  the webhook does not answer
               307  another server has this stream         POST of an endpoint
               ▼
             handler ─ 503, full ─▶ 307 to the other server, if there is one
               ▼
             201, OPTIONS: Link rel="ice-server"

A session's URL is a capability of 128 random bits (RFC 9725 section 5), so by default PATCH and
DELETE need no token, which many clients do not send there. PATCH and DELETE are never redirected
(section 4.5). Tokens appear in no log: only paths are logged, never queries or headers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from aiohttp import web

from rtcfwd.auth import Action, Ask, Auth, Verdict
from rtcfwd.auth.model import Rule
from rtcfwd.forwarder.api import Role
from rtcfwd.session.registry import Refused, Registry

from .addresses import Address, Clients, key_of
from .ice_servers import IceServers
from .limits import Buckets, retry_after
from .problems import Handler, Problem
from .whip import stream_name

logger = logging.getLogger(__name__)

_CHALLENGE = 'Bearer realm="rtcfwd"'
_TELL_EACH_S = 60.0
_DELAYED = 256  # failed requests that wait at a time; more are answered at once
_HOP = "rtcfwd-hop"
"""Query parameter of a redirected request. It is not redirected again, and its session's Location
is absolute, as one client resolves a relative one against the URL that it asked first."""


class Guard:
    """``auth``: None when everybody may do everything. ``sleep``: for tests."""

    def __init__(
        self,
        registry: Registry,
        auth: Auth | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        config = registry.config
        self._registry = registry
        self._auth = auth
        self._sleep = sleep
        self._clients = Clients(config.trusted_proxies)
        self._requests = Buckets(config.rate_limit, config.rate_burst)
        self._failures = Buckets(config.auth_failures / 60, config.auth_failures)
        self._delayed = 0
        self._told_at = float("-inf")
        self._links = IceServers(
            config.ice_servers,
            secret=config.turn_secret,
            ttl=config.turn_ttl,
            fixed=(config.turn_username, config.turn_password),
        )
        self._redirects = [(Rule(a, stream), url) for a, stream, url in config.redirect]

    # ---- the three kinds of URLs ----

    def endpoint(self, action: Action, handler: Handler) -> Handler:
        """Of ``/whip/{stream}`` (PUBLISH) or ``/whep/{stream}`` (VIEW)."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.method == "POST":
                return await self._post(request, action, handler)
            if request.method != "OPTIONS" or is_preflight(request):
                return await handler(request)
            name = stream_name(request)
            if self._auth is not None:
                self._limit(request)
                await self._admit(request, action, name)
            response = await handler(request)
            self._links.add(response)
            return response

        return guarded

    def session(self, handler: Handler) -> Handler:
        """Of a session's URL and those below it."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.method in ("POST", "PATCH", "DELETE"):
                self._limit(request)
                id = request.match_info["id"]
                registry = self._registry
                session = registry.sessions.get(id) or registry.counter_offers.get(id)
                if session is not None and self._registry.config.auth_sessions == "token":
                    action = Action.PUBLISH if session.role is Role.PUBLISHER else Action.VIEW
                    await self._admit(request, action, session.stream_name)
            return await handler(request)

        return guarded

    def admin(self, handler: Handler) -> Handler:
        """Of the API and the metrics."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.method != "OPTIONS" and self._auth is not None:
                self._limit(request)
                await self._admit(request, Action.ADMIN, None)
            return await handler(request)

        return guarded

    # ---- steps ----

    async def _post(
        self, request: web.Request, action: Action, handler: Handler
    ) -> web.StreamResponse:
        self._limit(request)
        name = stream_name(request)
        await self._admit(request, action, name)
        hopped = _HOP in request.query
        for rule, url in self._redirects:
            if not hopped and rule.grants(action, name):
                return self._redirect(request, url)
        try:
            response = await handler(request)
        except Refused as refused:
            other = self._registry.config.redirect_full
            if refused.status == 503 and other and not hopped:
                return self._redirect(request, other)
            raise
        if response.status in (201, 406):
            self._links.add(response)
            if hopped:
                response.headers["Location"] = (
                    self._clients.origin(request) + response.headers["Location"]
                )
        return response

    def _redirect(self, request: web.Request, base: str) -> web.Response:
        """307 with an absolute Location; the query goes along, it may hold stream and token."""
        query = urlencode([*request.query.items(), (_HOP, "1")])
        self._count("redirected")
        location = f"{base}{request.rel_url.raw_path}?{query}"
        return web.Response(status=307, headers={"Location": location})

    def _limit(self, request: web.Request) -> None:
        address = self._clients.of(request)
        if self._registry.config.rate_limit <= 0 or address is None or address.is_loopback:
            return
        wait = self._requests.take(key_of(address), self._registry.clock())
        if wait > 0:
            self._count("rate_limited")
            raise Problem(
                429, "Too many requests", "Ask less often; see Retry-After.", retry_after(wait)
            )

    async def _admit(self, request: web.Request, action: Action, stream: str | None) -> None:
        """Return if the request may pass, else raise the :class:`Problem` that answers it."""
        if self._auth is None:
            return
        token = token_of(request)
        address = self._clients.of(request)
        key = key_of(address) if address is not None else b""
        wait = self._failures.wait(key, self._registry.clock())
        ask = Ask(action, stream, token, str(address or ""))
        verdict = await self._auth.decide(ask, ask_remote=wait == 0)
        if verdict is Verdict.ALLOWED:
            return
        if verdict is Verdict.UNAVAILABLE:
            self._count("auth_unavailable")
            raise Problem(
                503, "Not decided", "Who decides on access does not answer; try again.",
                retry_after(2),
            )  # fmt: skip
        self._count(verdict.value)
        if token is not None:
            self._tell(address)
            await self._punish(key)
        if verdict is Verdict.FORBIDDEN:
            detail = f"This token is not for {action.value} of {stream or 'the server'}."
            challenge = f'{_CHALLENGE}, error="insufficient_scope"'
            raise Problem(403, "Not allowed", detail, {"WWW-Authenticate": challenge})
        if token is None:
            raise Problem(
                401, "Token wanted", "Send Authorization: Bearer TOKEN, or ?token=TOKEN.",
                {"WWW-Authenticate": _CHALLENGE},
            )  # fmt: skip
        raise Problem(
            401, "Unknown token", "This token is not known here, or it has expired.",
            {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
        )  # fmt: skip

    async def _punish(self, key: bytes) -> None:
        """A token that was wrong: the answer waits a while. Who fails often gets 429. A right
        token still passes then, as others may stand behind the same address."""
        wait = self._failures.take(key, self._registry.clock())
        if wait > 0:
            self._count("rate_limited")
            raise Problem(
                429, "Too many wrong tokens", "Try again later; see Retry-After.", retry_after(wait)
            )
        if self._delayed < _DELAYED:
            self._delayed += 1
            try:
                await self._sleep(self._registry.config.auth_delay)
            finally:
                self._delayed -= 1

    def _tell(self, address: Address | None) -> None:
        """At most once a minute, so that a flood does not fill the log."""
        now = self._registry.clock()
        if now - self._told_at >= _TELL_EACH_S:
            self._told_at = now
            counts = self._registry.counts.http
            told = counts[Verdict.UNKNOWN.value] + counts[Verdict.FORBIDDEN.value]
            logger.warning("refused for want of a right token: %d, now %s", told, address)

    def _count(self, reason: str) -> None:
        self._registry.counts.http[reason] += 1


def is_preflight(request: web.Request) -> bool:
    """A CORS preflight carries no credentials and must pass (Fetch section 3.2.2)."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def token_of(request: web.Request) -> str | None:
    """``?token=``, else Authorization's bearer token or the bare value that one player sends. The
    query goes first: who cannot set the header may still send a meaningless one."""
    if told := request.query.get("token"):
        return told
    value = request.headers.get("Authorization")
    if value is not None:
        scheme, _, token = value.strip().partition(" ")
        if not token:
            return scheme or None
        return token.strip() if scheme.lower() == "bearer" else None
    return None
