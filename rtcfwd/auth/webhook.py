"""A webhook that decides: each question is a POST, and only a 2xx allows.

    POST URL   {"action": "publish", "stream": "demo", "token": "…" | null, "address": "192.0.2.7"}
    2xx        allowed
    401, 403   refused: UNKNOWN, FORBIDDEN
    all else   a failure (a redirect too): UNAVAILABLE, which refuses

It fails closed: no answer within ``timeout`` seconds is a refusal. At most ``parallel`` questions
are on their way and eight times as many wait, within the same time; the rest is refused at once.
Bodies of answers are not read.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from .model import Ask, Verdict

logger = logging.getLogger(__name__)

_WAITING = 8
_VERDICTS = {401: Verdict.UNKNOWN, 403: Verdict.FORBIDDEN}
_TELL_EACH_S = 60.0


class Webhook:
    """``url``: http or https. One connection pool, made by :meth:`start`."""

    def __init__(self, url: str, *, timeout: float, parallel: int) -> None:
        self._url = url
        self._timeout = timeout
        self._most = parallel * (1 + _WAITING)
        self._parallel = parallel
        self._asked = 0
        self._told_at = float("-inf")
        self._turn: asyncio.Semaphore
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._turn = asyncio.Semaphore(self._parallel)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._parallel),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def check(self, ask: Ask) -> Verdict:
        if self._http is None:
            return self._failed("the server stops")
        if self._asked >= self._most:
            return self._failed("too many questions at once")
        self._asked += 1
        try:
            async with asyncio.timeout(self._timeout), self._turn:
                return await self._ask(self._http, ask)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return self._failed(str(error) or type(error).__name__)
        finally:
            self._asked -= 1

    async def _ask(self, http: aiohttp.ClientSession, ask: Ask) -> Verdict:
        question = {
            "action": ask.action.value,
            "stream": ask.stream,
            "token": ask.token,
            "address": ask.address,
        }
        async with http.post(self._url, json=question, allow_redirects=False) as reply:
            if 200 <= reply.status < 300:
                return Verdict.ALLOWED
            if reply.status in _VERDICTS:
                return _VERDICTS[reply.status]
            return self._failed(f"it answered {reply.status}")

    def _failed(self, why: str) -> Verdict:
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= _TELL_EACH_S:
            self._told_at = now
            logger.error("the auth webhook does not decide, so requests are refused: %s", why)
        return Verdict.UNAVAILABLE
