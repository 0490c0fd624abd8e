"""Single packets that are out of the ordinary: padding, payload types without a format, RTX,
routing, header extensions, sizes."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder import api
from tests.pipeline.checks import assert_whole
from tests.pipeline.leg import Rtp
from tests.pipeline.publisher import AUDIO, CLOCK, MID_URI, VIDEO, Setup
from tests.pipeline.stage import Stage
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import World


def test_padding_in_order_gets_no_number() -> None:
    with World() as w:
        s = Stage(w, Setup(packets_a_frame=2))
        for i in range(200):  # more than the map of numbers remembers
            s.play([s.padding() for _ in range(i % 3)] + s.frame())
        s.assert_whole()
        assert w.drops()["padding_only"] == 199


def test_late_padding_fills_its_place() -> None:
    with World() as w:
        s = Stage(w)
        pad, after = s.padding(), s.frame()
        s.play(after, 0.004)
        s.play([pad])
        w.run(0.2)
        for viewer in s.viewers:
            assert viewer.holes(VIDEO) == 0
            filled = [p for p in viewer.in_order(VIDEO) if not p.payload]
            assert len(filled) == 1
            assert not viewer.asked
            seen = [p for p in viewer.payloads(VIDEO) if p]
            assert seen == [e.payload for e in s.pub.sent[VIDEO]]


def test_padding_that_was_left_out_and_comes_again_takes_no_other_number() -> None:
    with World() as w:
        s = Stage(w)
        first, second = s.padding(), s.padding()
        numbers = [s.pub.seq[VIDEO] - 2, s.pub.seq[VIDEO] - 1]
        s.play([first, second])
        for n in numbers:
            s.play([s.pub.rtx(s.pub.published(VIDEO, n))])
        s.play(s.frame())
        for n in numbers:
            s.play([s.pub.rtx(s.pub.published(VIDEO, n))])
        s.play(s.frame())
        s.assert_whole()


def test_an_empty_rtx_of_the_newest_packet_changes_nothing() -> None:
    with World() as w:
        s = Stage(w)
        s.play(s.frame())
        newest = s.pub.published(VIDEO, s.pub.seq[VIDEO] - 1)
        s.play([s.pub.rtx(Rtp(96, False, newest.seq, newest.ts, newest.ssrc, b""))])
        s.play(s.frame())
        s.assert_whole()


@pytest.mark.parametrize("late", [False, True])
def test_comfort_noise_leaves_no_hole(late: bool) -> None:
    """CN (RFC 3389) was not answered: its numbers go, or are filled when known too late."""
    with World() as w:
        s = Stage(w)
        s.play(s.audio(3))
        for _ in range(20):
            noise = s.pub.packet(AUDIO, b"\x40", 0, w.now, pt=13, ledger=False)
            voice = s.audio(2)
            s.play([*voice, noise] if late else [noise, *voice], 0.02)
        w.run(0.1)
        assert w.drops()["unknown_payload_type"] == 20
        for viewer in s.viewers:
            assert viewer.holes(AUDIO) == 0
            seen = viewer.payloads(AUDIO)
            assert seen.count(b"") == (20 if late else 0)
            assert [p for p in seen if p] == [e.payload for e in s.pub.sent[AUDIO]]
            assert {p.pt for p in viewer.in_order(AUDIO)} == {8}


@pytest.mark.duty("H18", "G3")
@pytest.mark.parametrize("kind", [AUDIO, VIDEO])
@pytest.mark.parametrize("own_ssrc", [False, True])
def test_helpers_never_reach_a_viewers_numbering(kind: api.Kind, own_ssrc: bool) -> None:
    """RED, ULPFEC, FlexFEC, CN, telephone-event and packets without anything, from a publisher that
    sends them although no answer had them: on the track's SSRC, or on one of their own."""
    helpers = [
        (63, b"\x6f\0"),
        (116, b"\x80" * 20),
        (118, b"\x40" * 30),
        (13, b"\x40"),
        (110, b"\5\0\0\0"),
    ]
    with World() as w:
        s = Stage(w)
        s.play(s.audio(2))
        for turn in range(20):
            number, payload = helpers[turn % len(helpers)]
            if own_ssrc:
                fec = Rtp(number, False, turn, 0, 0xFEC, payload)
                extra = [s.pub.crypto.protect(fec.pack())]
            else:
                extra = [
                    s.pub.packet(kind, payload, 0, w.now, pt=number, ledger=False),
                    s.pub.packet(kind, b"", 0, w.now, ledger=False),
                    s.padding(kind),
                ]
            s.play([*extra, *s.audio(1), *s.frame()], 0.02)
        s.assert_whole(VIDEO, AUDIO)
        for viewer in s.viewers:
            assert all(p.payload for k in (AUDIO, VIDEO) for p in viewer.in_order(k))
            assert not viewer.asked
        drops = w.drops()
        if own_ssrc:
            assert drops["unknown_ssrc"] + drops["unknown_payload_type"] == 20
        else:
            assert (drops["unknown_payload_type"], drops["padding_only"]) == (20, 40)


