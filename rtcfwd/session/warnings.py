"""What is wrong with a published stream, in words: the stream doctor.

    figures of its tracks, its SPS, its viewers ─▶ Seen ─▶ Diagnosis.look() ─▶ typed warnings

Given: ``stream_stats`` of the data plane every few seconds (:mod:`.doctor`). Promises: warnings
that do not flap: a rule says of each look whether its trouble is there, gone, or in between; it has
to be there for as many looks as the rule wants, and gone for ``CLEAR_LOOKS`` in turn. No I/O, no
clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LOOK_S = 2.0
"""Seconds between two looks."""

CLEAR_LOOKS = 5
_WINDOW = 6  # looks that shares are counted over: 10 s

_MANY_B_FRAMES = 3  # one packet may be read wrongly, three are not
_LONG_INTERVAL_MS = 4200
_SHORT_INTERVAL_MS = 2500
_UNANSWERED = 5
_PROFILES = {
    44: "CAVLC 4:4:4 Intra", 88: "Extended", 110: "High 10", 122: "High 4:2:2",
    244: "High 4:4:4 Predictive",
}  # fmt: skip
_HIGHEST_LEVEL = 52  # 5.2


@dataclass(frozen=True, slots=True)
class StreamWarning:
    """``type``: a fixed word for programs; ``text``: for people, with what to change."""

    type: str
    text: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a stream. ``slow``: viewers whose way carries less than the stream, of
    ``viewers``. ``sps``: the NAL unit as published, empty when none came."""

    stats: Mapping[str, Any]
    slow: int = 0
    viewers: int = 0
    sps: bytes = b""

    def track(self, kind: str) -> Mapping[str, Any]:
        tracks = self.stats.get("tracks")
        found = tracks.get(kind) if isinstance(tracks, Mapping) else None
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Finding:
    """``there``: the trouble is seen; ``gone``: certainly not. Neither: as it was."""

    there: bool
    gone: bool
    text: str = ""


class History:
    """The looks of the last seconds, and what needs more than them."""

    def __init__(self) -> None:
        self.looks: deque[Seen] = deque(maxlen=_WINDOW)
        self.long_intervals = 0  # key-frame intervals in turn that were long
        self._keyframes = 0

    def add(self, seen: Seen) -> None:
        self.looks.append(seen)
        video = seen.track("video")
        if video.get("keyframes", 0) != self._keyframes:
            self._keyframes = video.get("keyframes", 0)
            interval = video.get("key_interval_ms", 0)
            self.long_intervals = self.long_intervals + 1 if interval > _LONG_INTERVAL_MS else 0

    @property
    def now(self) -> Seen:
        return self.looks[-1]

    def rise(self, kind: str, name: str, looks: int = _WINDOW) -> int:
        """By how much a counter has risen over the last ``looks``; 0 when it began anew."""
        before = self.looks[max(0, len(self.looks) - 1 - looks)] if len(self.looks) > 1 else None
        start = before.track(kind).get(name, 0) if before is not None else 0
        return max(0, int(self.now.track(kind).get(name, 0)) - int(start))


def _parameter_sets(h: History) -> Finding:
    missing = h.now.track("video").get("parameters_missing", 0)
    more = h.rise("video", "parameters_missing", 1) > 0
    return Finding(
        there=more,
        gone=not missing or (not more and h.rise("video", "keyframes", 1) > 0),
        text=f"{missing} H264 key frames came without SPS and PPS, and none were known: nobody can "
        "decode them. Let the encoder repeat its headers (x264: repeat-headers=1), or offer "
        "sprop-parameter-sets.",
    )


def _b_frames(h: History) -> Finding:
    more = h.rise("video", "b_frames", 1)
    return Finding(
        there=more > 0 and h.now.track("video").get("b_frames", 0) >= _MANY_B_FRAMES,
        gone=more == 0,
        text="The video has B-frames, which browsers show in the wrong order (it jerks). Switch "
        "them off in the encoder (x264: bframes=0, tune=zerolatency).",
    )


def _profile(h: History) -> Finding:
    sps = h.now.sps
    if len(sps) < 4:
        return Finding(there=False, gone=True)
    name, level = _PROFILES.get(sps[1]), sps[3]
    if name is not None:
        text = (
            f"The video is H264 of the {name} profile, which Safari and most phones do not decode. "
            "Choose Constrained Baseline, Main or High with 8-bit 4:2:0 colours (x264: "
            "profile=high, format yuv420p or NV12)."
        )
    else:
        text = (
            f"The video says H264 level {level // 10}.{level % 10}, above the 5.2 that decoders in "
            "phones and browsers stop at. Lower the resolution or the frame rate."
        )
    wrong = name is not None or level > _HIGHEST_LEVEL
    return Finding(there=wrong, gone=not wrong, text=text)


def _answers(video: Mapping[str, Any]) -> bool:
    """Key frames come when they are asked for, as far as was asked."""
    prompt, late = video.get("keys_prompt", 0), video.get("keys_late", 0)
    return bool(prompt > late and video.get("plis_unanswered", 0) < _UNANSWERED)


def _ignores_pli(h: History) -> Finding:
    video = h.now.track("video")
    prompt, late = video.get("keys_prompt", 0), video.get("keys_late", 0)
    waiting = video.get("plis_unanswered", 0)
    harmless = 0 < video.get("key_interval_ms", 0) <= _SHORT_INTERVAL_MS and not waiting
    return Finding(
        there=not harmless and (waiting >= _UNANSWERED or (late >= 2 and late > prompt)),
        gone=harmless or (waiting < 2 and late <= prompt),
        text="The publisher does not answer requests for key frames (OBS and FFmpeg never do): "
        "after a loss viewers wait for the next one. Set the encoder's key-frame interval to 2 s.",
    )


