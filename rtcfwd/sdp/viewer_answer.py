"""The answer to a WHEP offer.

Given: an offer, our transport, the codec policy, the stream's formats and which are live.
Promises: an answer that keeps every allowed payload type the viewer offered, with its rtx, the
live codec's first; always ``sendonly`` with SSRC and msid, also for a track that is absent, so
that late tracks, codec changes and players that wait for two tracks need no new negotiation.
Data channels and the like are rejected and leave the BUNDLE group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rtcfwd.forwarder.api import Kind, Subscription, ViewedTrack

from .errors import refused
from .formats import CodecPolicy, StreamFormats, find_rtx, is_derived
from .model import LocalTransport, MediaSection, Offer, PayloadType
from .negotiate import (
    AUXILIARY,
    PLAYOUT_DELAY,
    VIEWER_EXTENSIONS,
    ExtensionTable,
    codec_names,
    echoed,
    one_section_a_kind,
)
from .write import MAX_ANSWER, AnswerSection, Ids, answer_setup, write_answer

_FEEDBACK: Final = frozenset({"nack", "nack pli", "ccm fir", "rrtr"})


@dataclass(frozen=True, slots=True)
class ViewerAnswer:
    """``sdp``: the body of the 201. ``setup``: ours. ``answered``: per kind the payload types in
    the answer with the rtx of each."""

    sdp: bytes
    setup: str
    subscription: Subscription
    answered: dict[Kind, tuple[tuple[PayloadType, int | None], ...]]

    def payload_types(
        self, formats: StreamFormats
    ) -> dict[Kind, dict[int, tuple[int, int | None]]]:
        """Per kind: format index -> (payload type, its rtx or None), for the formats that this
        viewer takes. To be asked again when the stream has a new format or SPS."""
        return {kind: _matches(kind, formats, pts) for kind, pts in self.answered.items()}

    def is_derived(self, formats: StreamFormats, kind: Kind, index: int) -> bool:
        """Whether this viewer gets a format's samples in the other law of G.711."""
        pt = formats.match(kind, index, [pt for pt, _ in self.answered[kind]])
        return pt is not None and is_derived(formats[kind][index], pt)


