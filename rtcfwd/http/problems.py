"""Errors as ``application/problem+json`` (RFC 9457), and the middleware that makes all of them so.

``detail`` says what to change; the member ``error`` repeats it for a client that reads only that.
What nobody foresaw becomes a logged 503 without any inner detail, never a 500 or a traceback.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware

from rtcfwd.sdp import SdpError
from rtcfwd.session.registry import Refused

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(Exception):
    """A reply with a status of 400 or more."""

    def __init__(
        self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        body = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "error": self.detail,
        }
        return web.Response(
            status=self.status,
            body=json.dumps(body).encode(),
            headers={**self.headers, "Content-Type": "application/problem+json"},
        )


_TITLES = {
    404: ("Not found", "There is nothing here; see / for the page and its URLs."),
    413: ("Body too large", "Send at most the server's max_body bytes (64 KiB by default)."),
    417: ("Expectation failed", "Only Expect: 100-continue is understood."),
}


def problem_of(error: Exception) -> Problem | None:
    """The problem that an expected exception stands for; None for an unexpected one."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, SdpError):
        return Problem(error.status, error.title, error.detail)
    if isinstance(error, Refused):
        headers = {"Retry-After": str(error.retry_after)}
        return Problem(error.status, error.title, error.detail, headers)
    if isinstance(error, web.RequestPayloadError):
        return Problem(400, "Unreadable body", "The body does not decode as its headers say.")
    if isinstance(error, web.HTTPException) and 400 <= error.status < 500:
        title, detail = _TITLES.get(error.status, (error.reason, error.reason))
        return Problem(error.status, title, detail)
    return None


async def _read(request: web.Request, seconds: float) -> None:
    """Read the whole body, which handlers then have at once. Raises :class:`Problem`."""
    try:
        async with asyncio.timeout(seconds):
            await request.read()
    except TimeoutError:
        raise Problem(
            408, "Body too slow", f"Send the whole body within {seconds:g} s.",
            {"Connection": "close"},
        ) from None  # fmt: skip


def middleware(failed: Callable[[BaseException], None], body_timeout: float = 15.0) -> Middleware:
    """``failed`` is told of what was not foreseen (and logs it). A body that takes longer than
    ``body_timeout`` seconds gets 408, and its connection ends."""

    @web.middleware
    async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise Problem(
                    415, "Encoded body", "Send the body without Content-Encoding.",
                    {"Accept-Encoding": "identity"},
                )  # fmt: skip
            if request.can_read_body:
                await _read(request, body_timeout)
            return await handler(request)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                failed(error)
                problem = Problem(
                    503, "Out of order", "The server failed at this request; try again.",
                    {"Retry-After": "1"},
                )  # fmt: skip
            if problem.status >= 400:
                logger.debug("%s %s: %s", request.method, request.path, problem)
            return problem.response()

    return problems