def _keyframe_interval(h: History) -> Finding:
    video = h.now.track("video")
    seconds = video.get("key_interval_ms", 0) / 1000
    answers = _answers(video)
    return Finding(
        there=h.long_intervals >= 2 and not answers,
        gone=answers or h.long_intervals == 0,
        text=f"Key frames are {seconds:.1f} s apart: a viewer who joins or loses packets may wait "
        "that long. Set the encoder's key-frame interval to 2 s (x264: keyint = twice the frame "
        "rate).",
    )


def _upstream_loss(h: History) -> Finding:
    worst, kind = max((_loss(h, kind), kind) for kind in ("audio", "video"))
    repaired = h.rise(kind, "repaired")
    return Finding(
        there=worst > 0.03,
        gone=worst < 0.01,
        text=f"{worst:.0%} of the publisher's {kind} packets are lost on the way here ({repaired} "
        "in 10 s came again when asked for). Use a cable instead of Wi-Fi, or lower the bitrate.",
    )


def _loss(h: History, kind: str) -> float:
    lost = max(h.rise(kind, "lost"), h.rise(kind, "repaired"))  # repairs by RTX count as lost
    packets = h.rise(kind, "packets")
    return lost / (packets + lost) if packets >= 20 and len(h.looks) > 1 else 0.0


def _upstream_jitter(h: History) -> Finding:
    """Of sound where there is any: the packets of a frame have one time, and come one by one.
    Packets that come in order cannot have more than twice their distance (RFC 3550 A.8)."""
    kind = "audio" if h.now.track("audio").get("active") else "video"
    track = h.now.track(kind)
    ms = 1000 * track.get("jitter", 0) / max(1, track.get("clock_rate", 0))
    allowed = 15 if kind == "audio" else 30
    moving = h.rise(kind, "packets", 1) > 0
    return Finding(
        there=moving and ms > allowed,
        gone=ms < allowed / 2,
        text=f"The publisher's {kind} packets come with {ms:.0f} ms of jitter: viewers' players "
        "delay the stream to even it out. Use a cable instead of Wi-Fi, or lower the bitrate.",
    )


def _bitrate(h: History) -> Finding:
    slow, viewers = h.now.slow, h.now.viewers
    share = slow / viewers if viewers else 0.0
    seconds = LOOK_S * (len(h.looks) - 1)
    bits = 8 * h.rise("video", "bytes") / seconds if seconds else 0.0
    return Finding(
        there=share >= 0.25,
        gone=share < 0.1,
        text=f"The ways of {slow} of {viewers} viewers carry less than this stream ("
        f"{bits / 1e6:.1f} Mbit/s of video): they get sound and the pictures that fit. Lower the "
        "bitrate, or publish simulcast layers.",
    )


def _clock_drift(h: History) -> Finding:
    ppm = max((h.now.track(kind).get("drift_ppm", 0) for kind in ("audio", "video")), key=abs)
    word = "fast" if ppm > 0 else "slow"
    return Finding(
        there=abs(ppm) > 150,
        gone=abs(ppm) < 100,
        text=f"The publisher's clock is {abs(ppm)} ppm {word} ({abs(ppm) * 3.6:.0f} ms an hour): "
        "players stretch sound or drop pictures now and then. Let the encoder take its time from "
        "the system's clock, and that from NTP; a sound card of its own may be the cause.",
    )


_RULES: dict[str, tuple[int, Callable[[History], Finding]]] = {
    "parameter_sets_missing": (1, _parameter_sets),
    "profile": (1, _profile),
    "b_frames": (1, _b_frames),
    "upstream_loss": (3, _upstream_loss),
    "ignores_pli": (1, _ignores_pli),
    "keyframe_interval": (1, _keyframe_interval),
    "bitrate": (3, _bitrate),
    "upstream_jitter": (3, _upstream_jitter),
    "clock_drift": (3, _clock_drift),
}
"""By type, the worst first: looks in turn that it takes, and the rule."""

TYPES = tuple(_RULES)


class Diagnosis:
    """The warnings of one publication. ``warnings``: what holds now, the worst first."""

    def __init__(self) -> None:
        self.warnings: list[StreamWarning] = []
        self._history = History()
        self._there = dict.fromkeys(_RULES, 0)
        self._gone = dict.fromkeys(_RULES, 0)

    def look(self, seen: Seen) -> tuple[list[StreamWarning], list[str]]:
        """Take one look. Returns what is new, and the types of what is over."""
        self._history.add(seen)
        before = {warning.type: warning for warning in self.warnings}
        held = []
        for kind, (wanted, rule) in _RULES.items():
            finding = rule(self._history)
            self._there[kind] = self._there[kind] + 1 if finding.there else 0
            self._gone[kind] = self._gone[kind] + 1 if finding.gone else 0
            if finding.there and (kind in before or self._there[kind] >= wanted):
                held.append(StreamWarning(kind, finding.text))  # with the figures of now
            elif kind in before and self._gone[kind] < CLEAR_LOOKS:
                held.append(before[kind])
        self.warnings = held
        now = {warning.type for warning in held}
        return [w for w in held if w.type not in before], [k for k in before if k not in now]
