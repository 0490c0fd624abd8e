"""Writing of answers (RFC 8829 section 5.3, RFC 9725 section 4.4).

Given: what was settled, section by section. Promises: CRLF, mids in the offer's order, one
BUNDLE group over the accepted sections, ICE-lite above the first m= line (RFC 8839 section 5.3),
all candidates and the ICE and DTLS attributes in every accepted section (some clients read the
candidates of the first one only, aiortc those of the last).
Everything echoed has been through ``lines.split_lines`` and so holds no line break.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .model import HeaderExtension, LocalTransport, MediaSection, Offer, PayloadType

MAX_ANSWER: Final = 8192
"""Bytes; FFmpeg reads no more."""

ICE_OPTIONS: Final = "trickle ice2"
"""The same in the answer and in the fragment that answers an ICE restart."""


@dataclass(frozen=True, slots=True)
class Ids:
    """The identifiers of one session.

    ``session``: of the o= line (decimal, else a number is derived from it); ``stream_id``: of
    msid, never "-"; ``cname``: at most 31 characters. SSRCs: those we send from; ``local_ssrc``
    is the sender of RTCP towards a publisher.
    """

    session: str
    stream_id: str
    cname: str
    audio_ssrc: int
    video_ssrc: int
    rtx_ssrc: int
    local_ssrc: int


@dataclass(slots=True)
class AnswerSection:
    """One m-section of an answer; without ``payload_types`` it is rejected.

    ``feedback``: rtcp-fb values kept, of each payload type's own. ``media_lines``: msid and ssrc
    lines of what we send. ``rtx``: by the payload type that it repairs.
    """

    offer: MediaSection
    direction: str = "inactive"
    payload_types: Sequence[PayloadType] = ()
    rtx: dict[int, PayloadType] | None = None
    feedback: frozenset[str] = frozenset()
    extensions: Sequence[HeaderExtension] = ()
    media_lines: Sequence[str] = ()


def write_answer(
    offer: Offer,
    sections: Sequence[AnswerSection],
    *,
    local: LocalTransport,
    setup: str,
    session: str,
    stream_id: str | None = None,
    mux_only: bool = True,
) -> bytes:
    """The answer's text. ``stream_id``: named in msid-semantic when we send. ``mux_only``:
    rtcp-mux-only, which RFC 9725 demands and RFC 8858 forbids in answers."""
    accepted = [section for section in sections if section.payload_types]
    out = [
        "v=0",
        f"o=- {_session_number(session)} 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
    ]
    bundled = {section.offer.mid for section in accepted}
    group = [mid for mid in offer.bundle if mid in bundled]
    if group:
        out.append("a=group:BUNDLE " + " ".join(group))
    out += ["a=ice-lite", f"a=ice-options:{ICE_OPTIONS}"]
    if offer.allow_mixed:
        out.append("a=extmap-allow-mixed")
    if stream_id is not None:
        out.append(f"a=msid-semantic: WMS {stream_id}")
    for section in sections:
        if section.payload_types:
            out += _accepted(section, local, setup, mux_only)
        else:
            out += _rejected(section.offer)
    return ("\r\n".join(out) + "\r\n").encode()


def answer_setup(offered: str) -> str:
    """Our DTLS role: the client's choice is ours to complement; given a choice we are the server
    (RFC 8842 section 5.3, RFC 9725 section 4.4.4)."""
    return "active" if offered == "passive" else "passive"


def _session_number(session: str) -> int:
    if session.isascii() and session.isdigit() and len(session) <= 18:
        return int(session)
    digest = hashlib.blake2b(session.encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 2  # RFC 8829 section 5.2.1: fits a signed 64-bit number


def _accepted(
    section: AnswerSection, local: LocalTransport, setup: str, mux_only: bool
) -> list[str]:
    offer = section.offer
    order: list[PayloadType] = []
    for pt in section.payload_types:
        order.append(pt)
        rtx = (section.rtx or {}).get(pt.pt)
        if rtx is not None:
            order.append(rtx)
    port, address = 9, "0.0.0.0"
    if local.candidates:
        port, address = local.candidates[0].port, local.candidates[0].host
    family = ipaddress.ip_address(address).version
    out = [
        f"m={offer.media} {port} {offer.proto} " + " ".join(str(pt.pt) for pt in order),
        f"c=IN IP{family} {address}",
    ]
    out += [f"a=candidate:{candidate.to_sdp()}" for candidate in local.candidates]
    out += [
        "a=end-of-candidates",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.pwd}",
        f"a=fingerprint:{local.fingerprint[0]} {local.fingerprint[1]}",
        f"a=setup:{setup}",
    ]
    if offer.mid:
        out.append(f"a=mid:{offer.mid}")
    out.append(f"a={section.direction}")
    out.append("a=rtcp-mux")
    if mux_only:
        out.append("a=rtcp-mux-only")
    if offer.rtcp_rsize:
        out.append("a=rtcp-rsize")
    if offer.allow_mixed:
        out.append("a=extmap-allow-mixed")
    for extension in section.extensions:
        direction = f"/{extension.direction}" if extension.direction else ""
        out.append(f"a=extmap:{extension.id}{direction} {extension.uri}")
    for pt in order:
        out.append(f"a=rtpmap:{pt.pt} {pt.rtpmap}")
        if pt.fmtp:
            out.append(f"a=fmtp:{pt.pt} {pt.fmtp}")
        if pt.name != "RTX":
            out += [f"a=rtcp-fb:{pt.pt} {fb}" for fb in pt.feedback if fb in section.feedback]
    out += section.media_lines
    return out


def _rejected(offer: MediaSection) -> list[str]:
    out = [
        f"m={offer.media} 0 {offer.proto} " + " ".join(offer.formats),
        "c=IN IP4 0.0.0.0",
    ]
    if offer.mid:
        out.append(f"a=mid:{offer.mid}")
    if offer.kind is not None:
        out.append("a=inactive")
    return out
