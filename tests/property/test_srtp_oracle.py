"""The SRTP engines against pylibsrtp as the oracle.

Whatever is published, a viewer decrypts with pylibsrtp what the publisher encrypted; and what is on
the wire is byte for byte what pylibsrtp makes of the same plaintext under the same key (RFC 3711,
RFC 7714). For each engine of this build and each of the three profiles; over all payload lengths,
CSRCs, header extensions, resends, and past the wrap of sequence numbers, where the roll-over
counter steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtcfwd.forwarder import api
from rtcfwd.forwarder._forwarder import MemoryForwarder
from tests.pipeline.leg import Crypto, Rtp, is_rtcp, parse_rtp, session
from tests.pipeline.netem import MS
from tests.pipeline.publisher import AUDIO, VIDEO, Setup
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import World

SDES_URI = "urn:ietf:params:rtp-hdrext:"
LEVEL_URI = SDES_URI + "ssrc-audio-level"
ORIENTATION_URI = "urn:3gpp:video-orientation"
PROFILES = list(api.SrtpProfile)
NAMES = [p.name for p in PROFILES]


def engines() -> list[str]:
    out = []
    for name in ("libsrtp", "ipsec-mb"):
        try:
            MemoryForwarder(engine=name).close()
        except (ValueError, api.ForwarderError):
            continue
        out.append(name)
    return out


ENGINES = engines()


@dataclass(frozen=True, slots=True)
class Packet:
    video: bool
    size: int
    marker: bool
    csrcs: tuple[int, ...]
    level: bytes | None
    orientation: bytes | None


packets = st.builds(
    Packet,
    video=st.booleans(),
    size=st.one_of(st.integers(0, 1400), st.integers(0, 70), st.sampled_from([1184, 1200, 1400])),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 2**32 - 1), max_size=15).map(tuple),
    level=st.none() | st.binary(min_size=1, max_size=1),
    orientation=st.none() | st.binary(min_size=1, max_size=1),
)


def test_the_build_has_an_engine() -> None:
    assert "libsrtp" in ENGINES


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("profile", PROFILES, ids=NAMES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(published=st.lists(packets, min_size=1, max_size=40), rtx=st.booleans())
def test_viewers_decrypt_what_was_published(
    engine: str, profile: api.SrtpProfile, published: list[Packet], rtx: bool
) -> None:
    extensions = {1: LEVEL_URI, 2: ORIENTATION_URI}
    with World(engine=engine) as w:
        setup = Setup(codec=api.Codec.OTHER, extensions=extensions)
        pub, peer = w.publisher(setup, profile=profile)
        mine = ((LEVEL_URI, 3), (ORIENTATION_URI, 5))
        viewer, leg = w.viewer(ViewerSetup(rtx=rtx, mid=False, extensions=mine), profile=profile)
        wire: list[bytes] = []
        leg.wire.watch = wire.append  # type: ignore[method-assign]
        sent: dict[api.Kind, list[Packet]] = {AUDIO: [], VIDEO: []}
        pub.muted = True
        w.run(0.01)
        for i, p in enumerate(published):
            kind = VIDEO if p.video else AUDIO
            carried = [(n, v) for n, v in ((1, p.level), (2, p.orientation)) if v is not None]
            data = pub.packet(
                kind,
                pub.unique(p.size),
                i * 100,
                w.now,
                marker=p.marker,
                csrcs=p.csrcs,
                extensions=tuple(carried),
                ledger=p.size > 0,  # without content there is nothing to forward
            )
            if p.size:
                sent[kind].append(p)
            w.inject(peer, data)
        w.run(0.02)
        for kind in (AUDIO, VIDEO):
            seen = viewer.in_order(kind)
            assert viewer.holes(kind) == 0
            assert [p.payload for p in seen] == [s.payload for s in pub.sent[kind]]
            for got, p in zip(seen, sent[kind], strict=True):
                assert (got.marker, got.csrcs) == (p.marker, p.csrcs)
                carried = [(n, v) for n, v in ((3, p.level), (5, p.orientation)) if v is not None]
                assert sorted(got.extensions) == sorted(carried)
            if seen:
                viewer.nack(kind, viewer.numbers(kind)[-20:])
        w.run(0.02)
        assert_oracle_agrees(profile, viewer.crypto, wire)
        if rtx:
            assert viewer.by_rtx == min(20, len(sent[VIDEO]))


def assert_oracle_agrees(profile: api.SrtpProfile, crypto: Crypto, wire: list[bytes]) -> None:
    """Decrypts each distinct datagram and encrypts it anew, by pylibsrtp; repeated ones are the
    same bytes under the same number."""
    inward = session(profile, crypto.tx_key, inbound=True)
    outward = session(profile, crypto.tx_key, inbound=False)
    seen: dict[tuple[bytes, bytes], bytes] = {}
    for data in wire:
        if is_rtcp(data):
            continue
        name = (data[8:12], data[2:4])
        if name in seen:
            assert seen[name] == data
            continue
        seen[name] = data
        assert outward.protect(inward.unprotect(data)) == data


@pytest.mark.parametrize("engine", ENGINES)
def test_the_roll_over_counter_steps_on_both_sides(engine: str) -> None:
    """66,000 packets, so that the publisher's and every viewer's numbers wrap; a resend from before
    the wrap, asked for after it, has its old counter and its old bytes."""
    with World(engine=engine, audio_slots=1024) as w:
        pub, peer = w.publisher(Setup(has_video=False), profile=PROFILES[1])
        legs = [
            (w.viewer(ViewerSetup(nack=True, mid=False, has_video=False), profile=p), p)
            for p in PROFILES
        ]
        pub.muted = True
        w.run(0.01)
        f = w.forwarder
        inward = {leg.path: session(p, v.crypto.tx_key, inbound=True) for (v, leg), p in legs}
        last: dict[api.Path, tuple[int, int]] = {}
        recent: dict[api.Path, dict[int, bytes]] = {path: {} for path in inward}
        wraps = dict.fromkeys(inward, 0)
        asked: set[api.Path] = set()
        repeated = 0
        for batch in range(330):
            w.now += 4 * MS
            for i in range(200):
                n = batch * 200 + i
                rtp = Rtp(8, False, pub.seq[AUDIO] + n, n * 160, pub.ssrc[AUDIO], b"%8d" % n)
                f.inject(0, peer.path, pub.crypto.protect(rtp.pack()), w.now)
            while f.turn(0, w.now):
                pass
            while (out := f.take_sent(0)) is not None:
                path, data = out
                if path not in inward or is_rtcp(data):
                    continue
                seq = int.from_bytes(data[2:4], "big")
                if seq in recent[path]:
                    assert recent[path][seq] == data
                    repeated += 1
                    continue
                recent[path][seq] = data
                if len(recent[path]) > 400:
                    del recent[path][next(iter(recent[path]))]
                before, count = last.get(path, (seq - 1, -1))
                wraps[path] += seq < before
                assert seq == (before + 1) & 0xFFFF
                last[path] = seq, count + 1
                if count % 16 == 0 or seq > 65400 or seq < 100:
                    plain = parse_rtp(inward[path].unprotect(data))
                    assert plain.payload == b"%8d" % (count + 1)
            for (viewer, leg), _ in legs:
                seq = last[leg.path][0]
                if wraps[leg.path] and seq > 20 and leg.path not in asked:
                    asked.add(leg.path)
                    assert 65530 in recent[leg.path]
                    viewer.nack(AUDIO, [65530, 65535, 65536, 65540])
                    f.inject(0, leg.path, viewer.out.pop(), w.now)
        assert all(count == 65_999 for _, count in last.values())
        assert all(n >= 1 for n in wraps.values())
        assert repeated == 4 * len(legs)
