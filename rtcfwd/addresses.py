"""Which addresses answers list: this machine's own, filtered by interface and network, or those
that the operator announces (NAT 1:1, a port forward, a container).

Pure but for :func:`interfaces`, which asks the system. Link-local addresses are never listed: a
client would need the interface's name to reach them (RFC 8445 section 5.1.1.1).
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import ifaddr

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_CANDIDATES = 8
"""Addresses in an answer; clients check every pair."""


class NoAddress(Exception):
    """No address is left; one line that says what to change."""


class Interface(NamedTuple):
    """One address of one interface."""

    name: str
    address: Address


def interfaces() -> list[Interface]:
    """Every address of this machine."""
    return [
        Interface(
            adapter.name if isinstance(adapter.name, str) else adapter.name.decode(),
            ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0]),
        )
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    ]


def matches(found: Interface, selector: str) -> bool:
    """Whether ``selector`` means this address: a network or address (``10.0.0.0/8``), else the
    interface's name, in which ``*`` and ``?`` stand for anything (``docker*``)."""
    try:
        return found.address in ipaddress.ip_network(selector, strict=False)
    except ValueError:
        return fnmatch.fnmatchcase(found.name, selector)


def usable(
    found: Iterable[Interface], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[str]:
    """Those that a peer could reach: IPv4, then IPv6, loopback last; without link-local and
    unspecified ones, only what ``include`` means (empty: everything), nothing that ``exclude``
    means. Where nothing but loopback is there, that."""
    chosen = [
        item.address
        for item in found
        if not (item.address.is_link_local or item.address.is_unspecified)
        and (not include or any(matches(item, selector) for selector in include))
        and not any(matches(item, selector) for selector in exclude)
    ]
    order = sorted(dict.fromkeys(chosen), key=lambda a: (a.is_loopback, a.version))
    return [str(address) for address in order]


def for_answers(
    found: Sequence[Interface],
    host: str,
    announce: Sequence[str] = (),
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> list[str]:
    """The addresses for the answers, most reachable first: ``announce``, else what the sockets
    are bound to (``host``). On a wildcard, 127.0.0.1 stands last for clients on this machine, ::1
    only where there is nothing else. Raises :class:`NoAddress`."""
    if announce:
        return list(announce)
    if host not in ("::", "0.0.0.0"):
        return [host]
    able = [item for item in found if host == "::" or item.address.version == 4]
    chosen = usable(able, include, exclude)
    if not chosen:
        if not (include or exclude):
            return ["127.0.0.1"]
        known = ", ".join(f"{item.name} {item.address}" for item in found) or "none"
        raise NoAddress(
            "no address is left by --interfaces and --exclude-interfaces; "
            f"this machine has: {known}"
        )
    outside = [a for a in chosen if not ipaddress.ip_address(a).is_loopback]
    home = [a for a in chosen if a == "127.0.0.1"]
    return [*outside[: MAX_CANDIDATES - len(home)], *home] or chosen[:MAX_CANDIDATES]
