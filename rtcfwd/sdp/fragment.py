"""Trickle ICE fragments: bodies of ``application/trickle-ice-sdpfrag`` (RFC 8840 section 9,
RFC 9725 section 4.3).

Given: an untrusted body. Promises: a ``Fragment`` or SdpError 400, for any bytes. Credentials may
stand at session or at media level; of a pseudo m= line nothing but the a=mid below it counts;
candidates that we cannot use (TCP, ``.local``, other components) are left out silently, repeated
ones too; a ``ufrag`` extension of a candidate is not looked at (the RFC's own restart figure
carries the old one).
"""

from __future__ import annotations

from dataclasses import dataclass

import aioice

from . import lines
from .errors import malformed
from .model import LocalTransport
from .write import ICE_OPTIONS


@dataclass(frozen=True, slots=True)
class FragmentCandidate:
    """``mid``: of the section it stood in; empty at session level."""

    mid: str
    candidate: aioice.Candidate


@dataclass(frozen=True, slots=True)
class Fragment:
    """``ufrag`` and ``pwd``: None when the fragment has none. A restart is told by a ufrag that
    differs from the session's, and by nothing else."""

    ufrag: str | None
    pwd: str | None
    candidates: tuple[FragmentCandidate, ...]
    end_of_candidates: bool


def parse_fragment(body: bytes) -> Fragment:
    """Parse a PATCH body. Raises SdpError 400."""
    text = lines.split_lines(body)
    ufrag: str | None = None
    pwd: str | None = None
    mid = ""
    found: dict[tuple[str, str, int], FragmentCandidate] = {}
    ended = False
    known = False
    for line in text:
        if line[0] == "m":
            mid = ""
            known = True
            continue
        if line[0] != "a":
            continue  # v=, o= and the like: whole SDPs are sent by some
        name, _, value = line[2:].partition(":")
        value = value.strip()
        match name.strip().lower():
            case "ice-ufrag":
                known = True
                if not lines.is_ufrag(value):
                    raise malformed("a=ice-ufrag must have 4 to 256 characters without a colon.")
                ufrag = ufrag or value
            case "ice-pwd":
                known = True
                if not lines.is_pwd(value):
                    raise malformed("a=ice-pwd must have 22 to 256 characters without a colon.")
                pwd = pwd or value
            case "mid":
                if not lines.is_token(value):
                    raise malformed("a=mid must be a token.")
                mid = value
            case "candidate":
                known = True
                if not lines.is_candidate_syntax(value):
                    raise malformed("An a=candidate line does not follow RFC 8839 section 5.1.")
                candidate = lines.read_candidate(value)
                if candidate is not None and len(found) < lines.MAX_CANDIDATES:
                    key = (mid, candidate.host, candidate.port)
                    found.setdefault(key, FragmentCandidate(mid, candidate))
            case "end-of-candidates":
                known = ended = True
    if not known:
        raise malformed(
            "The fragment has neither ICE credentials nor candidates; "
            "send a=ice-ufrag, a=ice-pwd and the candidates."
        )
    return Fragment(ufrag, pwd, tuple(found.values()), ended)


def write_fragment(local: LocalTransport, mid: str, *, limit: int = 1) -> bytes:
    """The body that answers an ICE restart with 200 (RFC 9725 section 4.3.3): new credentials,
    the answer's ice-lite and ice-options, and at most ``limit`` candidates under ``mid``, the
    first accepted section's. One by default: a well-known client joins several by commas."""
    out = [
        "a=ice-lite",
        f"a=ice-options:{ICE_OPTIONS}",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.pwd}",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
    ]
    if mid:
        out.append(f"a=mid:{mid}")
    out += [f"a=candidate:{candidate.to_sdp()}" for candidate in local.candidates[:limit]]
    out.append("a=end-of-candidates")
    return ("\r\n".join(out) + "\r\n").encode()
