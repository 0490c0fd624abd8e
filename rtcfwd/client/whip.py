"""The HTTP half of a WHIP publisher or WHEP player (RFC 9725; draft-ietf-wish-whep).

One :class:`Session` is one POST of a complete offer (no trickle) and at most one DELETE. Refusals
become :class:`ClientError` with a sentence that a person can act on; the detail of the server's
``application/problem+json`` body (RFC 9457) is part of it.
"""

from __future__ import annotations

import asyncio
import json
import os
from types import TracebackType
from typing import Literal
from urllib.parse import urljoin, urlsplit

import aiohttp

SDP = "application/sdp"
TIMEOUT = 10.0  # seconds for one request; answers come at once, the server never waits for media
DELETE_TIMEOUT = 3.0
MAX_BODY = 65536  # bytes of an answer or a problem that are read
DEFAULT_RETRY = 2  # seconds, where a 409 or 503 names none

Action = Literal["publish", "play"]


class ClientError(Exception):
    """The job failed; the text says why and what to do. ``status`` is the HTTP status or None."""

    def __init__(self, text: str, *, status: int | None = None, retry_after: int | None = None):
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after  # seconds; set when trying again later makes sense


def check_url(url: str) -> str:
    """Return `url` if it is a usable http(s) URL, else raise ValueError that says what is wrong."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{url!r} is not an http:// or https:// URL")
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    parts.port  # noqa: B018 - raises ValueError on a bad port
    if parts.path in ("", "/"):
        raise ValueError(f"{url!r} names no stream; try {url.rstrip('/')}/whip/NAME or /whep/NAME")
    return url


class Session:
    """POST an offer, keep the session URL, DELETE it at the end.

    Use as an asynchronous context manager; leaving it deletes the session and never raises.
    """

    def __init__(self, url: str, action: Action, *, token: str | None = None) -> None:
        self.url = url
        self.action: Action = action
        self.location: str | None = None  # absolute; None before POST and after DELETE
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Session:
        self._http = aiohttp.ClientSession(
            headers=self._headers, timeout=aiohttp.ClientTimeout(total=TIMEOUT)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._http is not None
        try:
            await self.delete()
        finally:
            await self._http.close()

    async def post(self, offer: str) -> str:
        """Send the offer, return the answer (RFC 9725 4.2). Raises :class:`ClientError`."""
        try:
            return await self._post(self.url, offer)
        except aiohttp.ClientConnectorError as error:
            parts = urlsplit(self.url)
            number = error.os_error.errno
            reason = os.strerror(number) if number and number > 0 else str(error.os_error)
            raise ClientError(f"no server answers at {parts.netloc}: {reason.lower()}") from None
        except TimeoutError:
            raise ClientError(f"{self.url} did not answer within {TIMEOUT:g} s") from None
        except aiohttp.ClientError as error:
            raise ClientError(f"{self.url}: {error or type(error).__name__}") from None

    async def _post(self, url: str, offer: str, *, again: bool = False) -> str:
        assert self._http is not None
        async with self._http.post(
            url, data=offer.encode(), headers={"Content-Type": SDP, "Accept": SDP}
        ) as reply:
            if reply.status == 401 and reply.history and self._headers and not again:
                # A redirect to another origin loses the token on its way.
                return await self._post(str(reply.url), offer, again=True)
            body = (await reply.content.read(MAX_BODY)).decode("utf-8", "replace")
            if reply.status != 201:
                raise self._refusal(reply, body)
            location = reply.headers.get("Location")
            if location:
                self.location = urljoin(str(reply.url), location)
            if reply.content_type.lower() != SDP or not body.startswith("v=0"):
                raise ClientError(f"{self.url} answered with {reply.content_type}, not SDP")
            if not location:
                raise ClientError(f"{self.url} answered without a Location header")
            return body

    async def delete(self) -> None:
        """End the session on the server. Idempotent, quiet: a server that is gone needs none."""
        if self._http is None or self.location is None:
            return
        location, self.location = self.location, None
        try:
            async with asyncio.timeout(DELETE_TIMEOUT), self._http.delete(location):
                pass
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass

    def _refusal(self, reply: aiohttp.ClientResponse, body: str) -> ClientError:
        detail = problem_detail(reply.content_type, body)
        status = reply.status
        name = urlsplit(self.url).path.rsplit("/", 1)[-1]
        retry: int | None = None
        if status in (409, 503):
            given = reply.headers.get("Retry-After", "")
            retry = int(given) if given.isdecimal() else DEFAULT_RETRY
        if status == 409 and self.action == "play":
            text = f"nobody is publishing {name!r} now"
        elif status == 409:
            text = f"somebody publishes {name!r} already"
        elif status == 404:
            text = f"there is no WHIP/WHEP endpoint at {self.url}"
        elif status in (401, 403):
            text = f"{self.url} wants a token that it knows; give it with --token"
        elif status in (400, 415, 422):
            text = "the server does not accept this offer"
        else:
            text = f"the server answered {status} {reply.reason}"
        return ClientError(
            f"{text} ({status})" + (f": {detail}" if detail else ""),
            status=status,
            retry_after=retry,
        )


def problem_detail(content_type: str, body: str) -> str:
    """What a problem+json body says, its detail before its title; "" for any other body."""
    if not content_type.endswith("json"):
        return ""
    try:
        problem = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(problem, dict):
        return ""
    return str(problem.get("detail") or problem.get("title") or "")
