"""A JSON Web Key Set (RFC 7517) from a file or a URL, kept, and read anew when it may have changed.

    known kid      the kept set; when it is older than REFRESH_S it is read anew meanwhile
    unknown kid    one reading at once (the issuer may have rotated), at most one each PAUSE_S
    no answer      the kept set stays; without any, nobody can be judged (find gives None)

Only RSA keys for RS256 and P-256 keys for ES256 are taken; a symmetric key in a public set is not.
A set is at most MAX_BYTES and MAX_KEYS long; redirects are not followed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import jwt

logger = logging.getLogger(__name__)

REFRESH_S = 300.0
PAUSE_S = 10.0
TIMEOUT_S = 5.0
MAX_BYTES = 1 << 18
MAX_KEYS = 64


class KeySet:
    """``source``: a file's path, or an http(s) URL."""

    ALGORITHMS: ClassVar[tuple[str, ...]] = ("RS256", "ES256")

    def __init__(self, source: str, *, clock: Callable[[], float] | None = None) -> None:
        self._source = source
        self._is_url = source.startswith(("http://", "https://"))
        self._clock = clock
        self._keys: list[tuple[str, str | None, Any]] | None = None  # algorithm, kid, key
        self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The first reading. A file that is no good is a ValueError; a URL may come up later."""
        try:
            self._tried_at = self._now()
            self._keys = parse_keys(await self._fetch())
        except (ValueError, OSError, TimeoutError, aiohttp.ClientError) as error:
            if not self._is_url:
                raise ValueError(f"key set {self._source}: {_text(error)}") from None
            logger.warning("key set %s: %s; trying again", self._source, _text(error))

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def find(self, algorithm: str, kid: str | None) -> list[Any] | None:
        """The keys to try, none if the kid is unknown; None when no set could be read yet."""
        if self._now() - self._tried_at >= REFRESH_S:
            self._read()
        found = self._known(algorithm, kid)
        if found:
            return found
        if self._now() - self._tried_at >= PAUSE_S:
            self._read()
        if self._reading is not None:
            await asyncio.wait([self._reading])
        return self._known(algorithm, kid)

    def _known(self, algorithm: str, kid: str | None) -> list[Any] | None:
        if self._keys is None:
            return None
        return [k for a, name, k in self._keys if a == algorithm and kid in (None, name)]

    def _now(self) -> float:
        return (self._clock or asyncio.get_running_loop().time)()

    def _read(self) -> None:
        if self._reading is None:
            self._tried_at = self._now()
            self._reading = asyncio.create_task(self._renew())
            self._reading.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._reading = None

    async def _renew(self) -> None:
        try:
            self._keys = parse_keys(await self._fetch())
        except (ValueError, OSError, TimeoutError, aiohttp.ClientError) as error:
            logger.warning("key set %s: %s; the old one stays", self._source, _text(error))

    async def _fetch(self) -> bytes:
        if not self._is_url:
            return await asyncio.to_thread(_read_file, self._source)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(self._source, allow_redirects=False) as reply,
        ):
            if reply.status != 200:
                raise ValueError(f"the answer was {reply.status}")
            body = b""
            async for chunk in reply.content.iter_chunked(1 << 14):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError("it is too long")
            return body


def _read_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def parse_keys(body: bytes) -> list[tuple[str, str | None, Any]]:
    """(algorithm, kid, key) of each usable key. Raises ValueError when there is none."""
    if len(body) > MAX_BYTES:
        raise ValueError("it is too long")
    try:
        listed = json.loads(body)["keys"]
        entries = [entry for entry in listed[:MAX_KEYS] if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError('it is no JSON object with a list of "keys" (RFC 7517)') from None
    found: list[tuple[str, str | None, Any]] = []
    for entry in entries:
        if entry.get("use", "sig") != "sig" or entry.get("kty") not in ("RSA", "EC"):
            continue
        try:
            key = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        if key.algorithm_name in KeySet.ALGORITHMS:
            kid = entry.get("kid")
            found.append((key.algorithm_name, kid if isinstance(kid, str) else None, key.key))
    if not found:
        raise ValueError("it has no RSA or P-256 key for signatures")
    return found
