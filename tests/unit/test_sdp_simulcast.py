"""Simulcast in WHIP offers and answers (RFC 8853, RFC 8851; W23): OBS' and a browser's."""

from __future__ import annotations

import pytest

from rtcfwd.forwarder.api import Kind, Role
from rtcfwd.sdp import SdpError, parse_offer
from tests.unit.sdp_tools import golden, publish, strict
from tests.unit.session_tools import World


def crlf(name: str) -> bytes:
    return golden(name).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


OBS = crlf("made-obs-whip-offer.sdp")
CHROMIUM = crlf("chromium156-sendonly-h264-pcma.sdp")
SIMULCAST = b"a=rid:0 send\r\na=rid:1 send\r\na=simulcast:send 0;1\r\n"


def with_simulcast(offer: bytes, lines: bytes) -> bytes:
    """``lines`` at the end of the video section, which is the last one with the RID extension."""
    assert offer.endswith(b"\r\n")
    head, mark, tail = offer.partition(b"m=video")
    assert mark
    section, more, rest = tail.partition(b"m=")
    return head + mark + section + lines + more + rest


def rids(offer: bytes) -> tuple[str, ...]:
    return next(s.rids for s in parse_offer(offer).media if s.kind == Kind.VIDEO)


def answered(offer: bytes) -> list[str]:
    _, sections = strict(publish(offer).sdp)
    video = next(s for s in sections if s.media == "video")
    return [f"a={line}" for line in video.attributes if line.startswith(("rid:", "simulcast:"))]


@pytest.mark.duty("W23")
def test_obs_gets_all_its_layers() -> None:
    """OBS aborts unless the answer has a=simulcast with as many layers as it offered, on a line
    that ends in CRLF."""
    answer = publish(OBS)
    assert answered(OBS) == ["a=rid:0 recv", "a=rid:1 recv", "a=simulcast:recv 0;1"]
    assert b"a=simulcast:recv 0;1\r\n" in answer.sdp
    track = next(t for t in answer.publication.tracks if t.kind == Kind.VIDEO)
    assert track.rids == ("0", "1")
    assert set(answer.publication.extensions.values()) == {
        "urn:ietf:params:rtp-hdrext:sdes:mid",
        "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    }


@pytest.mark.duty("W23")
def test_a_browser_gets_all_its_layers() -> None:
    """Chromium's addTransceiver with three encodings: RID and repaired RID are answered too."""
    lines = b"a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f\r\n"
    offer = with_simulcast(CHROMIUM, lines)
    assert answered(offer) == [
        "a=rid:q recv", "a=rid:h recv", "a=rid:f recv", "a=simulcast:recv q;h;f",
    ]  # fmt: skip
    extensions = publish(offer).publication.extensions.values()
    assert "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" in extensions
    assert "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id" in extensions


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (b"a=rid:a send\r\na=rid:b send\r\na=simulcast:send ~a;b\r\n", ("a", "b")),
        (b"a=rid:a send pt=96\r\na=rid:b send\r\na=simulcast:send x,a;b\r\n", ("a", "b")),
        (b"a=rid:a send\r\na=rid:b send\r\na=simulcast:recv c send b;a\r\n", ("b", "a")),
        (b"a=rid:a send\r\na=rid:b recv\r\na=simulcast:send a;b\r\n", ()),  # one is left
        (b"a=rid:a send\r\na=simulcast:send a;a\r\n", ()),
        (b"a=rid:a send\r\na=rid:b send\r\n", ()),
        (b"a=rid:\r\na=simulcast:\r\n", ()),
        (b"a=simulcast:send ;;,~\r\n", ()),
        (b"a=rid:a send\r\na=rid:" + b"b" * 17 + b" send\r\na=simulcast:send a;" + b"b" * 17
         + b"\r\n", ()),
    ],
)  # fmt: skip
def test_what_counts_as_simulcast(lines: bytes, found: tuple[str, ...]) -> None:
    assert rids(with_simulcast(CHROMIUM, lines)) == found


def test_without_the_rid_extension_there_is_one_layer() -> None:
    offer = OBS.replace(b"a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n", b"")
    assert answered(offer) == []
    assert publish(offer).publication.tracks[1].rids == ()


def test_more_layers_than_are_held_are_refused() -> None:
    more = b"".join(b"a=rid:%d send\r\n" % i for i in range(5)) + b"a=simulcast:send 0;1;2;3;4\r\n"
    with pytest.raises(SdpError) as caught:
        publish(OBS.replace(SIMULCAST, more))
    assert caught.value.status == 422
    assert "4 at most" in caught.value.detail


def test_a_viewer_keeps_its_choice_by_name_over_a_new_publisher() -> None:
    """The next publisher lists the same layers in another order: the RID counts, not the place."""
    w = World()
    publisher = w.live(offer=OBS)
    viewer = w.view()
    assert viewer.peer is not None
    stream = w.registry.streams["demo"]
    viewer.select_layer("1", stream.rids)
    assert w.forwarder.peers[viewer.peer].layer == 1
    publisher.session.close("gone")
    w.pump()
    w.live(offer=OBS.replace(b"send 0;1", b"send 1;0"))
    assert w.forwarder.peers[viewer.peer].layer == 0
    viewer.select_layer("", stream.rids)
    assert w.forwarder.peers[viewer.peer].layer is None
    viewer.select_layer("no such", stream.rids)
    assert w.forwarder.peers[viewer.peer].layer is None
    assert viewer.role is Role.VIEWER
