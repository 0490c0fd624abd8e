"""Where another device finds the page: ``GET /link?watch=NAME``, and the lines that the server
prints at its start.

``{"url": …, "image": …}``: the page's URL as a phone on the same network has to write it, and its
QR code as a ``data:`` URI. Who opened the page as localhost gets one of this machine's other
addresses; ``url`` is null when it listens on none. ``image`` is null as well when codes are asked
for faster than is needed: each costs the event loop about 2 ms.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence
from typing import TextIO
from urllib.parse import quote

import segno
from aiohttp import web

from rtcfwd.session.ids import is_stream_name

from .addresses import Clients
from .api import as_json
from .limits import Buckets
from .problems import Problem

_CODES_A_SECOND, _CODES_AT_ONCE = 5, 20


def is_loopback(host: str) -> bool:
    """``host``: a name or an address, IPv6 in brackets or not."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def outside(bound: str, addresses: Sequence[str]) -> list[str]:
    """The addresses, as URLs write them, at which other devices reach a server that is bound to
    ``bound``."""
    if is_loopback(bound):
        return []
    return [f"[{a}]" if ":" in a else a for a in addresses if not is_loopback(a)]


def _code(url: str) -> segno.QRCode:
    return segno.make(url, error="m", mask=4, micro=False)  # the mask given: a third of the time


def print_code(url: str, out: TextIO) -> None:
    """The QR code, for a terminal."""
    _code(url).terminal(out, border=2, compact=True)


class PhoneLink:
    """The handler. ``bound``: where the server listens; ``addresses``: those it announces."""

    def __init__(self, clients: Clients, bound: str, addresses: Sequence[str]) -> None:
        self._clients = clients
        self._outside = outside(bound, addresses)
        self._codes = Buckets(_CODES_A_SECOND, _CODES_AT_ONCE)

    async def get(self, request: web.Request) -> web.Response:
        name = request.query.get("watch", "")
        if not is_stream_name(name):
            raise Problem(400, "No stream named", "Ask with ?watch=NAME of the stream.")
        url = self._url(request, name)
        image = None
        if url is not None and self._codes.take(b"", time.monotonic()) == 0.0:
            image = _code(url).svg_data_uri(scale=4, border=2, dark="#000", light="#fff")
        return as_json({"url": url, "image": image})

    def _url(self, request: web.Request, name: str) -> str | None:
        origin = self._clients.origin(request)
        scheme, _, host = origin.partition("://")
        port = request.url.explicit_port
        if not origin or is_loopback(request.url.host or ""):
            if not self._outside:
                return None
            host = self._outside[0] + (f":{port}" if port else "")
            scheme = scheme or request.scheme
        return f"{scheme}://{host}/?watch={quote(name)}"
