"""The boundary to the data plane, as Python sees it.

The control plane codes to :class:`Forwarder`. Implementations: the compiled one
(``_forwarder``), :class:`rtcfwd.forwarder.fake.FakeForwarder` for unit tests, and
:class:`rtcfwd.forwarder.debug.LoggingForwarder`, which logs every call across the boundary.

No method blocks. A handle of an object that is gone raises :class:`StaleHandle`; a full queue
raises :class:`ForwarderBusy` (answer 503).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NewType, Protocol

StreamHandle = NewType("StreamHandle", int)
PeerHandle = NewType("PeerHandle", int)


class ForwarderError(Exception):
    """An error code of the data plane; the text says which."""


class StaleHandle(ForwarderError):
    """The handle names an object that is gone."""


class ForwarderBusy(ForwarderError):
    """A bounded queue or table is full; nothing was changed."""


class Role(enum.IntEnum):
    PUBLISHER = 0
    VIEWER = 1


class Kind(enum.IntEnum):
    AUDIO = 0
    VIDEO = 1


class Codec(enum.IntEnum):
    """Which rules find a payload's key frames (csrc/wire/keyframe.h)."""

    OTHER = 0
    H264 = 1
    H265 = 2
    VP8 = 3
    VP9 = 4
    AV1 = 5
    OPUS = 6
    PCMU = 7
    PCMA = 8


class SrtpProfile(enum.IntEnum):
    """DTLS-SRTP protection profiles by their IANA numbers (RFC 5764, RFC 7714)."""

    AES128_CM_HMAC_SHA1_80 = 0x0001
    AEAD_AES_128_GCM = 0x0007
    AEAD_AES_256_GCM = 0x0008


@dataclass(frozen=True, slots=True)
class Path:
    """A tuple: the peer's address and port, our address that it used, and for ICE-TCP (RFC 6544)
    the number of its connection, which is 0 for UDP.

    Addresses are numeric strings, IPv4 in dotted form (never v4-mapped).
    """

    remote: tuple[str, int]
    local: str
    connection: int = 0


@dataclass(frozen=True, slots=True)
class PublishedFormat:
    """One payload type that the publisher may send."""

    pt: int
    codec: Codec
    format: int  # index in the stream's format table for this kind, 0..15
    rtx_pt: int | None = None


@dataclass(frozen=True, slots=True)
class PublishedTrack:
    kind: Kind
    clock_rate: int
    mid: str
    formats: Sequence[PublishedFormat]
    ssrcs: Sequence[int] = ()
    rtx_ssrcs: Sequence[int] = ()  # rtx_ssrcs[i] repairs ssrcs[i]; 0: not signalled
    nack: bool = False
    pli: bool = False
    fir: bool = False
    remb: bool = False
    rids: Sequence[str] = ()
    """Simulcast layers (RFC 8853), at most 4; fewer than two: none."""
    parameter_sets: Sequence[bytes] = ()
    """H264 SPS and PPS NAL units that the offer told; stand in until the stream's own come."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What a publisher's answer settled; header extension ids by URI."""

    tracks: Sequence[PublishedTrack]
    extensions: dict[int, str]
    local_ssrc: int
    cname: str
    reduced_size: bool = False


@dataclass(frozen=True, slots=True)
class ViewedTrack:
    """What a viewer's answer settled for one kind of media."""

    kind: Kind
    mid: str
    ssrc: int
    rtx_ssrc: int = 0  # 0: resend on the same SSRC
    payload_types: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    """format index -> (payload type, its rtx payload type or None)"""
    nack: bool = False
    derived: frozenset[int] = frozenset()
    """format indexes, A-law or µ-law audio, that this viewer gets in the other law (G.711)"""


@dataclass(frozen=True, slots=True)
class Subscription:
    tracks: Sequence[ViewedTrack]
    extensions: dict[str, int]  # URI -> the viewer's id
    cname: str
    start_playout_delay: bool = True
    playout: tuple[int, int] | None = None
    """playout-delay that is told at the start and holds for good: least and most, ms"""
    mixed: bool = False
    """extmap-allow-mixed: extensions that need it may go in the two-byte form (RFC 8285)"""


@dataclass(frozen=True, slots=True)
class Punt:
    """A STUN or DTLS datagram for the control plane. The answer goes out by ``send`` with the
    same worker and path. ``peer`` is the owner of the tuple, None for a tuple not yet validated."""

    protocol: str  # "stun" | "dtls"
    worker: int
    path: Path
    peer: PeerHandle | None
    data: bytes


@dataclass(frozen=True, slots=True)
class PeerGone:
    peer: PeerHandle


@dataclass(frozen=True, slots=True)
class StreamGone:
    stream: StreamHandle


@dataclass(frozen=True, slots=True)
class PeerIdle:
    """No authenticated media or RTCP for 30 s, again every 10 s. STUN is the caller's to count."""

    peer: PeerHandle


@dataclass(frozen=True, slots=True)
class PublisherActive:
    """First packet of this kind in the log, or media again after silence."""

    peer: PeerHandle
    stream: StreamHandle
    kind: Kind


@dataclass(frozen=True, slots=True)
class PublisherSilent:
    """No media of any kind from the publisher for 3 s."""

    peer: PeerHandle
    stream: StreamHandle


@dataclass(frozen=True, slots=True)
class ParameterSets:
    """The publisher's SPS, when first seen and when it changes."""

    stream: StreamHandle
    sps: bytes


