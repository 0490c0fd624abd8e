"""Which codecs are forwarded, the formats that a stream has carried, and which payload type of a
viewer takes which of them.

A format is a codec with the parameters that a receiver must agree on (its configuration); two
publishers with the same one share an index, so that viewers go on undisturbed. What does not
change the bitstream's demands on a decoder (level, Opus' wishes) is no part of it.
RFC 6184 section 8.2.2, RFC 7742, RFC 7798, RFC 9628, RFC 7587, RFC 3551.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rtcfwd.forwarder.api import Codec, Kind

from .errors import refused
from .h264 import Profile, fit, profile_of, sps_profile
from .model import PayloadType

MAX_FORMATS: Final = 16
"""Formats of one kind in one stream's life; the data plane's RF_MAX_FORMATS."""

CODECS: Final = {
    "H264": Codec.H264,
    "H265": Codec.H265,
    "VP8": Codec.VP8,
    "VP9": Codec.VP9,
    "AV1": Codec.AV1,
    "OPUS": Codec.OPUS,
    "PCMU": Codec.PCMU,
    "PCMA": Codec.PCMA,
}

OTHER_LAW: Final = {"PCMA": "PCMU", "PCMU": "PCMA"}

_AUDIO_CLOCKS = {"OPUS": 48000, "PCMU": 8000, "PCMA": 8000}
_VIDEO_CLOCK = 90000

# The parameters, besides H264's, on which both sides must agree, and their defaults.
_CONFIGURATION: Final[Mapping[str, Mapping[str, str]]] = {
    "VP9": {"profile-id": "0"},
    "AV1": {"profile": "0"},
    "H265": {"profile-space": "0", "profile-id": "1", "tx-mode": "SRST"},
}


@dataclass(frozen=True, slots=True)
class CodecPolicy:
    """The codecs that are served, as upper-case encoding names, in order of preference.

    The order decides which one codec a publisher's m-section keeps; with ``audio_by_offer`` the
    publisher's own order decides for audio instead.
    """

    video: tuple[str, ...] = ("H264", "VP8", "VP9", "AV1", "H265")
    audio: tuple[str, ...] = ("PCMA", "PCMU", "OPUS")
    audio_by_offer: bool = True
    turn_video: bool = False
    """Publishers are to turn their pictures themselves: video-orientation is not negotiated with
    them. It serves viewers that do not understand it."""

    @classmethod
    def of(cls, listed: Sequence[str], *, turn_video: bool = False) -> CodecPolicy:
        """From one list of names for both kinds, whose order then decides for audio too; empty:
        the default. A kind of which nothing is listed is not served."""
        if not listed:
            return cls(turn_video=turn_video)
        audio = tuple(name for name in listed if name in _AUDIO_CLOCKS)
        video = tuple(name for name in listed if name not in _AUDIO_CLOCKS)
        return cls(video, audio, audio_by_offer=False, turn_video=turn_video)

    def names(self, kind: Kind) -> tuple[str, ...]:
        return self.video if kind == Kind.VIDEO else self.audio

    def allowed(self, kind: Kind, payload_types: Sequence[PayloadType]) -> list[PayloadType]:
        """Those payload types, in the offer's order, whose codec, clock and channels serve."""
        names = self.names(kind)
        return [pt for pt in payload_types if pt.name in names and _is_sound(kind, pt)]


