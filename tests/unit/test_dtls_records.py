"""What is left of DTLS after the handshake: alerts, late flights and refusals, sealed and opened
without OpenSSL; held against OpenSSL at the other end."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from OpenSSL import SSL

from rtcfwd import dtls
from rtcfwd.dtls import DtlsState, DtlsTransport
from rtcfwd.dtls_records import HEADER, SUITES, Records, prf, split
from tests.unit.dtls_tools import (
    OURS,
    THEIRS,
    RawPeer,
    assert_connected,
    handshake,
    link,
    raw_context,
)
from tests.unit.test_dtls_peers import rsa_certificate, rsa_fingerprint

ECDSA = [name for name in SUITES if "ECDSA" in name]
each_suite = pytest.mark.parametrize("suite", ECDSA)
each_role = pytest.mark.parametrize("is_client", [True, False], ids=["client", "server"])


def pair(suite: str, *, is_client: bool) -> tuple[DtlsTransport, RawPeer]:
    """Ours, connected in that role with that suite, and OpenSSL."""
    ours = DtlsTransport(
        certificate=OURS, is_client=is_client, remote_fingerprints=[THEIRS.fingerprint]
    )
    peer = RawPeer(raw_context(ciphers=suite.encode()), is_client=not is_client)
    handshake(peer, ours)
    assert ours.state is DtlsState.CONNECTED, ours.error
    assert peer.ssl.get_cipher_name() == suite
    return ours, peer


def test_every_suite_that_is_offered_is_known() -> None:
    offered = dtls._CIPHERS.decode().split(":")
    assert set(offered) == set(SUITES)


@each_suite
@each_role
@pytest.mark.duty("S3", "C4")
def test_our_close_notify_is_understood(suite: str, is_client: bool) -> None:
    ours, peer = pair(suite, is_client=is_client)
    ours.close()
    peer.step(ours.take_datagrams())
    assert isinstance(peer.error, SSL.ZeroReturnError)


@each_suite
@each_role
@pytest.mark.duty("C4")
def test_their_close_notify_is_heard_and_answered(suite: str, is_client: bool) -> None:
    ours, peer = pair(suite, is_client=is_client)
    peer.ssl.shutdown()
    (alert,) = peer.take()
    ours.receive(alert, 1.0)
    ours.receive(alert, 1.0)  # doubled by the network
    assert ours.state is DtlsState.CLOSED
    answers = ours.take_datagrams()
    assert len(answers) == 1
    peer.step(answers)
    assert isinstance(peer.error, SSL.ZeroReturnError)


def test_close_notify_behind_the_finished_in_one_datagram() -> None:
    ours = DtlsTransport(
        certificate=OURS, is_client=False, remote_fingerprints=[THEIRS.fingerprint]
    )
    other = DtlsTransport(
        certificate=THEIRS, is_client=True, remote_fingerprints=[OURS.fingerprint]
    )
    other.start(0.0)
    for datagram in other.take_datagrams():
        ours.receive(datagram, 0.0)
    for datagram in ours.take_datagrams():
        other.receive(datagram, 0.0)
    flight = b"".join(other.take_datagrams())
    assert other._records is not None
    other._records._number = 1
    ours.receive(flight + other._records.seal(21, b"\1\0"), 0.0)
    assert ours.state is DtlsState.CLOSED


@each_suite
def test_a_repeated_finished_is_answered_and_the_answer_taken(suite: str) -> None:
    """The server's last flight is lost; the client repeats its own, the server too."""
    ours = DtlsTransport(
        certificate=OURS, is_client=False, remote_fingerprints=[THEIRS.fingerprint]
    )
    peer = RawPeer(raw_context(ciphers=suite.encode()), is_client=True)
    for datagram in peer.step():
        ours.receive(datagram, 0.0)
    flight = peer.step(ours.take_datagrams())
    for datagram in flight:
        ours.receive(datagram, 0.0)
    assert ours.state is DtlsState.CONNECTED
    ours.take_datagrams()  # lost
    for datagram in flight:
        ours.receive(datagram, 1.0)
    peer.step(ours.take_datagrams())
    assert peer.done
    assert ours.keys is not None
    ours.close()
    peer.step(ours.take_datagrams())
    assert isinstance(peer.error, SSL.ZeroReturnError)


@each_suite
@pytest.mark.duty("D9")
def test_a_lost_last_flight_costs_a_client_50_ms(suite: str) -> None:
    """OpenSSL as server answers a repeated Finished, if its record is a new one."""
    ours = DtlsTransport(certificate=OURS, is_client=True, remote_fingerprints=[THEIRS.fingerprint])
    peer = RawPeer(raw_context(ciphers=suite.encode()), is_client=False)
    ours.start(0.0)
    for datagram in peer.step(ours.take_datagrams()):
        ours.receive(datagram, 0.0)
    assert peer.step(ours.take_datagrams())  # lost
    assert peer.done
    for again in range(3):
        assert ours.next_timeout() is not None
        ours.handle_timeout(ours.next_timeout() or 0.0)
        answer = peer.step(ours.take_datagrams())
        assert answer, again
    for datagram in answer:
        ours.receive(datagram, 0.5)
    assert ours.state is DtlsState.CONNECTED, ours.error