class Slow(enum.IntEnum):
    """How much of the video a viewer gets, by what its way carries."""

    ALL = 0
    FITS = 1
    PAUSED = 2
    BROKEN = 3
    """None, and that did not help either: close it (RFC 8083)."""


@dataclass(frozen=True, slots=True)
class ViewerSlow:
    """A viewer's way was found too narrow for its stream, or wide enough again."""

    peer: PeerHandle
    slow: Slow
    estimate: int | None
    """bits a second of all that is sent to it; None: nothing speaks against any rate"""


@dataclass(frozen=True, slots=True)
class ViewerLayer:
    """A viewer gets another simulcast layer, or its first; twice a second at most."""

    peer: PeerHandle
    layer: int
    """index of the publication's rids"""


Event = (
    Punt
    | PeerGone
    | StreamGone
    | PeerIdle
    | PublisherActive
    | PublisherSilent
    | ParameterSets
    | ViewerSlow
    | ViewerLayer
)


class Forwarder(Protocol):
    """The data plane. One thread (the event loop's) calls it."""

    @property
    def port(self) -> int:
        """The UDP port that all workers share."""

    @property
    def workers(self) -> int: ...

    @property
    def engine(self) -> str:
        """Name of the SRTP engine, e.g. ``"libsrtp"``."""

    @property
    def gso(self) -> bool: ...

    def listen_tcp(self, port: int, connections: int) -> int:
        """Before :meth:`start`: take framed datagrams over TCP too (RFC 6544, RFC 4571), on the
        same address, of at most ``connections`` clients. ``port`` 0: any free one. Returns the
        port; raises :class:`ForwarderError` where it cannot be had."""

    def start(self) -> None: ...

    def close(self) -> None:
        """Join the threads and free everything; idempotent."""

    def fileno(self) -> int:
        """A descriptor that is readable while events wait."""

    def poll(self, limit: int = 64) -> list[Event]: ...

    def open_stream(self) -> StreamHandle: ...

    def close_stream(self, stream: StreamHandle) -> None:
        """All its peers must be closed before; :class:`StreamGone` follows."""

    def request_keyframe(self, stream: StreamHandle) -> None: ...

    def open_peer(self, stream: StreamHandle, role: Role) -> PeerHandle: ...

    def close_peer(self, peer: PeerHandle, *, bye: bool = True) -> None:
        """:class:`PeerGone` follows."""

    def add_ufrag(self, peer: PeerHandle, ufrag: str, pwd: str | None = None) -> None:
        """STUN whose USERNAME starts with ``ufrag:`` is punted from now on. With its password the
        data plane itself answers plain checks on tuples that are installed already."""

    def remove_ufrag(self, peer: PeerHandle, ufrag: str) -> None: ...

    def add_path(self, peer: PeerHandle, path: Path) -> None:
        """A tuple that STUN has verified (at most 8 a peer, the oldest that is not selected gives
        way): DTLS and media are accepted from it. The first one is where media goes until
        ``select_path``. A TCP connection is this peer's from then on; one that is gone or
        another's raises :class:`StaleHandle`."""

    def select_path(self, peer: PeerHandle, path: Path) -> None:
        """Send media there (USE-CANDIDATE)."""

    def set_keys(self, peer: PeerHandle, profile: SrtpProfile, rx: bytes, tx: bytes) -> None:
        """``rx``/``tx``: master key + master salt, as DTLS exported them. Call it after
        ``publish``/``view`` (a viewer's SSRCs are part of its outbound policy)."""

    def publish(self, peer: PeerHandle, publication: Publication) -> None: ...

    def view(self, peer: PeerHandle, subscription: Subscription) -> None: ...

    def set_format(
        self,
        peer: PeerHandle,
        kind: Kind,
        format: int,
        pt: int,
        rtx_pt: int | None,
        *,
        derived: bool = False,
    ) -> None:
        """The viewer's payload type for a format that appeared after it joined. ``derived``: it is
        of the other law of G.711, see :class:`ViewedTrack`.

        Another one for a video format that it has: its video begins anew at the newest key frame,
        and what went out before is not sent again (a resend must repeat its bytes). Audio keeps
        the one it has."""

    def select_layer(self, peer: PeerHandle, layer: int | None) -> None:
        """The simulcast layer that a viewer gets from its next key frame on: an index of the
        publication's ``rids``, None for the best that is on the air. While a layer is silent the
        next lower one stands in. Without simulcast it changes nothing."""

    def send(self, worker: int, path: Path, data: bytes) -> None:
        """One datagram of the control plane; lost silently when the socket buffer is full."""

    def stream_stats(self, stream: StreamHandle) -> dict[str, Any]:
        """``tracks``: figures by kind, video's layers added up. ``layers``: those of each simulcast
        layer in the order of ``rids``, empty without. ``best_layer``: index or None.
        ``layer_changes``: of its viewers. ``delays``: how long media stayed, for
        delays.quantiles."""

    def peer_stats(self, peer: PeerHandle) -> dict[str, Any]: ...

    def tcp_stats(self) -> dict[str, int]:
        """Connections and datagrams over TCP (``rf_tcp_stats``)."""

    def worker_stats(self) -> list[dict[str, Any]]:
        """One dict a worker; ``drops`` maps a drop reason's name to its count."""

    def memory_stats(self) -> dict[str, int]:
        """Bytes of the data plane's own objects: ``workers`` (tables, queues, slabs), ``streams``
        (logs), ``publishers``, ``viewers`` of which there are ``viewer_count``, ``tcp`` (the
        connections' buffers) and ``viewer``, what one more would take. libsrtp's contexts and the
        allocator's share are not in it."""
