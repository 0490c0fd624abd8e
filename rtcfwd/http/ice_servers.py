"""STUN and TURN servers for clients, as ``Link: <turn:…>; rel="ice-server"`` (RFC 9725, 4.6).

One header line a server, since clients split at commas, and the parameters in the order that they
expect: rel, username, credential, credential-type. A TURN server with a shared secret gets
credentials that end by themselves (coturn's ``use-auth-secret``, the "TURN REST API"):

    username = <Unix time of the end>:<random>      credential = base64(HMAC-SHA1(secret, username))
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Callable, Sequence

from aiohttp import web


def time_limited(secret: str, until: int, name: str) -> tuple[str, str]:
    """Username and credential that a TURN server with the same secret takes until that time."""
    username = f"{until}:{name}"
    digest = hmac.digest(secret.encode(), username.encode(), "sha1")
    return username, base64.b64encode(digest).decode()


class IceServers:
    """``ttl``: seconds that a credential is good for. ``fixed``: username and credential of TURN
    servers without a shared secret."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        secret: str = "",
        ttl: float = 3600.0,
        fixed: tuple[str, str] = ("", ""),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._urls = tuple(urls)
        self._secret = secret
        self._ttl = ttl
        self._fixed = fixed
        self._clock = clock

    def links(self) -> list[str]:
        """Values of Link, with new credentials."""
        username, credential = self._fixed
        if self._secret:
            until = int(self._clock() + self._ttl)
            username, credential = time_limited(self._secret, until, secrets.token_hex(4))
        found = []
        for url in self._urls:
            link = f'<{url}>; rel="ice-server"'
            if url.startswith("turn") and username:
                link += f'; username="{username}"; credential="{credential}"'
                link += '; credential-type="password"'
            found.append(link)
        return found

    def add(self, response: web.StreamResponse) -> None:
        """Append the Link lines to a reply."""
        for link in self.links():
            response.headers.add("Link", link)
