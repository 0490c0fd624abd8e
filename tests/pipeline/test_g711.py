"""G.711 through the whole data plane (SRTP on both legs): a law goes to its own viewers byte for
byte, to viewers of the other law by the ITU's table, made once a stream whatever their number."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder import api
from tests.g711 import A_OF_MU, ALL, MU_OF_A, to_a, to_mu
from tests.pipeline.checks import assert_clock
from tests.pipeline.netem import Conditions
from tests.pipeline.publisher import AUDIO, Publisher, Setup
from tests.pipeline.viewer import Viewer, ViewerSetup
from tests.pipeline.world import Peer, World

A, MU = 0, 1  # formats of the stream
PT = {A: 8, MU: 0}
CODEC = {A: api.Codec.PCMA, MU: api.Codec.PCMU}
CONVERT = {A: to_mu, MU: to_a}


def setup(law: int, *, derived: bool, **more: object) -> ViewerSetup:
    """A viewer that gets ``law`` in its own law, or that has only the other one."""
    pt = PT[1 - law] if derived else PT[law]
    wanted = frozenset({law}) if derived else frozenset()
    return ViewerSetup(audio={law: pt}, derived=wanted, has_video=False, **more)  # type: ignore[arg-type]


def publish(w: World, law: int, **more: Conditions) -> tuple[Publisher, Peer]:
    return w.publisher(
        Setup(audio_codec=CODEC[law], audio_format=law, audio_pt=PT[law], has_video=False), **more
    )


def assert_converted(viewer: Viewer, pub: Publisher, law: int) -> None:
    """What it has is the publisher's, in the other law: numbers, clock and markers as ever."""
    packets = viewer.in_order(AUDIO)
    assert viewer.holes(AUDIO) == 0
    ledger = pub.sent[AUDIO]
    other = [CONVERT[law](s.payload) for s in ledger]
    first = other.index(packets[0].payload)
    assert [p.payload for p in packets] == other[first:]
    assert {p.pt for p in packets} == {PT[1 - law]}
    assert_clock(packets, ledger[first:])


@pytest.mark.duty("G1", "H20")
@pytest.mark.parametrize("law", [A, MU])
def test_all_code_words_to_both_laws(law: int) -> None:
    with World() as w:
        same, _ = w.viewer(setup(law, derived=False))
        other, _ = w.viewer(setup(law, derived=True))
        pub, peer = publish(w, law)
        pub.muted = True
        w.run(0.01)
        for i in range(3):
            w.inject(peer, pub.packet(AUDIO, ALL, i * 256, w.now, marker=not i))
            w.run(0.02)
        table = MU_OF_A if law == A else A_OF_MU
        assert same.payloads(AUDIO) == [ALL] * 3
        assert other.payloads(AUDIO) == [table] * 3
        for viewer, pt in ((same, PT[law]), (other, PT[1 - law])):
            packets = viewer.in_order(AUDIO)
            assert [p.marker for p in packets] == [True, False, False]
            assert [p.ts - packets[0].ts for p in packets] == [0, 256, 512]
            assert {p.pt for p in packets} == {pt}


@pytest.mark.parametrize("law", [A, MU])
def test_the_log_is_made_once_and_goes_with_its_last_viewer(law: int) -> None:
    with World() as w:
        pub, _ = publish(w, law)
        same, _ = w.viewer(setup(law, derived=False))
        w.run(0.1)
        without = w.forwarder.memory_stats()["streams"]
        legs = [w.viewer(setup(law, derived=True)) for _ in range(3)]
        w.run(0.1)
        made = w.forwarder.memory_stats()["streams"]
        assert made - without > 512 * 1600
        legs += [w.viewer(setup(law, derived=True)) for _ in range(20)]
        w.run(0.2)
        assert w.forwarder.memory_stats()["streams"] == made
        assert w.forwarder.stream_stats(w.stream)["derived_viewers"] == 23
        w.rest(pub)
        for viewer, _ in legs:
            assert_converted(viewer, pub, law)
        assert same.holes(AUDIO) == 0
        for _, peer in legs:
            w.leave(peer)
            w.run(0.01)
        assert w.forwarder.memory_stats()["streams"] == without
        assert w.forwarder.stream_stats(w.stream)["derived_viewers"] == 0
        pub.resume()
        late, _ = w.viewer(setup(law, derived=True))
        w.run(0.3)
        w.rest(pub)
        assert_converted(late, pub, law)


