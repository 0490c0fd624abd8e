"""DTLS-SRTP (RFC 5764, RFC 8827, RFC 8842): suites, roles, certificates, keys, bad links."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import partial

from OpenSSL import SSL

from rtcfwd.client.probe import ProbeError
from rtcfwd.dtls import DtlsTransport

from ..harness import Server
from ..peer import Publisher, RawEnd, Stage, lossy, other_certificate
from ..registry import check

CM80 = b"SRTP_AES128_CM_SHA1_80"


@check("D1", media=True)
def mandatory_suite(server: Server) -> None:
    """DTLS 1.2 with ECDHE-ECDSA-AES128-GCM-SHA256 and P-256 alone connects; DTLS 1.0 does not."""
    suite = partial(RawEnd, ciphers=b"ECDHE-ECDSA-AES128-GCM-SHA256")
    publisher = Publisher(server, make_dtls=suite).connect()
    assert publisher.probe.dtls.ssl.get_cipher_name() == "ECDHE-ECDSA-AES128-GCM-SHA256"
    assert publisher.probe.dtls.ssl.get_protocol_version_name() == "DTLSv1.2"
    old = partial(RawEnd, versions=(0xFEFF, 0xFEFF), ciphers=b"ECDHE-ECDSA-AES128-SHA@SECLEVEL=0")
    _does_not_connect(Publisher(server, make_dtls=old))


@check("D2", "D3", media=True)
def mandatory_profile(server: Server) -> None:
    """SRTP_AES128_CM_HMAC_SHA1_80 alone connects, without MKI, and media flows both ways."""
    stage = Stage(server, profiles=CM80)
    viewer = stage.watched(profiles=CM80)
    assert viewer.probe.keys is not None
    assert viewer.probe.keys.profile.name == "AES128_CM_HMAC_SHA1_80"
    assert not viewer.probe.other, "packets that do not decrypt"


@check("D4", media=True)
def wrong_certificate(server: Server) -> None:
    """A certificate that is not the offer's, or none, gets no association."""
    for make in (
        lambda **o: DtlsTransport(**{**o, "certificate": other_certificate()}),
        lambda **o: RawEnd(**o, has_certificate=False),
    ):
        for setup in ("actpass", "passive"):
            if setup == "passive" and make is not None:
                continue  # without a certificate no DTLS server starts; the client case is enough
            _does_not_connect(Publisher(server, make_dtls=make, setup=setup))


def _does_not_connect(publisher: Publisher) -> None:
    try:
        publisher.connect(seconds=0.7)
    except ProbeError:
        return
    # A client may be done before the server's alert reaches it.
    probe = publisher.probe
    ended = probe.wait(lambda: probe.dtls.error or getattr(probe.dtls, "closed", False), 1.0)
    assert ended, "it has connected"


@check("D5", media=True)
def roles(server: Server) -> None:
    """Whatever setup is offered, the answer is active or passive; where it is active the server
    sends the ClientHello by itself, and again when the first is lost (FFmpeg)."""
    for setup in ("actpass", "active", "passive"):
        publisher = Publisher(server, setup=setup)
        answered = publisher.probe.remote.setup
        assert answered in ("active", "passive"), answered
        assert setup == "actpass" or answered != setup, (setup, answered)
        publisher.connect()
    lost: list[bytes] = []

    def fate(way: str, number: int, data: bytes) -> Iterable[bytes]:
        if way == "received" and number == 0:
            lost.append(data)
            return []
        return [data]

    Publisher(server, setup="passive", make_dtls=lossy(fate)).connect(seconds=4.0)
    assert lost[0][13] == 1, "the first flight was no ClientHello"


@check("D6")
def no_tls_id(server: Server) -> None:
    """The answer to an offer without tls-id has none."""
    assert "a=tls-id" not in server.whip().text
    assert "a=tls-id" not in server.view().text


@check("D7", media=True)
def no_renegotiation(server: Server) -> None:
    """A wish to renegotiate is refused and the session goes on."""
    stage = Stage(server)
    viewer = stage.watched(make_dtls=RawEnd)
    end = viewer.probe.dtls
    before = len(end.received)
    end.ssl.renegotiate()
    with contextlib.suppress(SSL.Error):
        end.ssl.do_handshake()
    for datagram in end.take_datagrams():
        viewer.probe.send(datagram)
    end.take_datagrams = list  # OpenSSL takes the refusal for the end of everything
    seen = len(viewer.video)
    assert stage.play(lambda: len(viewer.video) > seen + 20), "media has stopped"
    answers = end.received[before:]
    assert all(data[0] in (21, 22) for data in answers)
    assert any(data[0] == 21 for data in answers), "no alert"


@check("D8", media=True)
def exported_keys(server: Server) -> None:
    """What plain OpenSSL exports decrypts in both directions, with the server in either role."""
    for setup in ("active", "passive"):
        stage = Stage(server, setup=setup, make_dtls=RawEnd)
        viewer = stage.watched(setup=setup, make_dtls=RawEnd)
        assert not viewer.probe.other, "packets that do not decrypt"


@check("D9", media=True)
def bad_links(server: Server) -> None:
    """Each flight lost, doubled, damaged or turned round, with the server in either role."""
    for setup in ("active", "passive"):
        for way in ("sent", "received"):
            for number in (0, 1):
                _connects(server, setup, way, number, lambda data: [])
                _connects(server, setup, way, number, lambda data: [data, data])
                _connects(server, setup, way, number, lambda data: [data[:-1]])
        last = ("received", 1) if setup == "active" else ("sent", 1)
        _connects(server, setup, *last, lambda data: [data[:-1] + bytes([data[-1] ^ 1])])
        _connects(server, setup, *last, lambda data: list(reversed(_records(data))))


def _records(data: bytes) -> list[bytes]:
    records = []
    while data:
        end = 13 + int.from_bytes(data[11:13])
        records.append(data[:end])
        data = data[end:]
    return records


def _connects(server: Server, setup: str, way: str, number: int, change: object) -> None:
    assert callable(change)

    def fate(now: str, at: int, data: bytes) -> Iterable[bytes]:
        return change(data) if (now, at) == (way, number) else [data]

    try:
        Publisher(server, setup=setup, make_dtls=lossy(fate)).connect(seconds=5.0)
    except ProbeError as error:
        raise AssertionError(f"client {setup}, datagram {number} {way}: {error}") from None
