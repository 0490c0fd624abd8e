"""What both kinds of answer share: header extensions, fmtp to echo, the limits of an offer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from rtcfwd.forwarder.api import Kind

from .errors import refused
from .model import HeaderExtension, MediaSection, Offer, PayloadType

_SDES = "urn:ietf:params:rtp-hdrext:sdes:"
_EXPERIMENT = "http://www.webrtc.org/experiments/rtp-hdrext/"

MID: Final = _SDES + "mid"
RID: Final = _SDES + "rtp-stream-id"
PLAYOUT_DELAY: Final = _EXPERIMENT + "playout-delay"

FORWARDED: Final = frozenset({
    MID,
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    PLAYOUT_DELAY,
    _EXPERIMENT + "abs-capture-time",
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    _EXPERIMENT + "video-content-type",
    _EXPERIMENT + "video-timing",
    _EXPERIMENT + "color-space",
})  # fmt: skip
"""Extensions that mean the same to the viewer as to the publisher (MID is rewritten).

Hop by hop, and so never answered: abs-send-time, toffset; and to viewers transport-wide numbers."""

VIDEO_ORIENTATION: Final = "urn:3gpp:video-orientation"

PUBLISHER_EXTENSIONS: Final = FORWARDED | {
    VIDEO_ORIENTATION,
    RID,
    _SDES + "repaired-rtp-stream-id",
}
"""RID and RRID tell simulcast layers apart and end here."""

TRANSPORT_WIDE: Final = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
"""Numbers for congestion control over the whole of a publisher's transport, answered where the
feedback on them, "transport-cc", is offered too. They end here."""

VIEWER_EXTENSIONS: Final = FORWARDED | {VIDEO_ORIENTATION}

_ANSWER_DIRECTION = {"": "", "sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly"}


class ExtensionTable:
    """Picks the header extensions of an answer, section by section, so that over the one
    transport an id has one URI and a URI one id (RFC 9143 section 9.1). ``mixed``: the offer has
    extmap-allow-mixed; without it only ids of the one-byte form, 1 to 14, are taken (RFC 8285)."""

    def __init__(self, wanted: frozenset[str], *, sending: bool, mixed: bool = False) -> None:
        self._mixed = mixed
        self._wanted = wanted
        self._useless = "sendonly" if sending else "recvonly"
        self.uri_of: dict[int, str] = {}
        self.id_of: dict[str, int] = {}

    def pick(self, section: MediaSection) -> list[HeaderExtension]:
        """The answer's extmap lines, with the offer's ids and mirrored directions."""
        kept: dict[str, HeaderExtension] = {}
        for offered in section.extensions:
            direction = _ANSWER_DIRECTION.get(offered.direction)
            if offered.uri not in self._wanted or offered.uri in kept:
                continue
            if direction is None or offered.direction == self._useless:
                continue
            if offered.id > 14 and not (self._mixed or section.allow_mixed):
                continue
            if self.uri_of.get(offered.id, offered.uri) != offered.uri:
                continue
            if self.id_of.get(offered.uri, offered.id) != offered.id:
                continue
            self.uri_of[offered.id] = offered.uri
            self.id_of[offered.uri] = offered.id
            kept[offered.uri] = replace(offered, direction=direction)
        return list(kept.values())


def echoed(pt: PayloadType) -> PayloadType:
    """``pt`` with its fmtp as an answer says it: without ``sprop-…``, which describe what the
    offerer sends; ``sprop-stereo=1`` becomes the wish for stereo (RFC 7587 section 7.1)."""
    parts = [part.strip() for part in pt.fmtp.split(";")]
    kept = [part for part in parts if part and not part.lower().startswith("sprop-")]
    if pt.parameters.get("sprop-stereo") == "1" and "stereo" not in pt.parameters:
        kept.append("stereo=1")
    return replace(pt, fmtp=";".join(kept))


def one_section_a_kind(offer: Offer) -> None:
    """RFC 9725 section 4.4.2: at most one audio and one video track, of one MediaStream."""
    seen: set[Kind] = set()
    streams: list[frozenset[str]] = []
    for section in offer.media:
        if section.kind is None or not section.offered:
            continue
        if section.kind in seen:
            raise refused(f"Offer one {section.media} m-line; this offer has several.")
        seen.add(section.kind)
        if section.stream_ids:
            streams.append(section.stream_ids)
    if not seen:
        raise refused("Offer an audio or a video m-line over UDP/TLS/RTP/SAVPF.")
    if streams and not frozenset.intersection(*streams):
        raise refused("Put audio and video into one MediaStream; the msid lines name several.")


def codec_names(payload_types: Iterable[PayloadType]) -> str:
    """For error texts: the codecs once each, without the helpers."""
    names = dict.fromkeys(pt.name for pt in payload_types if pt.name not in AUXILIARY)
    return ", ".join(list(names)[:8]) or "none"


AUXILIARY: Final = frozenset({"RTX", "RED", "ULPFEC", "FLEXFEC", "FLEXFEC-03", "CN",
                              "TELEPHONE-EVENT"})  # fmt: skip
"""Payload formats that are no codec by themselves."""
