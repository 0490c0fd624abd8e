"""The answer to a WHIP offer (RFC 9725).

Given: an offer, our transport, the codec policy and the stream's formats. Promises: an answer
that keeps one codec and its rtx per m-section and all simulcast layers, ``recvonly``, and the
``Publication`` that tells the data plane the same. No section is ever rejected: what cannot be
taken fails the whole offer (section 4.4.3), before the stream's formats are touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rtcfwd.forwarder.api import Kind, Publication, PublishedFormat, PublishedTrack

from .errors import refused
from .formats import (
    CodecPolicy,
    MediaFormat,
    StreamFormats,
    find_rtx,
    offered_sets,
    publisher_choice,
)
from .model import LocalTransport, MediaSection, Offer, PayloadType
from .negotiate import (
    PUBLISHER_EXTENSIONS,
    RID,
    TRANSPORT_WIDE,
    VIDEO_ORIENTATION,
    ExtensionTable,
    codec_names,
    echoed,
    one_section_a_kind,
)
from .write import MAX_ANSWER, AnswerSection, Ids, answer_setup, write_answer

_FEEDBACK: Final = frozenset({"nack", "nack pli", "ccm fir", "goog-remb"})
_TRANSPORT_CC: Final = frozenset({"transport-cc"})
_MAX_SSRCS: Final = 4  # what the data plane's track holds
_MAX_LAYERS: Final = 4


@dataclass(frozen=True, slots=True)
class PublisherAnswer:
    """``sdp``: the body of the 201. ``setup``: ours, "passive" or "active" (then we send the
    ClientHello). ``chosen``: the index in the stream's formats, by kind."""

    sdp: bytes
    setup: str
    publication: Publication
    chosen: dict[Kind, int]


def negotiate_publisher(
    offer: Offer,
    *,
    local: LocalTransport,
    policy: CodecPolicy,
    formats: StreamFormats,
    ids: Ids,
    mux_only: bool = True,
) -> PublisherAnswer:
    """Answer a publisher. Raises SdpError 422; ``formats`` gains the chosen ones."""
    one_section_a_kind(offer)
    choices = {
        section.index: _choose(section, policy) for section in offer.media if section.offered
    }
    wanted = PUBLISHER_EXTENSIONS - ({VIDEO_ORIENTATION} if policy.turn_video else set())
    if any("transport-cc" in pt.feedback for pt, _ in choices.values()):
        wanted |= {TRANSPORT_WIDE}  # one transport: in every section, Chromium's G.711 has no fb
    extensions = ExtensionTable(wanted, sending=False, mixed=offer.allow_mixed)
    sections: list[AnswerSection] = []
    for section in offer.media:
        if section.index not in choices:
            sections.append(AnswerSection(section))
            continue
        pt, rtx = choices[section.index]
        kept = extensions.pick(section)
        numbered = any(extension.uri == TRANSPORT_WIDE for extension in kept)
        sections.append(
            AnswerSection(
                section,
                direction="recvonly",
                payload_types=(echoed(pt),),
                rtx={} if rtx is None else {pt.pt: rtx},
                feedback=_FEEDBACK | _TRANSPORT_CC if numbered else _FEEDBACK,
                extensions=kept,
                media_lines=_simulcast(_layers(section)),
            )
        )
    setup = answer_setup(offer.remote.setup)
    sdp = write_answer(
        offer, sections, local=local, setup=setup, session=ids.session, mux_only=mux_only
    )
    if len(sdp) > MAX_ANSWER:
        raise refused(f"The answer would be over {MAX_ANSWER} bytes; offer less.")
    tracks: list[PublishedTrack] = []
    chosen: dict[Kind, int] = {}
    for section in offer.media:
        if section.kind is None or section.index not in choices:
            continue
        pt, rtx = choices[section.index]
        index = formats.index(section.kind, MediaFormat.of(pt))
        for nal in offered_sets(pt.name, pt.parameters) if pt.name == "H264" else ():
            formats.set_sps(index, nal)  # a PPS changes nothing
        chosen[section.kind] = index
        tracks.append(_track(section, section.kind, pt, rtx, index))
    publication = Publication(
        tracks=tuple(tracks),
        extensions=dict(extensions.uri_of),
        local_ssrc=ids.local_ssrc,
        cname=ids.cname,
        # One transport; FFmpeg says so in its video section only, where NACKs go.
        reduced_size=any(section.rtcp_rsize for section in offer.media if section.offered),
    )
    return PublisherAnswer(sdp, setup, publication, chosen)


def _layers(section: MediaSection) -> tuple[str, ...]:
    """The simulcast layers that are received. They are told apart by their rid alone, so without
    its header extension there is one."""
    if section.kind != Kind.VIDEO or RID not in {e.uri for e in section.extensions}:
        return ()
    if len(section.rids) > _MAX_LAYERS:
        raise refused(f"{section.name} offers {len(section.rids)} layers; "
                      f"offer {_MAX_LAYERS} at most.")  # fmt: skip
    return section.rids


def _simulcast(rids: tuple[str, ...]) -> list[str]:
    """RFC 8853 section 5.3.2."""
    if not rids:
        return []
    return [*(f"a=rid:{rid} recv" for rid in rids), f"a=simulcast:recv {';'.join(rids)}"]


def _choose(section: MediaSection, policy: CodecPolicy) -> tuple[PayloadType, PayloadType | None]:
    if section.kind is None:
        raise refused(f"{section.name} is not served to publishers; leave it out of the offer.")
    if section.direction not in ("sendonly", "sendrecv"):
        raise refused(f"{section.name} is {section.direction}; a publisher must offer sendonly.")
    pt = publisher_choice(policy, section.kind, section.payload_types)
    if pt is None:
        served = policy.names(section.kind)
        if not served:
            raise refused(f"This stream takes no {section.media}; leave {section.name} out.")
        raise refused(
            f"{section.name} offers {codec_names(section.payload_types)}; "
            f"offer one of {', '.join(served)}."
        )
    return pt, find_rtx(section.payload_types, pt)


def _track(
    section: MediaSection, kind: Kind, pt: PayloadType, rtx: PayloadType | None, index: int
) -> PublishedTrack:
    fmt = MediaFormat.of(pt)
    ssrcs = section.ssrcs[:_MAX_SSRCS]
    return PublishedTrack(
        kind=kind,
        clock_rate=pt.clock_rate,
        mid=section.mid,
        formats=(PublishedFormat(pt.pt, fmt.number, index, rtx.pt if rtx else None),),
        ssrcs=tuple(main for main, _ in ssrcs),
        rtx_ssrcs=tuple(repair for _, repair in ssrcs),
        nack="nack" in pt.feedback,
        pli="nack pli" in pt.feedback,
        fir="ccm fir" in pt.feedback,
        remb="goog-remb" in pt.feedback,
        rids=_layers(section),
        parameter_sets=offered_sets(pt.name, pt.parameters),
    )
