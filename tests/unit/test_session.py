"""One session against a real STUN and DTLS peer in memory: connecting, paths, timers, the end."""

from __future__ import annotations

import pytest

from rtcfwd.dtls import DtlsState
from rtcfwd.forwarder.api import ForwarderBusy, Path, PeerGone, PeerIdle, Punt
from rtcfwd.sdp import parse_fragment
from rtcfwd.session.dispatch import ufrag_of
from rtcfwd.session.registry import Refused
from rtcfwd.session.states import SESSION_TRANSITIONS, SessionState, StreamState, step
from tests.unit.sdp_tools import golden
from tests.unit.session_tools import LOCAL, World


def test_a_publisher_connects_and_its_keys_are_installed() -> None:
    world = World()
    session = world.publish()
    assert session.state is SessionState.NEW
    client = world.connected(session)
    assert session.state is SessionState.CONNECTED
    assert session.peer is not None
    peer = world.forwarder.peers[session.peer]
    assert peer.paths == [client.path]
    assert peer.selected == client.path
    assert peer.keys is not None
    assert client.dtls.keys is not None
    assert peer.keys == (client.dtls.keys.profile, client.dtls.keys.tx, client.dtls.keys.rx)
    assert peer.publication is not None


@pytest.mark.duty("M5", "M10")
def test_the_path_is_installed_before_the_reply_leaves() -> None:
    world = World()
    session = world.publish()
    client = world.client(session)
    client.check()
    names = [name for name, _ in world.forwarder.calls]
    assert names[-2:] == ["add_path", "select_path"]
    assert len(world.forwarder.sent) == 1


def test_a_passive_client_gets_our_client_hello_and_its_repetition() -> None:
    world = World()
    session = world.publish(offer=golden("ffmpeg9-whip-offer.sdp"))
    client = world.client(session)
    answers = client.check()
    assert [data[0] for data in answers] == [1, 22]  # the STUN success, then the ClientHello
    world.forwarder.sent.clear()
    world.advance(0.07)
    ((_, path, again),) = world.forwarder.sent
    assert path == client.path
    assert again[13:] == answers[1][13:]  # behind the record header
    client.dtls.receive(answers[1], world.now)
    client.exchange_dtls()
    assert session.state is SessionState.CONNECTED


@pytest.mark.duty("M4")
def test_media_follows_the_nominated_path_and_old_paths_give_way() -> None:
    world = World()
    session = world.view() if world.publish() else None
    assert session is not None
    assert session.peer is not None
    client = world.connected(session)
    paths = [Path(("203.0.113.5", 5000 + n), LOCAL) for n in range(10)]
    for path in paths:
        client.check(nominate=False, path=path)
    peer = world.forwarder.peers[session.peer]
    assert peer.selected == client.path
    client.check(path=paths[3])
    assert peer.selected == paths[3]
    calls = len(world.forwarder.calls)
    client.check(path=paths[3])  # the same again: nothing to install
    assert len(world.forwarder.calls) == calls
    client.check(path=paths[0])  # has given way since, is verified anew
    assert peer.paths[-1] == paths[0]


def test_a_full_queue_at_a_check_is_tried_again_at_the_next() -> None:
    world = World()
    session = world.publish()
    client = world.client(session)
    add_path = world.forwarder.add_path

    def busy(peer: object, path: Path) -> None:
        raise ForwarderBusy("full")

    world.forwarder.add_path = busy  # type: ignore[method-assign, assignment]
    assert client.check() == []  # no success for a path that does not work
    world.forwarder.add_path = add_path  # type: ignore[method-assign]
    client.connect()
    assert session.state is SessionState.CONNECTED


@pytest.mark.duty("C4", "S1")
def test_close_notify_ends_the_session_and_delete_still_answers() -> None:
    world = World()
    client = world.connected(world.publish())
    client.close()
    assert client.session.state is SessionState.CLOSED
    assert world.forwarder.peers == {}
    assert world.registry.delete(client.session.id)
    world.advance(31)
    assert not world.registry.delete(client.session.id)
    world.assert_empty()


@pytest.mark.duty("S3")
def test_delete_sends_close_notify() -> None:
    world = World()
    client = world.connected(world.publish())
    before = len(world.forwarder.sent)
    assert world.registry.delete(client.session.id)
    ((_, path, data),) = world.forwarder.sent[before:]
    assert path == client.path
    client.dtls.receive(data, world.now)
    assert client.dtls.state is DtlsState.CLOSED
    close = [args for name, args in world.forwarder.calls if name == "close_peer"]
    assert close == [(client.session.peer, True)]  # with BYE


@pytest.mark.parametrize("checked", [False, True])
def test_who_does_not_connect_in_time_is_reaped(checked: bool) -> None:
    world = World()
    session = world.publish()
    if checked:
        world.client(session).check()
    world.advance(29)
    assert session.state is not SessionState.CLOSED
    world.advance(2)
    assert session.state is SessionState.CLOSED
    world.advance(31)
    world.assert_empty()


@pytest.mark.duty("D4")
def test_a_wrong_certificate_gets_no_keys() -> None:
    world = World()
    session = world.registry.publish("demo", golden("chromium156-sendonly-h264-pcma.sdp"))
    client = world.client(session)
    client.check()
    client.dtls.start(world.now)
    client.exchange_dtls()
    assert session.state is SessionState.CLOSED
    assert session.reason.startswith("DTLS failed")
    assert not [name for name, _ in world.forwarder.calls if name == "set_keys"]