def _is_sound(kind: Kind, pt: PayloadType) -> bool:
    if kind == Kind.VIDEO:
        return pt.clock_rate == _VIDEO_CLOCK
    # RFC 7587 section 7: always opus/48000/2; a client that forgets the 2 means the same.
    channels = (1, 2) if pt.name == "OPUS" else (1,)
    return pt.clock_rate == _AUDIO_CLOCKS.get(pt.name) and pt.channels in channels


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """``codec``: upper-case encoding name; ``clock_rate`` in Hz; ``parameters``: fmtp."""

    codec: str
    clock_rate: int
    channels: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pt: PayloadType) -> MediaFormat:
        channels = 2 if pt.name == "OPUS" else pt.channels
        return cls(pt.name, pt.clock_rate, channels, pt.parameters)

    @property
    def number(self) -> Codec:
        """How the data plane names the codec."""
        return CODECS.get(self.codec, Codec.OTHER)

    def configuration(self) -> tuple[object, ...]:
        """Equal for two formats exactly when one decoder set-up takes both (H1, H2 of RFC 6184
        section 8.2.2: profile without level, and packetization-mode)."""
        specific: tuple[object, ...] = ()
        if self.codec == "H264":
            profile = profile_of(self.parameters.get("profile-level-id"))
            specific = (profile, packetization_mode(self.parameters))
        elif self.codec in _CONFIGURATION:
            defaults = _CONFIGURATION[self.codec]
            specific = tuple(self.parameters.get(k, v) for k, v in defaults.items())
        return (self.codec, self.clock_rate, self.channels, *specific)


def packetization_mode(parameters: Mapping[str, str]) -> int:
    """RFC 6184 section 8.1: 0 when absent; junk counts as absent."""
    return 1 if parameters.get("packetization-mode", "0").strip() == "1" else 0


class StreamFormats:
    """The formats that one stream has carried, a list per kind; an index, once given, stays."""

    def __init__(self) -> None:
        self._formats: dict[Kind, list[MediaFormat]] = {kind: [] for kind in Kind}
        self._sps: dict[int, Profile] = {}

    def __getitem__(self, kind: Kind) -> Sequence[MediaFormat]:
        """The formats of a kind, by index."""
        return tuple(self._formats[kind])

    def index(self, kind: Kind, fmt: MediaFormat) -> int:
        """The index of a format with this configuration, added when new.

        Raises SdpError 422 when the stream has had 16 different ones of this kind.
        """
        wanted = fmt.configuration()
        formats = self._formats[kind]
        for index, known in enumerate(formats):
            if known.configuration() == wanted:
                return index
        if len(formats) == MAX_FORMATS:
            raise refused(
                f"This stream has had {MAX_FORMATS} {kind.name.lower()} formats, which is all it "
                "can hold; publish one of them again or end the stream first."
            )
        formats.append(fmt)
        return len(formats) - 1

    def set_sps(self, index: int, sps: bytes) -> None:
        """What the publisher really sends in video format ``index``: its SPS decides over the
        SDP, since OBS says 42e01f and sends High. Bytes that are no SPS change nothing."""
        try:
            self._sps[index] = profile_of(sps_profile(sps))
        except ValueError:
            return

    def profile(self, index: int) -> Profile:
        """The H264 sub-profile of a video format: the SPS's, else the SDP's."""
        known = self._sps.get(index)
        if known is not None:
            return known
        return profile_of(self._formats[Kind.VIDEO][index].parameters.get("profile-level-id"))

    def match(self, kind: Kind, index: int, offered: Sequence[PayloadType]) -> PayloadType | None:
        """The one of a viewer's payload types that takes format ``index``, or None.

        H264: packetization-mode 1 before mode 0, which serves only when the viewer has no other
        (RFC 6184 table 3; real ones take FU-A there); then the nearest profile that must take
        the stream; then a guess. Other codecs: the same configuration, or an AV1 profile above.
        G.711: the same law, else the other one, which the data plane makes (:func:`is_derived`).
        """
        fmt = self._formats[kind][index]
        same = [pt for pt in offered if pt.name == fmt.codec and _is_sound(kind, pt)]
        if fmt.codec == "H264":
            profile = self.profile(index)
            return min(same, key=lambda pt: _h264_rank(profile, pt), default=None)
        wanted = fmt.configuration()
        for pt in same:
            if MediaFormat.of(pt).configuration() == wanted:
                return pt
        if fmt.codec == "AV1":
            level = fmt.parameters.get("profile", "0")
            above = [pt for pt in same if pt.parameters.get("profile", "0") > level]
            return above[0] if above else None
        if fmt.codec in OTHER_LAW:
            laws = [pt for pt in offered if is_derived(fmt, pt) and _is_sound(kind, pt)]
            return laws[0] if laws else None
        return None


