"""``GET /api/v1/selftest``: the self-test of the running server, for its operator.

For requests from this machine, or with an administrator's token where tokens are asked for; one at
a time, and not more often than every five seconds. It runs in a thread and joins by the registry,
so the event loop does no more for it than for one publisher and one viewer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from aiohttp import web

from rtcfwd import selftest
from rtcfwd.session.registry import Registry

from .addresses import Clients
from .api import as_json
from .problems import Problem

T = TypeVar("T")

_APART_S = 5.0
_CALL_S = 5.0


class RegistryJoins:
    """:class:`rtcfwd.selftest.Joins` of a registry, for a thread that is not its loop's."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._loop = asyncio.get_running_loop()

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_CALL_S)

    def publish(self, name: str, offer: bytes) -> tuple[str, bytes]:
        session = self._call(lambda: self._registry.publish(name, offer))
        return session.id, session.sdp

    def view(self, name: str, offer: bytes) -> tuple[str, bytes]:
        session = self._call(lambda: self._registry.view(name, offer))
        return session.id, session.sdp

    def leave(self, session_id: str) -> None:
        self._call(lambda: self._registry.delete(session_id))


async def lines(registry: Registry, addresses: Sequence[str], udp_port: int) -> list[selftest.Line]:
    """Run it for a registry of this loop."""
    joins = RegistryJoins(registry)
    return await asyncio.to_thread(selftest.run, registry.forwarder, addresses, udp_port, joins)


class SelfTest:
    """The handler. ``authorized``: whether the guard has let only administrators come so far."""

    def __init__(
        self, registry: Registry, addresses: Sequence[str], udp_port: int, *, authorized: bool
    ) -> None:
        self._registry = registry
        self._addresses = addresses
        self._udp_port = udp_port
        self._authorized = authorized
        self._clients = Clients(registry.config.trusted_proxies)
        self._running = False
        self._not_before = 0.0

    async def get(self, request: web.Request) -> web.Response:
        if not (self._authorized or self._is_local(request)):
            raise Problem(
                403, "Only from this machine", "Ask from the server itself, or run rtcfwd doctor; "
                "with an --auth-… setting an administrator's token will do.",
            )  # fmt: skip
        wait = self._not_before - self._registry.clock()
        if self._running or wait > 0:
            after = {"Retry-After": str(max(1, round(wait + 0.5)))}
            raise Problem(429, "Just tested", "One self-test at a time, with a pause.", after)
        self._running = True
        try:
            found = await lines(self._registry, self._addresses, self._udp_port)
        finally:
            self._running = False
            self._not_before = self._registry.clock() + _APART_S
        return as_json(selftest.report(found))

    def _is_local(self, request: web.Request) -> bool:
        """A proxy on this machine makes everybody look local, unless it is a trusted one."""
        address = self._clients.of(request)
        hidden = not self._registry.config.trusted_proxies and (
            "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
        )
        return address is not None and address.is_loopback and not hidden
