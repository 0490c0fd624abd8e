"""DTLS with the peers that exist: their profiles, certificates, split hellos and manners; and with
those that must be refused."""

from __future__ import annotations

import datetime
import itertools
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from rtcfwd.certs import Certificate, fingerprint_of, matches, usable_fingerprints
from rtcfwd.dtls import DtlsState, DtlsTransport
from rtcfwd.forwarder.api import SrtpProfile
from tests.unit.dtls_tools import (
    OURS,
    THEIRS,
    RawPeer,
    assert_connected,
    handshake,
    link,
    raw_context,
)

CM80 = b"SRTP_AES128_CM_SHA1_80"
CM32 = b"SRTP_AES128_CM_SHA1_32"
GCM128 = b"SRTP_AEAD_AES_128_GCM"
GCM256 = b"SRTP_AEAD_AES_256_GCM"


def server(**options: Any) -> DtlsTransport:
    options = {"certificate": OURS, "remote_fingerprints": [THEIRS.fingerprint], **options}
    return DtlsTransport(is_client=False, **options)


def client(**options: Any) -> DtlsTransport:
    options = {"certificate": OURS, "remote_fingerprints": [THEIRS.fingerprint], **options}
    return DtlsTransport(is_client=True, **options)


@cache
def rsa_certificate() -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gst")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()), key


def rsa_fingerprint() -> tuple[str, str]:
    der = rsa_certificate()[0].fingerprint(hashes.SHA256())
    return "sha-256", der.hex(":").upper()


# ---- SRTP profiles ----


@pytest.mark.parametrize(
    ("who", "offered", "chosen"),
    [
        ("Chromium", [CM80, GCM256, GCM128], SrtpProfile.AEAD_AES_128_GCM),
        ("Firefox", [GCM128, GCM256, CM80], SrtpProfile.AEAD_AES_128_GCM),
        ("aiortc", [GCM256, GCM128, CM80], SrtpProfile.AEAD_AES_128_GCM),
        ("256 only", [CM80, GCM256], SrtpProfile.AEAD_AES_256_GCM),
        ("FFmpeg, GStreamer", [CM80], SrtpProfile.AES128_CM_HMAC_SHA1_80),
        ("with the short tag first", [CM32, CM80], SrtpProfile.AES128_CM_HMAC_SHA1_80),
    ],
)
def test_as_server_our_preference_wins(who: str, offered: list[bytes], chosen: SrtpProfile) -> None:
    ours = server()
    handshake(RawPeer(raw_context(profiles=b":".join(offered)), is_client=True), ours)
    assert ours.state is DtlsState.CONNECTED, ours.error
    assert ours.keys is not None
    assert ours.keys.profile is chosen


@pytest.mark.parametrize(
    "order", list(itertools.permutations([CM80, GCM128, GCM256])), ids=lambda o: o[0].decode()[-6:]
)
def test_our_preference_wins_over_every_order(order: tuple[bytes, ...]) -> None:
    ours = server()
    handshake(RawPeer(raw_context(profiles=b":".join(order)), is_client=True), ours)
    assert ours.keys is not None
    assert ours.keys.profile is SrtpProfile.AEAD_AES_128_GCM


@pytest.mark.parametrize("accepted", [CM80, GCM128, GCM256])
def test_as_client_all_three_are_offered(accepted: bytes) -> None:
    ours = client()
    peer = RawPeer(raw_context(profiles=accepted), is_client=False)
    handshake(peer, ours)
    assert ours.state is DtlsState.CONNECTED, ours.error
    assert peer.ssl.get_selected_srtp_profile() == accepted


@pytest.mark.parametrize("profiles", [CM32, b""])
def test_without_a_common_profile_there_are_no_keys(profiles: bytes) -> None:
    ours = server()
    handshake(RawPeer(raw_context(profiles=profiles), is_client=True), ours)
    assert ours.state is DtlsState.FAILED
    assert ours.keys is None
    assert ours.error == "no SRTP protection profile in common"


