"""Replies to what is no HTTP request: they too are ``application/problem+json`` with CORS headers,
without which ``fetch`` hides the status from a page whose request something on its way has spoilt.

aiohttp makes these replies itself, below the application and its signals; :class:`Runner` is its
runner with that one place changed.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from .headers import EVERYWHERE
from .problems import Problem


class _Protocol(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp's own reply but for a request that does not parse (RFC 9112 section 2.2)."""
        if not isinstance(exc, HttpProcessingError) or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        detail = "Send a request as RFC 9112 has it; its first line or a header cannot be read."
        response = Problem(status, "Unreadable request", detail, EVERYWHERE).response()
        response.force_close()
        return response


class Runner(web.AppRunner):
    """Give it what an AppRunner takes."""

    @property
    def server(self) -> Any:
        """What makes a protocol for each connection; None before setup."""
        made = super().server
        if made is None:
            return None

        def protocol() -> web.RequestHandler:
            handler = made()
            handler.__class__ = _Protocol  # the same slots
            return handler

        return protocol