def negotiate_viewer(
    offer: Offer,
    *,
    local: LocalTransport,
    policy: CodecPolicy,
    formats: StreamFormats,
    live: Mapping[Kind, int],
    ids: Ids,
    mux_only: bool = True,
    playout: tuple[int, int] | None = None,
) -> ViewerAnswer:
    """Answer a viewer. ``live``: the format index of each kind that is published now; empty when
    nothing is (wait mode). ``playout``: least and most delay to tell, ms; None: as suits. Raises
    SdpError 422 when nothing live could be shown."""
    one_section_a_kind(offer)
    served: dict[int, list[PayloadType]] = {}
    for section in offer.media:
        if section.kind is not None and section.offered:
            if section.direction not in ("recvonly", "sendrecv"):
                raise refused(
                    f"{section.name} is {section.direction}; a viewer must offer recvonly."
                )
            allowed = policy.allowed(section.kind, section.payload_types)
            served[section.index] = _live_first(section.kind, formats, live, allowed)
    _check_servable(offer, policy, formats, live, served)
    extensions = ExtensionTable(VIEWER_EXTENSIONS, sending=True, mixed=offer.allow_mixed)
    sections = [_section(section, served, extensions, ids) for section in offer.media]
    setup = answer_setup(offer.remote.setup)
    sdp = b""
    while True:
        sdp = write_answer(
            offer, sections, local=local, setup=setup, session=ids.session,
            stream_id=ids.stream_id, mux_only=mux_only,
        )  # fmt: skip
        if len(sdp) <= MAX_ANSWER:
            break
        longest = max(sections, key=lambda section: len(section.payload_types))
        if len(longest.payload_types) < 2:
            raise refused(f"The answer would be over {MAX_ANSWER} bytes; offer less.")
        longest.payload_types = longest.payload_types[: len(longest.payload_types) * 3 // 4]
    answered = {
        section.offer.kind: tuple(
            (pt, section.rtx[pt.pt].pt if section.rtx and pt.pt in section.rtx else None)
            for pt in section.payload_types
        )
        for section in sections
        if section.offer.kind is not None and served.get(section.offer.index)
    }
    subscription = Subscription(
        tracks=tuple(
            _track(section.offer, section.offer.kind, answered[section.offer.kind], formats, ids)
            for section in sections
            if section.offer.kind in answered
        ),
        extensions=dict(extensions.id_of),
        cname=ids.cname,
        start_playout_delay=PLAYOUT_DELAY in extensions.id_of,
        playout=playout,
        mixed=all(s.offer.allow_mixed or offer.allow_mixed for s in sections if s.payload_types),
    )
    return ViewerAnswer(sdp, setup, subscription, answered)


def _live_first(
    kind: Kind, formats: StreamFormats, live: Mapping[Kind, int], allowed: list[PayloadType]
) -> list[PayloadType]:
    best = formats.match(kind, live[kind], allowed) if kind in live else None
    return allowed if best is None else [best, *(pt for pt in allowed if pt is not best)]


def _check_servable(
    offer: Offer,
    policy: CodecPolicy,
    formats: StreamFormats,
    live: Mapping[Kind, int],
    served: Mapping[int, list[PayloadType]],
) -> None:
    """422 unless something live can be shown, or, with nothing live, anything ever could."""
    asked = [s for s in offer.media if s.kind is not None and s.index in served]
    if not live:
        if not any(served.values()):
            names = ", ".join(name for s in asked if s.kind is not None
                              for name in policy.names(s.kind))  # fmt: skip
            raise refused(f"No codec in common; offer one of {names}.")
        return
    for section in asked:
        index = None if section.kind is None else live.get(section.kind)
        if section.kind is None or index is None:
            continue
        if formats.match(section.kind, index, served[section.index]) is not None:
            return
    published = " and ".join(
        f"{formats[kind][index].codec} {kind.name.lower()}" for kind, index in live.items()
    )
    offered = "; ".join(f"{s.media} {codec_names(s.payload_types)}" for s in asked)
    raise refused(f"The stream is {published}; the offer can play {offered}. Offer its codec.")


def _section(
    section: MediaSection,
    served: Mapping[int, list[PayloadType]],
    extensions: ExtensionTable,
    ids: Ids,
) -> AnswerSection:
    """The section of the answer. One without an allowed codec still answers ``sendonly``, with
    the viewer's first codec and never any RTP: some players stay blank over a rejected line."""
    kept = served.get(section.index)
    if kept is None:
        return AnswerSection(section)
    if not kept:
        kept = [pt for pt in section.payload_types if pt.name not in AUXILIARY][:1]
    ssrc = ids.audio_ssrc if section.kind == Kind.AUDIO else ids.video_ssrc
    rtx: dict[int, PayloadType] = {}
    if section.kind == Kind.VIDEO:  # one RTX SSRC a session
        found = {pt.pt: find_rtx(section.payload_types, pt) for pt in kept}
        rtx = {pt: repair for pt, repair in found.items() if repair is not None}
    msid = f"{ids.stream_id} {section.media}"
    media_lines = [f"a=msid:{msid}"]
    if rtx:
        media_lines.append(f"a=ssrc-group:FID {ssrc} {ids.rtx_ssrc}")
    for number in (ssrc, ids.rtx_ssrc) if rtx else (ssrc,):
        media_lines += [f"a=ssrc:{number} cname:{ids.cname}", f"a=ssrc:{number} msid:{msid}"]
    return AnswerSection(
        section,
        direction="sendonly",
        payload_types=[echoed(pt) for pt in kept],
        rtx=rtx,
        feedback=_FEEDBACK,
        extensions=extensions.pick(section),
        media_lines=media_lines,
    )


def _track(
    section: MediaSection,
    kind: Kind,
    answered: tuple[tuple[PayloadType, int | None], ...],
    formats: StreamFormats,
    ids: Ids,
) -> ViewedTrack:
    has_rtx = any(rtx is not None for _, rtx in answered)
    names = {pt.pt: pt for pt, _ in answered}
    types = _matches(kind, formats, answered)
    return ViewedTrack(
        kind=kind,
        mid=section.mid,
        ssrc=ids.audio_ssrc if kind == Kind.AUDIO else ids.video_ssrc,
        rtx_ssrc=ids.rtx_ssrc if has_rtx else 0,
        payload_types=types,
        nack=any("nack" in pt.feedback for pt, _ in answered),
        derived=frozenset(
            index
            for index, (number, _) in types.items()
            if is_derived(formats[kind][index], names[number])
        ),
    )


def _matches(
    kind: Kind,
    formats: StreamFormats,
    answered: tuple[tuple[PayloadType, int | None], ...],
) -> dict[int, tuple[int, int | None]]:
    offered = [pt for pt, _ in answered]
    rtx = {pt.pt: repair for pt, repair in answered}
    found: dict[int, tuple[int, int | None]] = {}
    for index in range(len(formats[kind])):
        pt = formats.match(kind, index, offered)
        if pt is not None:
            found[index] = (pt.pt, rtx[pt.pt])
    return found