@pytest.mark.parametrize(("profile", "key", "salt"), [(CM80, 16, 14), (GCM128, 16, 12)])
def test_keys_are_those_of_rfc_5764(profile: bytes, key: int, salt: int) -> None:
    """Client key, server key, client salt, server salt; as the other end exports them."""
    ours = server()
    peer = RawPeer(raw_context(profiles=profile), is_client=True)
    handshake(peer, ours)
    block = peer.ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
    assert ours.keys is not None
    assert ours.keys.rx == block[:key] + block[2 * key : 2 * key + salt]
    assert ours.keys.tx == block[key : 2 * key] + block[2 * key + salt :]
    assert ours.keys.rx.hex() not in repr(ours.keys)


# ---- the peer's certificate ----


def test_rsa_peer_as_client_and_as_server() -> None:
    """GStreamer's certificate is RSA."""
    for ours, is_client in (
        (server(remote_fingerprints=[rsa_fingerprint()]), True),
        (client(remote_fingerprints=[rsa_fingerprint()]), False),
    ):
        handshake(RawPeer(raw_context(rsa_certificate()), is_client=is_client), ours)
        assert ours.state is DtlsState.CONNECTED, ours.error


@pytest.mark.parametrize("hash_name", ["sha-384", "SHA-512", "Sha-256"])
def test_other_hashes_and_lower_case_values(hash_name: str) -> None:
    der = THEIRS.x509.public_bytes(encoding=_der_encoding())
    value = fingerprint_of(der, hash_name).lower()
    ours = server(remote_fingerprints=[("sha-1", "00"), (hash_name, value)])
    handshake(RawPeer(raw_context(), is_client=True), ours)
    assert ours.state is DtlsState.CONNECTED, ours.error


def _der_encoding() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


def test_sha1_does_not_bind() -> None:
    der = THEIRS.x509.public_bytes(encoding=_der_encoding())
    with pytest.raises(ValueError, match="does not bind"):
        fingerprint_of(der, "sha-1")
    assert usable_fingerprints([("sha-1", "AA"), ("md5", "BB")]) == ()
    assert not matches(der, ())


@pytest.mark.parametrize("is_client", [True, False])
@pytest.mark.parametrize(
    "fingerprints",
    [[OURS.fingerprint], [("sha-256", "AB:CD")], [("sha-1", "AB:CD")], []],
    ids=["another", "short", "sha-1", "none"],
)
def test_wrong_fingerprint_fails_both_ends(
    is_client: bool, fingerprints: list[tuple[str, str]]
) -> None:
    ours = (client if is_client else server)(remote_fingerprints=fingerprints)
    peer = RawPeer(raw_context(), is_client=not is_client)
    handshake(peer, ours)
    assert ours.state is DtlsState.FAILED
    assert ours.keys is None
    assert ours.error is not None
    assert ours.next_timeout() is None
    assert not peer.done
    assert peer.error is not None  # a fatal alert told it


def test_no_certificate_fails() -> None:
    ours = server()
    handshake(RawPeer(raw_context(None), is_client=True), ours)
    assert ours.state is DtlsState.FAILED
    assert ours.keys is None


# ---- hellos ----


def split_hello(is_big: bool = True) -> tuple[RawPeer, list[bytes]]:
    """A client whose hello takes two datagrams, as Chromium's and Firefox' do."""
    context = raw_context()
    context.set_alpn_protos([bytes([c]) * 250 for c in b"abcde"])
    peer = RawPeer(context, is_client=True)
    hello = peer.step()
    assert len(hello) == 2
    assert sum(map(len, hello)) > 1200
    return peer, hello


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0, 1), (1, 1, 0, 0), (0, 1, 0, 1)])
def test_hello_in_two_datagrams(order: tuple[int, ...]) -> None:
    peer, hello = split_hello()
    ours = server()
    for index in order:
        ours.receive(hello[index], 0.0)
    sent = ours.take_datagrams()
    assert sent
    for _ in range(3):
        for datagram in peer.step(sent):
            ours.receive(datagram, 0.0)
        sent = ours.take_datagrams()
    assert ours.state is DtlsState.CONNECTED, ours.error
    assert peer.done


def test_half_a_hello_draws_nothing() -> None:
    _, hello = split_hello()
    ours = server()
    ours.receive(hello[0], 0.0)
    assert ours.take_datagrams() == []
    assert ours.next_timeout() == 10.0


