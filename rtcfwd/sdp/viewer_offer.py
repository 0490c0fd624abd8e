"""A WHEP counter-offer (draft-ietf-wish-whep, section 4.3.2): the server's own offer to a viewer.

Given: our transport, the stream's formats and which are live. Promises: one BUNDLE group with an
m-section for each live kind, video first, ``sendonly``, with the live format and, for H264, the
profile that every browser takes. The answer to it is read and settled like an offer: it names the
payload types and extension ids that the viewer takes, all of them from here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

from rtcfwd.forwarder.api import Kind

from .formats import MediaFormat, StreamFormats
from .model import LocalTransport
from .negotiate import VIEWER_EXTENSIONS
from .write import ICE_OPTIONS, Ids

_BASELINE: Final = {
    "level-asymmetry-allowed": "1",
    "packetization-mode": "1",
    "profile-level-id": "42e01f",
}
_STATIC: Final = {"PCMU": 0, "PCMA": 8}
_FIRST_DYNAMIC: Final = 96


def write_offer(
    local: LocalTransport, formats: StreamFormats, live: Mapping[Kind, int], ids: Ids
) -> bytes:
    """The offer's text, CRLF. ``live``: not empty."""
    kinds = [kind for kind in (Kind.VIDEO, Kind.AUDIO) if kind in live]
    mids = " ".join(str(mid) for mid in range(len(kinds)))
    out = [
        "v=0",
        f"o=- {ids.session} 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {mids}",
        "a=ice-lite",
        f"a=ice-options:{ICE_OPTIONS}",
        f"a=msid-semantic: WMS {ids.stream_id}",
    ]
    payload_type = _FIRST_DYNAMIC
    for mid, kind in enumerate(kinds):
        offered = _alternatives(formats[kind][live[kind]])
        codecs: list[str] = []
        numbers: list[int] = []
        for form in offered:
            number = _STATIC.get(form.codec, payload_type)
            numbers.append(number)
            codecs += _codec(kind, number, form)
            if number == payload_type:
                payload_type += 1
            if kind is Kind.VIDEO:
                numbers.append(payload_type)
                codecs += [
                    f"a=rtpmap:{payload_type} rtx/90000",
                    f"a=fmtp:{payload_type} apt={number}",
                ]
                payload_type += 1
        out += _section(kind, mid, numbers, local)
        out += codecs
        out += _media_lines(kind, ids)
    return ("\r\n".join(out) + "\r\n").encode()


def _alternatives(live: MediaFormat) -> list[MediaFormat]:
    """The live format first; for H264 also Constrained Baseline, which a decoder may announce
    alone and still take the stream."""
    found = [live]
    if live.codec == "H264":
        plain = MediaFormat("H264", live.clock_rate, 1, _BASELINE)
        if plain.configuration() != live.configuration():
            found.append(plain)
    return found


def _codec(kind: Kind, number: int, form: MediaFormat) -> list[str]:
    channels = f"/{form.channels}" if form.channels > 1 else ""
    name = "opus" if form.codec == "OPUS" else form.codec
    lines = [f"a=rtpmap:{number} {name}/{form.clock_rate}{channels}"]
    kept = {k: v for k, v in form.parameters.items() if not k.startswith("sprop-")}
    if kept:
        lines.append(f"a=fmtp:{number} " + ";".join(f"{k}={v}" for k, v in kept.items()))
    if kind is Kind.VIDEO:
        lines += [f"a=rtcp-fb:{number} {fb}" for fb in ("nack", "nack pli", "ccm fir")]
    return lines


def _section(kind: Kind, mid: int, numbers: list[int], local: LocalTransport) -> list[str]:
    port, address = 9, "0.0.0.0"
    if local.candidates:
        port, address = local.candidates[0].port, local.candidates[0].host
    family = ipaddress.ip_address(address).version
    extensions = enumerate(sorted(VIEWER_EXTENSIONS), 1)
    return [
        f"m={kind.name.lower()} {port} UDP/TLS/RTP/SAVPF {' '.join(map(str, numbers))}",
        f"c=IN IP{family} {address}",
        *(f"a=candidate:{candidate.to_sdp()}" for candidate in local.candidates),
        "a=end-of-candidates",
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.pwd}",
        f"a=fingerprint:{local.fingerprint[0]} {local.fingerprint[1]}",
        "a=setup:actpass",
        f"a=mid:{mid}",
        "a=sendonly",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        *(f"a=extmap:{number} {uri}" for number, uri in extensions),
    ]


def _media_lines(kind: Kind, ids: Ids) -> list[str]:
    msid = f"{ids.stream_id} {kind.name.lower()}"
    ssrcs = [ids.video_ssrc, ids.rtx_ssrc] if kind is Kind.VIDEO else [ids.audio_ssrc]
    lines = [f"a=msid:{msid}"]
    if len(ssrcs) > 1:
        lines.append(f"a=ssrc-group:FID {ssrcs[0]} {ssrcs[1]}")
    for ssrc in ssrcs:
        lines += [f"a=ssrc:{ssrc} cname:{ids.cname}", f"a=ssrc:{ssrc} msid:{msid}"]
    return lines
