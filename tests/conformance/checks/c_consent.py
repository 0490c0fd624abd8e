"""Consent (RFC 7675): what keeps a session and what ends it."""

from __future__ import annotations

import time

from aiortc.rtp import RtcpByePacket, RtcpRrPacket

from ..harness import Server
from ..peer import RawEnd, Stage
from ..registry import check, not_checked


@check("C3", media=True)
def checks_are_answered_for_ever(server: Server) -> None:
    """Binding requests are answered during the session, with and without USE-CANDIDATE."""
    stage = Stage(server)
    viewer = stage.watched()
    for nominate in (False, True, False, True):
        viewer.probe.replies.clear()
        viewer.probe.ping(nominate=nominate)
        assert viewer.probe.replies[-1].check_message_integrity(viewer.probe.remote.pwd.encode())
    stage.publisher.probe.ping()


@check("C4", media=True)
def bye_is_no_end(server: Server) -> None:
    """An RTCP BYE ends no session; a DTLS close does, and DELETE is 200 afterwards."""
    stage = Stage(server)
    viewer = stage.watched()
    bye = bytes(RtcpRrPacket(1)) + bytes(RtcpByePacket([1]))
    viewer.probe.send_rtp(bye)
    seen = len(viewer.video)
    assert stage.play(lambda: len(viewer.video) > seen + 10), "a BYE has ended the media"
    assert server.request("GET", viewer.session).status in (200, 204)
    for session, probe in (
        (viewer.session, viewer.probe),
        (stage.publisher.session, stage.publisher.probe),
    ):
        probe.hang_up()
        deadline = time.monotonic() + 3
        while server.request("GET", session).status != 404 and time.monotonic() < deadline:
            probe.listen(0.05)
        assert server.request("GET", session).status == 404, "close_notify has not ended it"
        assert server.request("DELETE", session).status == 200, "DELETE after a DTLS close"


@check("S3", media=True)
def delete_closes_dtls(server: Server) -> None:
    """DELETE ends DTLS too: the client is sent close_notify, publisher and viewer alike."""
    stage = Stage(server, make_dtls=RawEnd)
    viewer = stage.watched(make_dtls=RawEnd)
    for session, probe in (
        (viewer.session, viewer.probe),
        (stage.publisher.session, stage.publisher.probe),
    ):
        assert server.request("DELETE", session).status == 200
        assert probe.wait(lambda probe=probe: probe.dtls.closed, 2.0), "no close_notify"


not_checked("C1", "a permission: a lite server need not ask for consent, and this one does not")
not_checked("C2", "takes longer than the 30 s of the time-out")