@each_role
def test_rsa_suites(is_client: bool) -> None:
    """With an RSA certificate at the server (GStreamer's); ours is never RSA."""
    ours = DtlsTransport(
        certificate=OURS, is_client=is_client, remote_fingerprints=[rsa_fingerprint()]
    )
    peer = RawPeer(raw_context(rsa_certificate()), is_client=not is_client)
    handshake(peer, ours)
    ours.close()
    peer.step(ours.take_datagrams())
    assert isinstance(peer.error, SSL.ZeroReturnError)


@each_role
@pytest.mark.duty("D7")
def test_renegotiation_is_refused_in_both_roles(is_client: bool) -> None:
    ours, peer = pair("ECDHE-ECDSA-AES128-GCM-SHA256", is_client=is_client)
    peer.ssl.renegotiate()
    peer.done = False
    sent = peer.step()
    answers: list[bytes] = []
    for _ in range(20):
        for datagram in sent:
            ours.receive(datagram, 1.0)
        answers += ours.take_datagrams()
    assert 1 <= len(answers) <= 8
    assert all(answer[0] == 21 for answer in answers)
    assert ours.state is DtlsState.CONNECTED


def test_fatal_alert_ends_it_and_unsealed_ones_do_not() -> None:
    ends = link()
    ends.run()
    assert_connected(ends)
    assert ends.client._records is not None
    fatal = ends.client._records.seal(21, b"\2\x28")
    forged = fatal[:-1] + bytes([fatal[-1] ^ 1])
    ends.server.receive(forged, 1.0)
    assert_connected(ends)
    ends.server.receive(fatal, 1.0)
    assert ends.server.state is DtlsState.FAILED
    assert ends.server.keys is None
    assert ends.server.error == "DTLS: the peer ended it with alert 40"


def test_openssl_is_let_go_after_the_handshake() -> None:
    gc.collect()
    before = sum(isinstance(thing, SSL.Connection) for thing in gc.get_objects())
    ends = link()
    ends.run()
    assert_connected(ends)
    gc.collect()
    assert sum(isinstance(thing, SSL.Connection) for thing in gc.get_objects()) == before


# ---- the records themselves ----


def records(is_client: bool, suite: str = ECDSA[0], **options: Any) -> Records:
    return Records(suite, b"m" * 48, b"c" * 32, b"s" * 32, is_client=is_client, **options)


@each_suite
@pytest.mark.parametrize("size", [0, 1, 2, 16, 1000])
def test_sealed_opened(suite: str, size: int) -> None:
    here, there = records(True, suite), records(False, suite)
    data = bytes(range(256)) * 4
    one, two = here.seal(21, data[:size]), here.seal(21, data[:size])
    assert one != two
    assert there.open(one) == there.open(two) == data[:size]
    assert here.open(one, own=True) == data[:size]
    assert here.open(one) is None
    assert [(r.type, r.epoch, r.number) for r in split(one + two)] == [(21, 1, 0), (21, 1, 1)]
    assert int.from_bytes(one[11:13]) == len(one) - HEADER


@each_suite
def test_every_bit_counts(suite: str) -> None:
    here, there = records(True, suite), records(False, suite)
    sealed = here.seal(22, b"message")
    for position in range(len(sealed)):
        if position in (11, 12):
            continue  # the length is the cutter's
        broken = bytearray(sealed)
        broken[position] ^= 1
        assert there.open(bytes(broken)) is None, position
    assert there.open(sealed[:20]) is None
    assert there.open(sealed[:-1]) is None


def test_split_stops_at_what_is_no_record() -> None:
    record = b"\x16\xfe\xfd" + bytes(8) + b"\0\2ab"
    assert [r.bytes for r in split(record * 3)] == [record] * 3
    assert [r.bytes for r in split(record + record[:-1])] == [record]
    assert [r.bytes for r in split(record + b"\x16\x03\x03" + record[3:] + record)] == [record]
    assert list(split(record[:12])) == []
    assert list(split(b"")) == []


def test_prf_is_tls_1_2_s() -> None:
    """The vector that implementers of RFC 5246 pass around for P_SHA256."""
    made = prf(
        "sha256",
        bytes.fromhex("9bbe436ba940f017b17652849a71db35"),
        b"test label",
        bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c"),
        100,
    )
    assert made.hex() == (
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
        "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
        "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
        "87347b66"
    )
