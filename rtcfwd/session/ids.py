"""Names of things: session ids, entity tags, CNAMEs, and SSRCs that do not collide.

A session id is the capability that its URL rests on (RFC 9725 section 5): 128 bits of a CSPRNG in
hex, so it never holds the letters ``http`` that some clients take for an absolute URL.
"""

from __future__ import annotations

import re
import secrets

STREAM_NAME = re.compile(r"[A-Za-z0-9._~-]{1,128}")


def is_stream_name(name: str) -> bool:
    """1 to 128 of RFC 3986's unreserved characters; ``.`` and ``..`` are path steps, not names."""
    return STREAM_NAME.fullmatch(name) is not None and name not in (".", "..")


def new_session_id() -> str:
    """32 hex digits."""
    return secrets.token_hex(16)


def new_etag() -> str:
    """A strong entity tag with its quotes (RFC 9110 section 8.8.3), one per ICE session."""
    return f'"{secrets.token_hex(8)}"'


def new_cname() -> str:
    """16 characters, of no meaning (RFC 7022)."""
    return secrets.token_hex(8)


def new_origin() -> str:
    """The session id of an ``o=`` line: up to 62 bits, decimal (RFC 8829 section 5.2.1)."""
    return str(secrets.randbits(62))


class Ssrcs:
    """SSRCs that this process uses; none is given twice at a time, none is 0."""

    def __init__(self) -> None:
        self._used: set[int] = set()

    def __len__(self) -> int:
        return len(self._used)

    def allocate(self, count: int) -> list[int]:
        """``count`` SSRCs; give them back by :meth:`release`."""
        found: list[int] = []
        while len(found) < count:
            ssrc = secrets.randbits(32)
            if ssrc and ssrc not in self._used:
                self._used.add(ssrc)
                found.append(ssrc)
        return found

    def release(self, ssrcs: list[int]) -> None:
        self._used.difference_update(ssrcs)
