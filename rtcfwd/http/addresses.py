"""Whose request this is: the client's address, also behind proxies that are trusted to tell it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from aiohttp import web

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse(text: str) -> Address | None:
    """An address without its zone; an IPv4 one also where it comes as ``::ffff:…``."""
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


class Clients:
    """``proxies``: networks whose X-Forwarded-For is believed, its last foreign entry that is."""

    def __init__(self, proxies: Sequence[str] = ()) -> None:
        self._proxies: tuple[Network, ...] = tuple(ipaddress.ip_network(p) for p in proxies)

    def of(self, request: web.Request) -> Address | None:
        """None where there is none (a Unix socket)."""
        address = parse(request.remote or "")
        if not self._proxies or address is None or not self._trusted(address):
            return address
        told = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")[-16:]
        for text in reversed(told):
            before = parse(text)
            if before is None:
                break
            address = before
            if not self._trusted(address):
                break
        return address

    def origin(self, request: web.Request) -> str:
        """``https://HOST`` as the client wrote it; empty if it did not write it properly."""
        if not _HOST.fullmatch(request.host):
            return ""
        scheme, address = request.scheme, parse(request.remote or "")
        told = request.headers.get("X-Forwarded-Proto", "")
        if told in ("http", "https") and address is not None and self._trusted(address):
            scheme = told
        return f"{scheme}://{request.host}"

    def _trusted(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


def key_of(address: Address) -> bytes:
    """What is counted as one client: an IPv4 address, or an IPv6 network of 64 bits, as one
    subscriber has at least that many."""
    return address.packed[:8] if address.version == 6 else address.packed