@pytest.mark.parametrize("is_client", [True, False])
def test_dtls_1_0_is_refused(is_client: bool) -> None:
    context = raw_context(versions=(0xFEFF, 0xFEFF), ciphers=b"ECDHE-ECDSA-AES128-SHA@SECLEVEL=0")
    ours = server() if is_client else client()
    handshake(RawPeer(context, is_client=is_client), ours)
    assert ours.state is not DtlsState.CONNECTED
    assert ours.keys is None


def test_the_mandatory_suite_is_enough() -> None:
    ours = server()
    peer = RawPeer(raw_context(ciphers=b"ECDHE-ECDSA-AES128-GCM-SHA256"), is_client=True)
    handshake(peer, ours)
    assert ours.state is DtlsState.CONNECTED
    assert peer.ssl.get_cipher_name() == "ECDHE-ECDSA-AES128-GCM-SHA256"


# ---- after the handshake ----


@pytest.mark.parametrize("closer", ["client", "server"])
def test_close_notify(closer: str) -> None:
    pair = link()
    pair.run()
    assert_connected(pair)
    end, other = (pair.client, pair.server) if closer == "client" else (pair.server, pair.client)
    end.close()
    (alert,) = end.take_datagrams()
    other.receive(alert, 1.0)
    assert other.state is DtlsState.CLOSED
    assert end.state is DtlsState.CLOSED
    (answer,) = other.take_datagrams()
    end.receive(answer, 1.0)
    other.close()
    end.close()
    assert end.take_datagrams() == other.take_datagrams() == []


def test_close_before_and_during_the_handshake() -> None:
    ours = client()
    ours.close()
    assert ours.state is DtlsState.CLOSED
    ours.start(0.0)
    assert ours.take_datagrams() == []
    ours = client()
    ours.start(0.0)
    ours.take_datagrams()
    ours.close()
    assert ours.state is DtlsState.CLOSED
    assert ours.next_timeout() is None
    ours.handle_timeout(5.0)
    assert ours.take_datagrams() == []


def test_renegotiation_is_refused() -> None:
    ours = server()
    peer = RawPeer(raw_context(), is_client=True)
    handshake(peer, ours)
    keys = ours.keys
    peer.ssl.renegotiate()
    peer.done = False
    for datagram in peer.step():
        ours.receive(datagram, 1.0)
    answer = ours.take_datagrams()
    assert answer
    assert answer[0][0] == 21  # an alert: no_renegotiation
    assert ours.state is DtlsState.CONNECTED
    assert ours.keys is keys


def test_application_data_is_ignored() -> None:
    """A data channel's SCTP, for example."""
    ours = server()
    peer = RawPeer(raw_context(), is_client=True)
    handshake(peer, ours)
    peer.ssl.send(b"x" * 1000)
    for datagram in peer.take():
        ours.receive(datagram, 1.0)
    assert ours.state is DtlsState.CONNECTED
    assert ours.take_datagrams() == []


def test_unencrypted_alerts_do_not_end_a_connection() -> None:
    pair = link()
    pair.run()
    for level, description in ((2, 40), (1, 0), (2, 0)):
        record = b"\x15\xfe\xfd" + bytes(2) + (99).to_bytes(6) + b"\0\2"
        pair.server.receive(record + bytes([level, description]), 1.0)
        pair.client.receive(record + bytes([level, description]), 1.0)
    assert_connected(pair)


def test_openssl_errors_become_a_sentence() -> None:
    ours = server()
    context = raw_context(ciphers=b"ECDHE-RSA-AES128-GCM-SHA256")
    peer = RawPeer(context, is_client=True)
    handshake(peer, ours)
    assert ours.state is DtlsState.FAILED
    assert ours.error is not None
    assert ours.error.startswith("DTLS: ")
    assert "cipher" in ours.error
    assert isinstance(peer.error, SSL.Error)


def test_certificates_are_small_anonymous_and_valid_now() -> None:
    one, two = Certificate.generate(), Certificate.generate()
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint[0] == "sha-256"
    assert len(one.fingerprint[1]) == 32 * 3 - 1
    now = datetime.datetime.now(datetime.UTC)
    assert one.x509.not_valid_before_utc < now < one.expires
    assert one.x509.subject == one.x509.issuer
