"""Parsers of the settings that say who may do what, and where clients are sent: tokens, redirects,
STUN and TURN servers, proxies. Pure; each raises ValueError that says what is wanted."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_STREAM = re.compile(r"[A-Za-z0-9._~*?-]{1,128}")
MIN_TOKEN = 16
"""Characters. Shorter ones can be guessed at the rate that a polite limit allows."""


def _triples(value: object, actions: tuple[str, ...], wanted: str) -> list[tuple[str, str, str]]:
    items = value.split() if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise ValueError(wanted)
    found = []
    for item in items:
        for text in str(item).split():
            action, _, rest = text.partition(":")
            stream, _, last = rest.partition(":")
            if action not in actions or not _STREAM.fullmatch(stream) or not last:
                raise ValueError(wanted)
            found.append((action, stream, last))
    return found


def token_rules(value: object) -> tuple[tuple[str, str, str], ...]:
    """``ACTION:STREAM:TOKEN`` each: (action, stream pattern, token)."""
    wanted = (
        "wants ACTION:STREAM:TOKEN with publish, view, admin or * as action, a stream's name (* and"
        f" ? stand for others), and a token of at least {MIN_TOKEN} characters without spaces"
    )
    found = _triples(value, ("publish", "view", "admin", "*"), wanted)
    if any(len(token) < MIN_TOKEN for _, _, token in found):
        raise ValueError(wanted)
    return tuple(found)


def redirect_rules(value: object) -> tuple[tuple[str, str, str], ...]:
    """``ACTION:STREAM:URL`` each: (action, stream pattern, base URL without a last slash)."""
    wanted = (
        "wants ACTION:STREAM:URL with publish, view or * as action, a stream's name (* and ? stand"
        " for others), and the http(s) URL of the other server"
    )
    found = _triples(value, ("publish", "view", "*"), wanted)
    try:
        return tuple((action, stream, base_url(url)) for action, stream, url in found)
    except ValueError:
        raise ValueError(wanted) from None


CODECS = ("H264", "VP8", "VP9", "AV1", "H265", "PCMA", "PCMU", "OPUS")


def codecs(value: object) -> tuple[str, ...]:
    """Names of codecs in order of preference, upper-case; empty for the default."""
    wanted = f"wants codecs in order of preference, of {', '.join(CODECS)}; each once"
    found = tuple(name.upper() for name in _words(value, wanted))
    if len(set(found)) != len(found) or not set(found) <= set(CODECS):
        raise ValueError(wanted)
    return found


def stream_codecs(value: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """``STREAM:CODEC,CODEC,…`` each: (stream pattern, codecs). The first that fits counts."""
    wanted = (
        "wants STREAM:CODEC,CODEC,... with a stream's name (* and ? stand for others) and codecs in"
        f" order of preference, of {', '.join(CODECS)}"
    )
    items = value.split() if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise ValueError(wanted)
    found = []
    for text in (part for item in items for part in str(item).split()):
        stream, _, names = text.partition(":")
        try:
            listed = codecs(names)
        except ValueError:
            raise ValueError(wanted) from None
        if not _STREAM.fullmatch(stream) or not listed:
            raise ValueError(wanted)
        found.append((stream, listed))
    return tuple(found)


def base_url(value: object) -> str:
    """The URL of a server, without a last slash; empty for none."""
    wanted = "wants a server's URL, such as https://other.example.com"
    if not isinstance(value, str):
        raise ValueError(wanted)
    if not value:
        return ""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(wanted)
    return value.rstrip("/")


# RFC 7064 and 7065; a host's name or address, IPv6 in brackets.
_ICE_SERVER = re.compile(
    r"(stun:[A-Za-z0-9.:\[\]-]+|turns?:[A-Za-z0-9.:\[\]-]+(\?transport=(udp|tcp))?)"
)


def ice_servers(value: object) -> tuple[str, ...]:
    """URLs of STUN and TURN servers for clients."""
    wanted = "wants stun:HOST[:PORT] or turn:HOST[:PORT][?transport=udp|tcp], at most 8"
    found = _words(value, wanted)
    if len(found) > 8 or any(not _ICE_SERVER.fullmatch(url) for url in found):
        raise ValueError(wanted)
    return found


def networks(value: object) -> tuple[str, ...]:
    """IP addresses and networks."""
    wanted = "wants IP addresses or networks, such as 127.0.0.1 or 10.0.0.0/8"
    try:
        return tuple(str(ipaddress.ip_network(part)) for part in _words(value, wanted))
    except ValueError:
        raise ValueError(wanted) from None


def _words(value: object, wanted: str) -> tuple[str, ...]:
    """A list, or text parted by commas or spaces."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise ValueError(wanted)
    return tuple(part for item in items for part in str(item).replace(",", " ").split())


def http_url(value: object) -> str:
    """An http(s) URL, or empty for none."""
    wanted = "wants an http:// or https:// URL"
    if not isinstance(value, str):
        raise ValueError(wanted)
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError(wanted)
    return value


def text(value: object) -> str:
    """Any text without control characters."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("wants a text on one line")
    return value


def link_word(value: object) -> str:
    """Text that may stand between quotes in a Link header, and that all clients read there."""
    if not isinstance(value, str) or not re.fullmatch(r"[!#-+\--:<-\[\]-~]*", value):
        raise ValueError("wants printable ASCII without spaces, quotes, commas and semicolons")
    return value


def jwt_secret(value: object) -> str:
    """RFC 7518 section 3.2: a key of HS256 has at least 256 bits."""
    if not isinstance(value, str) or (value and len(value.encode()) < 32):
        raise ValueError("wants at least 32 bytes, such as `openssl rand -hex 32` gives")
    return value


def flag(value: object) -> bool:
    """On or off."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word in ("yes", "true", "on", "1"):
        return True
    if word in ("no", "false", "off", "0"):
        return False
    raise ValueError("wants yes or no")
