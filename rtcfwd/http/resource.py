"""A resource: a URL pattern with a table of methods. Other methods get 405 with Allow (RFC 9110
section 15.5.6), OPTIONS always works, and HEAD is what GET answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from .problems import Problem

Method = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Resource:
    """``methods``: by name. ``options``: headers that OPTIONS adds, such as Accept-Post. ``head``:
    whether HEAD is what GET answers."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        options: Mapping[str, str] | None = None,
        *,
        head: bool = True,
    ) -> None:
        self._methods = dict(methods)
        if head and "GET" in self._methods:
            self._methods.setdefault("HEAD", self._methods["GET"])
        self._methods["OPTIONS"] = self._options
        self.allow = ", ".join(sorted(self._methods))
        self._option_headers = {"Allow": self.allow, **(options or {})}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        method = self._methods.get(request.method)
        if method is None:
            raise Problem(
                405, "Method not allowed", f"Use one of {self.allow}.", {"Allow": self.allow}
            )
        return await method(request)

    async def _options(self, request: web.Request) -> web.Response:
        # 200 also for a preflight (RFC 9725 section 4.2), and no Link (section 4.6).
        return web.Response(status=200, headers=self._option_headers)


async def no_content(request: web.Request) -> web.Response:
    """GET of an endpoint or a session: 2xx without content (RFC 9725 section 4.1)."""
    return web.Response(status=204)
