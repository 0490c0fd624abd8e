"""Header extensions from leg to leg (RFC 8285): by URI, under the viewer's own ids, in the form its
leg allows; what belongs to one hop ends there, what nobody negotiated goes nowhere."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder import api
from rtcfwd.forwarder._forwarder import EXTENSIONS
from tests.pipeline.publisher import AUDIO, MID_URI, VIDEO, Publisher, Setup
from tests.pipeline.viewer import ViewerSetup
from tests.pipeline.world import Peer, World

_WEBRTC = "http://www.webrtc.org/experiments/rtp-hdrext/"
LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
ORIENTATION = "urn:3gpp:video-orientation"
DELAY = _WEBRTC + "playout-delay"
CAPTURE = _WEBRTC + "abs-capture-time"
DEPENDENCY = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)
PASSED = (LEVEL, ORIENTATION, DELAY, CAPTURE, DEPENDENCY)
TWCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
SEND_TIME = _WEBRTC + "abs-send-time"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
RRID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
HOP = (TWCC, SEND_TIME, RID, RRID, "urn:ietf:params:rtp-hdrext:toffset")
VALUES = {
    LEVEL: b"\x9b", ORIENTATION: b"\x03", DELAY: b"\0\x10\x20", CAPTURE: bytes(range(8)),
    DEPENDENCY: b"\x80\x01\x02", TWCC: b"\0\7", SEND_TIME: b"abc", RID: b"hi", RRID: b"lo",
    HOP[-1]: b"\0\0\1",
}  # fmt: skip


def publish(w: World, ids: dict[int, str]) -> tuple[Publisher, Peer]:
    pub, peer = w.publisher(Setup(extensions=ids))
    pub.muted = True
    w.run(0.01)
    w.run(0.01)
    for data in pub.frame_packets(w.now, key=True):
        w.inject(peer, data)
    w.run(0.01)
    return pub, peer


def send(w: World, pub: Publisher, peer: Peer, kind: api.Kind, *items: tuple[int, bytes]) -> None:
    payload = (b"\x41" if kind == VIDEO else b"") + pub.unique(40)
    w.inject(peer, pub.packet(kind, payload, pub.rtp_time(kind, w.now), w.now, extensions=items))
    w.run(0.02)


@pytest.mark.duty("H16", "R9")
@pytest.mark.parametrize("kind", [AUDIO, VIDEO])
@pytest.mark.parametrize("form", ["one-byte", "two-byte"])
def test_every_forwarded_extension_gets_the_viewers_id(kind: api.Kind, form: str) -> None:
    """Up ids 1.. or, in the two-byte form, 201..; down others on each leg, or none."""
    first = 1 if form == "one-byte" else 201
    up = {first + i: uri for i, uri in enumerate((*PASSED, *HOP))}
    one = {uri: 14 - i for i, uri in enumerate(PASSED)}
    two = {uri: 40 + i for i, uri in enumerate(PASSED)}
    none: dict[str, int] = {}
    with World() as w:
        legs = [
            (w.viewer(ViewerSetup(mid=False, extensions=tuple(ids.items())))[0], ids)
            for ids in (one, two, none, {CAPTURE: 3})
        ]
        pub, peer = publish(w, up)
        items = tuple((number, VALUES[uri]) for number, uri in up.items())
        # A slot holds six of those that are passed; the unknown id 15 or 255 ends nowhere.
        for _ in range(5):
            send(w, pub, peer, kind, *items, (15 if form == "two-byte" else 13, b"?"))
        for viewer, ids in legs:
            got = viewer.in_order(kind)[-5:]
            expected = tuple((ids[u], VALUES[u]) for u in PASSED if u in ids)
            assert [p.extensions for p in got] == [expected] * 5
            assert [p.payload for p in got] == [s.payload for s in pub.sent[kind][-5:]]


@pytest.mark.duty("H16")
def test_what_belongs_to_one_hop_ends_there_even_where_the_viewer_negotiated_it() -> None:
    with World() as w:
        down = tuple((uri, 1 + i) for i, uri in enumerate(HOP))
        viewer, _ = w.viewer(ViewerSetup(mid=False, extensions=down))
        pub, peer = publish(w, {5 + i: uri for i, uri in enumerate(HOP)})
        for _ in range(5):
            send(w, pub, peer, AUDIO, *((5 + i, VALUES[uri]) for i, uri in enumerate(HOP)))
        assert len(viewer.in_order(AUDIO)) == 5
        assert all(p.extensions == () for p in viewer.in_order(AUDIO))


@pytest.mark.duty("H16", "R6")
def test_mid_is_the_viewers_own() -> None:
    with World() as w:
        viewer, _ = w.viewer(ViewerSetup(extensions=((LEVEL, 2),)))
        pub, peer = publish(w, {9: MID_URI, 1: LEVEL})
        send(w, pub, peer, AUDIO, (9, b"a"), (1, b"\x11"))
        (packet,) = viewer.in_order(AUDIO)
        assert dict(packet.extensions) == {4: b"1", 2: b"\x11"}


@pytest.mark.duty("H16")
@pytest.mark.parametrize("mixed", [True, False])
def test_the_two_byte_form_needs_extmap_allow_mixed(mixed: bool) -> None:
    """A dependency descriptor with its structure is longer than the one-byte form holds: it comes
    whole, or, on a leg without extmap-allow-mixed, it alone stays away."""
    structure = bytes(range(60))
    with World() as w:
        setup = ViewerSetup(mid=False, extensions=((DEPENDENCY, 4), (CAPTURE, 5)), mixed=mixed)
        viewer, _ = w.viewer(setup)
        pub, peer = publish(w, {1: DEPENDENCY, 2: CAPTURE})
        send(w, pub, peer, VIDEO, (1, structure), (2, VALUES[CAPTURE]))
        send(w, pub, peer, VIDEO, (1, b"\1\2\3"), (2, VALUES[CAPTURE]))
        long, short = (dict(p.extensions) for p in viewer.in_order(VIDEO)[-2:])
        assert short == {4: b"\1\2\3", 5: VALUES[CAPTURE]}
        assert long == short | {4: structure} if mixed else {5: VALUES[CAPTURE]}


@pytest.mark.duty("H14", "H16")
@pytest.mark.parametrize("rtx", [True, False])
def test_a_resend_has_the_extensions_of_the_first_time(rtx: bool) -> None:
    with World() as w:
        viewer, its = w.viewer(ViewerSetup(rtx=rtx, extensions=((ORIENTATION, 7), (DELAY, 8))))
        pub, peer = publish(w, {3: ORIENTATION})
        for turn in range(4):
            send(w, pub, peer, VIDEO, (3, bytes([turn])))
        numbers = viewer.numbers(VIDEO)[-4:]
        first = [viewer.got[VIDEO][n].extensions for n in numbers]
        assert [dict(e)[7] for e in first] == [bytes([turn]) for turn in range(4)]
        again: list[object] = []
        viewer._take = lambda kind, packet, now: again.append(packet.extensions)  # type: ignore[method-assign]
        viewer.nack(VIDEO, numbers)
        w.run(0.1)
        if rtx:
            assert again == first
        else:  # the same bytes under the same number: the viewer's replay check keeps them out
            assert its.wire.repeated == 4


def test_all_of_them_are_known_to_the_data_plane() -> None:
    assert set(PASSED) | set(HOP) | {MID_URI} <= set(EXTENSIONS)
