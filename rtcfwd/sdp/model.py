"""What an offer says, as plain immutable data; built by ``offer.py``, read by the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aioice

from rtcfwd.forwarder.api import Kind


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """The peer's end of the one bundled transport.

    ``fingerprints``: (hash name in lower case, value in upper case), never empty. ``setup``:
    "actpass", "active" or "passive" (RFC 8842). ``candidates``: the usable UDP ones.
    """

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    candidates: tuple[aioice.Candidate, ...]


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """Our end, as the answer tells it. ``candidates``: UDP host candidates, best first; the first
    also stands in the m= and c= lines."""

    ufrag: str
    pwd: str
    fingerprint: tuple[str, str]
    candidates: Sequence[aioice.Candidate]


@dataclass(frozen=True, slots=True)
class PayloadType:
    """One payload type of an m-section.

    ``name``: encoding name in upper case; ``rtpmap`` and ``fmtp``: as offered, to be echoed;
    ``parameters``: fmtp's, names in lower case; ``feedback``: rtcp-fb values, lower case, those
    of ``*`` included.
    """

    pt: int
    name: str
    clock_rate: int
    channels: int
    rtpmap: str
    fmtp: str
    parameters: Mapping[str, str]
    feedback: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeaderExtension:
    """An extmap line (RFC 8285); ``direction`` is empty when the offer gives none."""

    id: int
    direction: str
    uri: str


@dataclass(frozen=True, slots=True)
class MediaSection:
    """One m-section. ``kind`` is None for what is neither audio nor video over RTP.

    ``formats``: the fmt words of the m= line as offered. ``stream_ids``: of msid lines, "-" left
    out. ``ssrcs``: primary ones with the SSRC that repairs each (0: not signalled). ``rids``: the
    layers of ``a=simulcast:send``, in its order (RFC 8853); empty without simulcast.
    """

    index: int
    media: str
    kind: Kind | None
    port: int
    proto: str
    formats: tuple[str, ...]
    mid: str
    direction: str
    payload_types: tuple[PayloadType, ...] = ()
    extensions: tuple[HeaderExtension, ...] = ()
    ssrcs: tuple[tuple[int, int], ...] = ()
    stream_ids: frozenset[str] = frozenset()
    bundle_only: bool = False
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    allow_mixed: bool = False
    rids: tuple[str, ...] = ()

    @property
    def offered(self) -> bool:
        """False for a section that the offerer itself has switched off (port 0, RFC 3264
        section 5.1); port 0 with bundle-only is on (RFC 9143 section 6)."""
        return self.port != 0 or self.bundle_only

    @property
    def name(self) -> str:
        """How an error text calls this section."""
        return f"m-line {self.index} ({self.media})"


@dataclass(frozen=True, slots=True)
class Offer:
    """A parsed offer. ``bundle``: the mids of its BUNDLE group, those without a section left
    out; empty when it has none. ``allow_mixed``: extmap-allow-mixed at session level."""

    remote: RemoteTransport
    media: tuple[MediaSection, ...]
    bundle: tuple[str, ...]
    allow_mixed: bool = False

    @property
    def direction(self) -> str:
        """That of the first audio or video section that is on; "inactive" without one."""
        for section in self.media:
            if section.kind is not None and section.offered:
                return section.direction
        return "inactive"