@pytest.mark.duty("R4")
@pytest.mark.parametrize("workers", [1, 3])
def test_nacks_reach_the_derived_log(workers: int) -> None:
    lossy = Conditions(delay_ms=10, jitter_ms=3, loss=0.1, reorder=0.02)
    with World(workers=workers, seed=11) as w:
        pub, _ = publish(w, A, up=lossy)
        legs = [w.viewer(setup(A, derived=True), up=lossy, down=lossy) for _ in range(4)]
        w.run(4)
        w.settle(pub)
        for viewer, peer in legs:
            assert_converted(viewer, pub, A)
            assert viewer.asked > 5
            assert w.forwarder.peer_stats(peer.handle)["tracks"]["audio"]["resent"] > 5


def test_a_publisher_of_the_other_law_takes_over() -> None:
    """Same SSRC, the next number: each viewer goes on in the law it has."""
    with World() as w:
        mu_setup = ViewerSetup(audio={A: 0, MU: 0}, derived=frozenset({A}), has_video=False)
        mu_only, _ = w.viewer(mu_setup)
        a_only, its = w.viewer(setup(A, derived=False))
        one, peer = publish(w, A)
        w.run(0.5)
        w.rest(one)
        w.leave(peer)
        w.forwarder.set_format(its.handle, AUDIO, MU, 8, None, derived=True)
        w.run(0.2)
        two, _ = publish(w, MU)
        w.run(0.5)
        w.rest(two)
        first, second = ([s.payload for s in p.sent[AUDIO]] for p in (one, two))
        assert mu_only.payloads(AUDIO) == [to_mu(p) for p in first] + second
        assert a_only.payloads(AUDIO) == first + [to_a(p) for p in second]
        for viewer, pt in ((mu_only, 0), (a_only, 8)):
            assert viewer.holes(AUDIO) == 0
            assert {p.pt for p in viewer.in_order(AUDIO)} == {pt}
        assert w.forwarder.stream_stats(w.stream)["derived_viewers"] == 2
        mu_only.nack(AUDIO, mu_only.numbers(AUDIO)[-len(second) - 10 :])
        w.run(0.1)  # the viewer compares each resend with what it had


def test_what_has_no_content_is_the_same_in_both_laws() -> None:
    """Late padding fills its number; a codec that is no G.711 passes a viewer of G.711 by."""
    with World() as w:
        viewer, _ = w.viewer(setup(A, derived=True))
        pub, peer = publish(w, A)
        pub.muted = True
        w.run(0.01)
        for i in range(10):
            voice = pub.packet(AUDIO, pub.unique(80), i * 160, w.now)
            pad = pub.packet(AUDIO, b"", i * 160, w.now, padding=20, ledger=False)
            after = pub.packet(AUDIO, pub.unique(80), i * 160 + 80, w.now)
            for data in (voice, after, pad) if i % 2 else (voice, pad, after):
                w.inject(peer, data)
                w.run(0.003)
        w.run(0.1)
        assert viewer.holes(AUDIO) == 0
        got = viewer.payloads(AUDIO)
        assert got.count(b"") == 5
        assert [p for p in got if p] == [to_mu(s.payload) for s in pub.sent[AUDIO]]


def test_video_has_no_other_law() -> None:
    with World() as w:
        _, peer = w.viewer()
        with pytest.raises(api.ForwarderError):
            w.forwarder.set_format(peer.handle, api.Kind.VIDEO, 3, 100, None, derived=True)
        assert w.forwarder.stream_stats(w.stream)["derived_viewers"] == 0