def test_rtx_is_undone() -> None:
    """A packet that came by RTX alone is like any other to viewers; probes on RTX are dropped."""
    with World() as w:
        s = Stage(w)
        packets = s.frame()
        lost = s.pub.published(VIDEO, s.pub.seq[VIDEO] - 3)
        s.play(packets[:-3] + packets[-2:])
        s.play([s.pub.rtx(lost)])
        s.play([s.pub.on_rtx(b"", padding=120)])
        again = s.pub.published(VIDEO, s.pub.seq[VIDEO] - 1)
        s.play([s.pub.rtx(again)])
        s.play([s.pub.on_rtx(b"\1")])
        s.assert_whole()
        assert w.drops()["rtx_malformed"] == 2
        assert w.drops()["duplicate"] == 1


def test_an_old_number_never_gets_a_second_content() -> None:
    """One packet far ahead, then all those before it, then as many behind it: its slot has left the
    log while its number is still near. RTX with another content for it: dropped, or two contents
    would stand under one nonce (the wire is watched)."""
    with World(video_slots=256) as w:
        s = Stage(w)
        packets = [s.pub.packet(VIDEO, s.pub.unique(50), 0, w.now) for _ in range(320)]
        ahead = s.pub.published(VIDEO, s.pub.seq[VIDEO] - 320 + 249)
        for i in (249, *range(249), *range(250, 320)):
            s.play([packets[i]], 0.001)
        forged = Rtp(96, False, ahead.seq, ahead.ts, ahead.ssrc, s.pub.unique(50))
        s.play([s.pub.rtx(forged)])
        w.run(0.1)
        assert w.drops()["duplicate"] + w.drops()["too_old"] > 0
        published = {e.payload for e in s.pub.sent[VIDEO]}
        assert all(set(v.payloads(VIDEO)) <= published for v in s.viewers)


@pytest.mark.parametrize("by", ["mid", "pt"])
def test_tracks_are_found_without_signalled_ssrcs(by: str) -> None:
    extensions = {3: MID_URI} if by == "mid" else {}
    with World() as w:
        viewer, _ = w.viewer()
        pub, peer = w.publisher(Setup(signals_ssrc=False, extensions=extensions))
        pub.muted = True
        w.run(0.01)
        mids = {AUDIO: b"a", VIDEO: b"v"}
        for i in range(10):
            for kind in (VIDEO, AUDIO):
                carried = ((3, mids[kind]),) if by == "mid" and i < 3 else ()
                payload = (b"\x65" if kind == VIDEO else b"") + pub.unique(100)
                ts = i * CLOCK[kind] // 50
                w.inject(peer, pub.packet(kind, payload, ts, w.now, extensions=carried))
            w.run(0.02)
        w.run(0.1)
        for kind in (AUDIO, VIDEO):
            assert_whole(viewer, pub, kind, from_first=True)


def test_a_stranger_ssrc_is_dropped_while_the_track_is_alive() -> None:
    with World() as w:
        s = Stage(w)
        s.play(s.frame())
        other = Rtp(96, False, 77, 0, 0xDEAD, s.pub.unique(80))
        s.play([s.pub.crypto.protect(other.pack())])
        nowhere = Rtp(55, False, 77, 0, 0xBEEF, s.pub.unique(80))
        s.play([s.pub.crypto.protect(nowhere.pack())])
        s.play(s.frame())
        s.assert_whole()
        assert w.drops()["unknown_ssrc"] == 2


def test_csrcs_and_extensions_of_the_media_go_through_those_of_the_leg_do_not() -> None:
    level, sending = (
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    )
    twcc = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    with World() as w:
        viewer, _ = w.viewer(
            ViewerSetup(mid=False, extensions=((level, 7), (sending, 8), (twcc, 9)))
        )
        pub, peer = w.publisher(Setup(extensions={1: level, 2: sending, 3: twcc, 4: MID_URI}))
        pub.muted = True
        w.run(0.01)
        carried = ((1, b"\x9b"), (2, b"abc"), (3, b"\0\1"), (4, b"a"))
        for i in range(5):
            data = pub.packet(
                AUDIO, pub.unique(20), i, w.now, extensions=carried, csrcs=(1, 2**32 - 1)
            )
            w.inject(peer, data)
            w.run(0.02)
        for p in viewer.in_order(AUDIO):
            assert p.extensions == ((7, b"\x9b"),)
            assert p.csrcs == (1, 2**32 - 1)


def test_media_before_the_keys_is_not_lost() -> None:
    with World() as w:
        viewer, _ = w.viewer()
        pub, peer = w.publisher(with_keys=False)
        w.run(0.3)
        assert not viewer.numbers(VIDEO)
        w.keys(peer)
        w.run(0.3)
        w.rest(pub)
        assert_whole(viewer, pub, VIDEO, from_first=True)
        assert viewer.in_order(AUDIO)


def test_the_largest_packet_fits_and_a_larger_one_is_dropped() -> None:
    with World() as w:
        s = Stage(w)
        for size in (1300, 1400, 1500):
            s.play([s.pub.packet(VIDEO, b"\x41" + s.pub.unique(size), 9, w.now)])
        s.assert_whole()
        with pytest.raises(api.ForwarderError):
            w.inject(s.peer, bytes(1601))