def is_derived(fmt: MediaFormat, pt: PayloadType) -> bool:
    """Whether ``pt`` is the other law of G.711 than ``fmt``: the same samples by table."""
    return pt.name == OTHER_LAW.get(fmt.codec)


def _h264_rank(stream: Profile, pt: PayloadType) -> tuple[int, int]:
    decoder = profile_of(pt.parameters.get("profile-level-id"))
    return (1 - packetization_mode(pt.parameters), fit(stream, decoder))


def publisher_choice(
    policy: CodecPolicy, kind: Kind, offered: Sequence[PayloadType]
) -> PayloadType | None:
    """The one payload type that a publisher's m-section keeps, or None.

    By codec in the policy's order (audio: in the offer's, see the policy). Among H264's:
    packetization-mode 1 first, then Constrained Baseline, the one profile every viewer takes;
    else the offer's order.
    """
    allowed = policy.allowed(kind, offered)
    if kind == Kind.AUDIO and policy.audio_by_offer:
        return allowed[0] if allowed else None
    names = policy.names(kind)

    def rank(pt: PayloadType) -> tuple[int, int, bool]:
        mode, profile = 0, Profile.CONSTRAINED_BASELINE
        if pt.name == "H264":
            mode = packetization_mode(pt.parameters)
            profile = profile_of(pt.parameters.get("profile-level-id"))
        return (names.index(pt.name), -mode, profile != Profile.CONSTRAINED_BASELINE)

    return min(allowed, key=rank, default=None)


_MAX_SETS = 900  # bytes of parameter sets that the data plane is told


_SPROP: Final = {
    "H264": ("sprop-parameter-sets",),
    "H265": ("sprop-vps", "sprop-sps", "sprop-pps"),
}


def _set_rank(codec: str, nal: bytes) -> int | None:
    """VPS before SPS before PPS; None: it is none of them."""
    if len(nal) < 3 or nal[0] & 0x80:
        return None
    kind = nal[0] & 0x1F if codec == "H264" else nal[0] >> 1
    return kind if kind in ((7, 8) if codec == "H264" else (32, 33, 34)) else None


def offered_sets(codec: str, parameters: Mapping[str, str]) -> tuple[bytes, ...]:
    """The parameter sets of ``sprop-parameter-sets`` (RFC 6184 section 8.1), or of ``sprop-vps``,
    ``sprop-sps`` and ``sprop-pps`` (RFC 7798 section 7.1), as NAL units in the order in which a
    decoder wants them; empty when there are none. What is none of them is left out."""
    found: list[tuple[int, bytes]] = []
    size = 0
    for name in _SPROP.get(codec, ()):
        for part in parameters.get(name, "").split(","):
            try:
                nal = base64.b64decode(part.strip(), validate=True)
            except (binascii.Error, ValueError):
                continue
            rank = _set_rank(codec, nal)
            if rank is not None and size + len(nal) < _MAX_SETS:
                found.append((rank, nal))
                size += len(nal)
    return tuple(nal for _, nal in sorted(found, key=lambda ranked: ranked[0]))


def find_rtx(offered: Sequence[PayloadType], pt: PayloadType) -> PayloadType | None:
    """The rtx payload type whose ``apt`` is ``pt``'s (RFC 4588 section 8.6)."""
    for rtx in offered:
        same_clock = rtx.name == "RTX" and rtx.clock_rate == pt.clock_rate
        if same_clock and rtx.parameters.get("apt") == str(pt.pt):
            return rtx
    return None