@pytest.mark.duty("C1", "C2")
def test_idle_counts_stun_too() -> None:
    world = World()
    client = world.connected(world.publish())
    assert client.session.peer is not None
    world.advance(25)
    client.check()
    world.advance(10)
    world.dispatch(PeerIdle(client.session.peer))
    assert client.session.state is SessionState.CONNECTED
    world.advance(21)
    world.dispatch(PeerIdle(client.session.peer))
    assert client.session.state is SessionState.CLOSED


def test_a_peer_that_the_data_plane_drops_is_closed() -> None:
    world = World()
    client = world.live()
    assert client.session.peer is not None
    world.dispatch(PeerGone(client.session.peer))
    assert client.session.state is SessionState.CLOSED
    assert "demo" not in world.registry.streams


@pytest.mark.parametrize("data", [b"", b"\x00", bytes(20), b"\x16" * 40, bytes(range(256)) * 5])
def test_junk_changes_nothing(data: bytes) -> None:
    world = World()
    client = world.connected(world.publish())
    for protocol in ("stun", "dtls"):
        for peer in (client.session.peer, None):
            world.dispatch(Punt(protocol, 0, client.path, peer, data))
    username = b"\x00\x06\x00\x08" + client.session.agent.local_ufrag.encode()
    world.dispatch(Punt("stun", 0, client.path, None, bytes(20) + username + data))
    assert client.session.state is SessionState.CONNECTED


def test_a_datagram_from_port_0_is_not_answered() -> None:
    world = World()
    client = world.client(world.publish())
    assert client.check(path=Path(("198.51.100.7", 0), LOCAL)) == []


@pytest.mark.parametrize(
    ("data", "ufrag"),
    [
        (b"", None),
        (bytes(20), None),
        (bytes(20) + b"\x00\x06\x00\x05ab:cd\0\0\0", "ab"),
        (bytes(20) + b"\x00\x24\x00\x04\0\0\0\0\x00\x06\x00\x02xy", "xy"),
        (bytes(20) + b"\x00\x06\xff\xffab", "ab"),
        (bytes(20) + b"\x00\x06\x00\x02\xff\xfe", "��"),
    ],
)
def test_ufrag_of_a_username(data: bytes, ufrag: str | None) -> None:
    assert ufrag_of(data) == ufrag


def test_states_follow_the_table() -> None:
    assert step(SESSION_TRANSITIONS, SessionState.NEW, SessionState.NEW) is SessionState.NEW
    with pytest.raises(ValueError, match="must not become"):
        step(SESSION_TRANSITIONS, SessionState.CLOSED, SessionState.NEW)
    world = World()
    world.live()
    stream = world.registry.streams["demo"]
    with pytest.raises(ValueError, match="must not become"):
        stream.become(StreamState.IDLE)


RESTART = parse_fragment(b"a=ice-ufrag:again\r\na=ice-pwd:" + b"a" * 24 + b"\r\n")


def test_an_ice_restart_keeps_media_on_its_path_until_the_new_credentials_select_one() -> None:
    world = World()
    client = world.connected(world.publish())
    session, registry = client.session, world.registry
    assert session.peer is not None
    peer = world.forwarder.peers[session.peer]
    old, etag = session.agent.local_ufrag, session.etag
    assert session.is_restart(RESTART)
    registry.restart(session, RESTART)
    new = session.agent.local_ufrag
    assert session.etag != etag
    assert not session.is_restart(RESTART)
    assert peer.ufrags == {old, new}
    assert peer.selected == client.path
    elsewhere = Path(("203.0.113.9", 1234), LOCAL)
    client.check(path=elsewhere)  # signed with the new credentials
    assert peer.selected == elsewhere
    names = [call for call in world.forwarder.calls if call[0].endswith("_ufrag")]
    assert names[-2:] == [
        ("remove_ufrag", (session.peer, new)),  # known without its password until now
        ("add_ufrag", (session.peer, new)),
    ]
    assert registry.by_ufrag == {old: session, new: session}
    world.advance(31)  # the old credentials' time is over
    assert peer.ufrags == {new}
    assert registry.by_ufrag == {new: session}
    assert session.state is SessionState.CONNECTED
    client.close()
    world.advance(31)
    world.assert_empty()


def test_many_restarts_leave_three_ufrags_at_most() -> None:
    world = World()
    session = world.connected(world.publish()).session
    assert session.peer is not None
    for n in range(40):
        body = f"a=ice-ufrag:next{n}\r\na=ice-pwd:{'b' * 24}\r\n".encode()
        world.registry.restart(session, parse_fragment(body))
        assert world.forwarder.peers[session.peer].ufrags == set(session.agent.ufrags())
        assert set(world.registry.by_ufrag) == set(session.agent.ufrags())
        assert len(session.agent.ufrags()) <= 3


def test_a_restart_that_the_data_plane_has_no_room_for_changes_nothing() -> None:
    world = World()
    session = world.connected(world.publish()).session
    before = (session.agent.ufrags(), session.etag, session.agent.remote_ufrag)

    def busy(*_: object) -> None:
        raise ForwarderBusy("full")

    world.forwarder.add_ufrag = busy  # type: ignore[method-assign, assignment]
    with pytest.raises(Refused):
        world.registry.restart(session, RESTART)
    assert (session.agent.ufrags(), session.etag, session.agent.remote_ufrag) == before
    assert session.state is SessionState.CONNECTED
