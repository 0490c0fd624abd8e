"""Peers and streams that come and go, in any order, and a socket that is full."""

from __future__ import annotations

import itertools
import random

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.checks import assert_whole
from tests.pipeline.netem import Conditions
from tests.pipeline.publisher import AUDIO, VIDEO, Setup
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import World


def test_a_full_socket_loses_nothing() -> None:
    """Nobody takes what was sent until 8192 datagrams wait; cursors wait too."""
    with World() as w:
        legs = [w.viewer(ViewerSetup(rtx=i % 2 == 0, nack=False)) for i in range(40)]
        pub, peer = w.publisher(Setup(packets_a_frame=10))
        w.run(0.1)
        take, w.take = w.take, lambda: None  # type: ignore[method-assign]
        w.run(1.2, step_ms=5)
        assert w.drops()["send_again"] > 10
        w.take = take  # type: ignore[method-assign]
        w.rest(pub, 0.5)
        for viewer, _ in legs:
            for kind in (AUDIO, VIDEO):
                assert_whole(viewer, pub, kind)
        stats = w.forwarder.peer_stats(legs[0][1].handle)["tracks"]["video"]
        assert stats["packets"] == len(legs[0][0].got[VIDEO])
        assert peer.open


def test_a_socket_that_is_full_during_posters_loses_none() -> None:
    with World(start_max_bytes=50_000) as w:
        pub, _ = w.publisher(Setup(gop=1000, packets_a_frame=12, answers_pli=False))
        w.run(1)
        take, w.take = w.take, lambda: None  # type: ignore[method-assign]
        legs = [w.viewer(ViewerSetup(nack=False)) for _ in range(700)]
        w.run(0.2, step_ms=5)
        assert w.drops()["send_again"] > 0
        w.take = take  # type: ignore[method-assign]
        w.rest(pub, 0.5)
        key = [s.payload for s in pub.sent[VIDEO] if s.ts == pub.sent[VIDEO][0].ts]
        for viewer, _ in legs:
            assert viewer.payloads(VIDEO) == key
            assert viewer.holes(VIDEO) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_two_hundred_joins_and_leaves_leave_nothing(workers: int) -> None:
    with World(workers=workers, max_peers=32) as w:
        pub, _ = w.publisher(Setup(packets_a_frame=2, packet_size=200))
        stays, _ = w.viewer()
        rng = random.Random(3)
        here = []
        for i in range(200):
            viewer, peer = w.viewer(ViewerSetup(rtx=i % 2 == 0))
            here.append((viewer, peer))
            w.run(0.012, step_ms=4)
            while len(here) > 8 or (here and rng.random() < 0.4):
                _, gone = here.pop(rng.randrange(len(here)))
                w.leave(gone, bye=rng.random() < 0.5)
                w.forget(gone)
        for _, gone in here:
            w.leave(gone)
            w.forget(gone)
        w.run(0.1)
        w.rest(pub)
        assert w.forwarder.stream_stats(w.stream)["viewers"] == 1
        assert sum(s["peers"] for s in w.forwarder.worker_stats()) == 2
        assert sum(isinstance(e, api.PeerGone) for e in w.events) == 200
        for kind in (AUDIO, VIDEO):
            assert_whole(stays, pub, kind)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_peers_close_in_any_order_then_the_stream(order: tuple[int, ...]) -> None:
    with World(workers=2) as w:
        _, a = w.viewer()
        _, b = w.viewer()
        _, p = w.publisher()
        w.run(0.3)
        f = w.forwarder
        with pytest.raises(api.ForwarderError):
            f.close_stream(w.stream)  # its peers are open
        peers = [a, b, p]
        for i in order:
            w.leave(peers[i])
            if i % 2:
                w.run(0.02)
        f.close_stream(w.stream)
        with pytest.raises(api.StaleHandle):
            f.close_stream(w.stream)
        with pytest.raises(api.StaleHandle):
            f.open_peer(w.stream, api.Role.VIEWER)
        w.run(0.05)
        gone = [e for e in w.events if isinstance(e, api.PeerGone)]
        assert {e.peer for e in gone} == {a.handle, b.handle, p.handle}
        assert [e for e in w.events if isinstance(e, api.StreamGone)] == [api.StreamGone(w.stream)]
        assert not any(s["peers"] for s in f.worker_stats())


def test_stale_handles_are_named_and_harmless() -> None:
    with World() as w:
        viewer, peer = w.viewer()
        _, pub = w.publisher()
        w.run(0.1)
        f, h = w.forwarder, peer.handle
        w.leave(peer)
        calls = [
            lambda: f.close_peer(h),
            lambda: f.add_path(h, peer.path),
            lambda: f.select_path(h, peer.path),
            lambda: f.add_ufrag(h, "abcd"),
            lambda: f.peer_stats(h),
            lambda: f.view(h, viewer.subscription()),
            lambda: f.set_format(h, VIDEO, 0, 100, None),
            lambda: f.open_peer(api.StreamHandle(12345), api.Role.VIEWER),
            lambda: f.request_keyframe(api.StreamHandle(1 << 63)),
        ]
        for at_once in (True, False):
            for call in calls:
                with pytest.raises(api.StaleHandle):
                    call()
            if at_once:
                w.run(0.1)
        # The place is taken again, under another handle.
        _, again = w.viewer()
        assert again.handle != h
        w.run(0.1)
        assert f.peer_stats(pub.handle)["role"] == api.Role.PUBLISHER


def test_full_tables_are_said_so_and_change_nothing() -> None:
    with World(max_peers=4, max_streams=2) as w:
        f = w.forwarder
        second = f.open_stream()
        with pytest.raises(api.ForwarderBusy):
            f.open_stream()
        handles = [f.open_peer(second, api.Role.VIEWER) for _ in range(4)]
        with pytest.raises(api.ForwarderBusy):
            f.open_peer(w.stream, api.Role.VIEWER)
        f.close_peer(handles[0])
        w.run(0.01)
        f.open_peer(w.stream, api.Role.VIEWER)


def test_a_viewer_moves_to_the_path_that_ice_selects() -> None:
    with World() as w:
        viewer, peer = w.viewer()
        pub, _ = w.publisher()
        w.run(0.2)
        other = w.new_path(peer, 7000)
        w.forwarder.add_path(peer.handle, other)
        w.run(0.1)
        assert peer.path != other
        assert not peer.taken[other]
        w.forwarder.select_path(peer.handle, other)
        w.run(0.2)
        assert peer.taken[other] > 10
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO)


def test_two_streams_do_not_mix() -> None:
    with World() as w:
        first, _ = w.viewer()
        one, _ = w.publisher()
        w.stream = w.forwarder.open_stream()
        second, _ = w.viewer()
        two, _ = w.publisher(up=Conditions(delay_ms=3))
        w.run(0.5)
        w.rest(one)
        w.rest(two)
        assert_whole(first, one, VIDEO)
        assert_whole(second, two, VIDEO)


@pytest.mark.duty("C2")
def test_idle_peers_are_told() -> None:
    with World() as w:
        _, peer = w.viewer(ViewerSetup(nack=False), up=Conditions(loss=1.0))
        w.run(29, step_ms=50)
        assert not [e for e in w.events if isinstance(e, api.PeerIdle)]
        w.run(13, step_ms=50)
        assert [e.peer for e in w.events if isinstance(e, api.PeerIdle)] == [peer.handle] * 2
