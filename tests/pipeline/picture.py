"""What a viewer of a scripted publisher sees and hears: frames that a decoder could show, and when;
how long audio took. Judged from the publisher's ledger, packet by packet."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from rtcfwd.forwarder import api
from tests.pipeline.netem import MS
from tests.pipeline.publisher import AUDIO, VIDEO, Publisher, Setup
from tests.pipeline.viewer import Viewer


class Wide(Publisher):
    """2.4 Mbit/s at 30 frames a second: 55 kB key frames every 2 s, 8.8 kB between them. With
    ``disposable`` every other frame is one that no other refers to (nal_ref_idc 0)."""

    disposable = False

    def frame_packets(self, now: int, *, key: bool) -> list[bytes]:
        self.setup.packets_a_frame = 50 if key else 8
        self.nal = 0x01 if self.disposable and self.frame % 2 and not key else 0x41
        return super().frame_packets(now, key=key)


class Layered(Wide):
    disposable = True


class Marked(Wide):
    """Writes nal_ref_idc 0 on every picture between key frames, though each refers to the one
    before it."""

    def frame_packets(self, now: int, *, key: bool) -> list[bytes]:
        self.setup.packets_a_frame = 50 if key else 8
        self.nal = 0x41 if key else 0x01
        return Publisher.frame_packets(self, now, key=key)


def wide(**more: object) -> Setup:
    return Setup(packet_size=1100, **more)  # type: ignore[arg-type]


def frames_shown(viewer: Viewer, publisher: Publisher) -> list[int]:
    """When each frame was there that could be decoded: whole, and either a key frame or the
    successor of one that was (a frame that no other needs may lack)."""
    size: Counter[int] = Counter()
    order: list[int] = []
    keys: set[int] = set()
    disposable: set[int] = set()
    owner: dict[bytes, int] = {}
    for sent in publisher.sent[VIDEO]:
        if sent.ts not in size:
            order.append(sent.ts)
        size[sent.ts] += 1
        owner[sent.payload] = sent.ts
        if sent.key_start:
            keys.add(sent.ts)
        spare = sent.payload[0] & 0x60 == 0 and not isinstance(publisher, Marked)
        if spare and not sent.key_start:
            disposable.add(sent.ts)
    when = {seq: at for at, seq in reversed(viewer.arrived[VIDEO])}
    have: Counter[int] = Counter()
    last: dict[int, int] = {}
    for seq, packet in viewer.got[VIDEO].items():
        if (ts := owner.get(packet.payload)) is None:
            continue  # another publisher's
        have[ts] += 1
        last[ts] = max(last.get(ts, 0), when[seq])
    shown, good, clock = [], False, 0
    for ts in order:
        whole = have[ts] == size[ts]
        if ts in keys:
            good = whole
        elif ts not in disposable:
            good = good and whole
        if whole and (good or ts in keys):
            clock = max(clock, last[ts])
            shown.append(clock)
    return shown


def half_frames(viewer: Viewer, publisher: Publisher, since: int = 0) -> int:
    """Frames published from ``since`` on of which the viewer has some packets and not all."""
    size: Counter[int] = Counter(s.ts for s in publisher.sent[VIDEO] if s.at >= since)
    owner = {s.payload: s.ts for s in publisher.sent[VIDEO]}
    have: Counter[int] = Counter(owner[p.payload] for p in viewer.got[VIDEO].values())
    return sum(ts in have and have[ts] != n for ts, n in size.items())


def longest_gap(times: list[int]) -> int:
    return max((b - a for a, b in pairwise(times)), default=0)


def delays(viewer: Viewer, publisher: Publisher, kind: api.Kind, since: int = 0) -> list[float]:
    """One-way delays in ms of what was published from ``since`` on and came, sorted."""
    when = {seq: at for at, seq in reversed(viewer.arrived[kind])}
    at = {p.payload: when[seq] for seq, p in viewer.got[kind].items()}
    found = [s for s in publisher.sent[kind] if s.at >= since and s.payload in at]
    return sorted((at[s.payload] - s.at) / MS for s in found)


def missing(viewer: Viewer, publisher: Publisher, since: int, until: int) -> int:
    """Audio packets published in that time that never came."""
    have = {p.payload for p in viewer.got[AUDIO].values()}
    return sum(since <= s.at < until and s.payload not in have for s in publisher.sent[AUDIO])


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0
