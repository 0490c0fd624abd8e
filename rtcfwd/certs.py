"""Certificates of the DTLS handshake, and their fingerprints.

One self-signed ECDSA P-256 certificate identifies this process to its peers (RFC 8827 section
6.5); it is bound to a session by the ``a=fingerprint`` of the answer, not by any authority.
A peer's certificate is bound the same way, by the fingerprints of its offer (RFC 8122 section 5).

Pure but for the random numbers and the dates of a new certificate. Nothing is written to disk.
"""

from __future__ import annotations

import datetime
import hashlib
import secrets
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HASHES = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}
"""Hash names of RFC 8122 that bind a certificate. MD2, MD5 and SHA-1 are refused: collisions."""

_VALID_FOR = datetime.timedelta(days=90)
_CLOCK_SKEW = datetime.timedelta(days=1)


def fingerprint_of(der: bytes, hash_name: str) -> str:
    """The fingerprint of a certificate (DER) as ``a=fingerprint`` writes it: ``"AA:BB:…"``.

    ``hash_name`` is ``sha-256``, ``sha-384`` or ``sha-512`` in any case; any other raises
    :class:`ValueError`, ``sha-1`` too (RFC 8122 section 5). The certificate is not parsed: peers
    send odd ones, and its contents mean nothing here.
    """
    algorithm = _HASHES.get(hash_name.lower())
    if algorithm is None:
        raise ValueError(f"hash function {hash_name!r} does not bind a certificate")
    return hashlib.new(algorithm, der).digest().hex(":").upper()


def usable_fingerprints(
    fingerprints: Iterable[tuple[str, str]],
) -> tuple[tuple[str, str], ...]:
    """Those of a peer's fingerprints that can bind its certificate, in normal form (hash name in
    lower case, value in upper case). Empty: the peer must be refused."""
    return tuple(
        (name.lower(), value.strip().upper())
        for name, value in fingerprints
        if name.lower() in _HASHES
    )


def matches(der: bytes, fingerprints: Iterable[tuple[str, str]]) -> bool:
    """Whether one of the :func:`usable_fingerprints` is that of this certificate (DER). One match
    is enough, as a peer may list several certificates (RFC 8122 section 5.1)."""
    return any(fingerprint_of(der, name) == value for name, value in fingerprints)


class Certificate:
    """A certificate with its private key, shared by all sessions made while it is current.

    ``x509`` and ``private_key`` are `cryptography` objects; ``fingerprint`` is ``("sha-256",
    "AA:BB:…")`` for the answer.
    """

    def __init__(self, certificate: x509.Certificate, private_key: ec.EllipticCurvePrivateKey):
        self.x509 = certificate
        self.private_key = private_key
        der = certificate.public_bytes(serialization.Encoding.DER)
        self.fingerprint = ("sha-256", fingerprint_of(der, "sha-256"))

    @classmethod
    def generate(cls) -> Certificate:
        """A new key and certificate, valid from yesterday (a peer's clock may be late) for 90
        days. The name is random, so that it tells nothing of the machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, secrets.token_hex(8))])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + _VALID_FOR)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def expires(self) -> datetime.datetime:
        """When it should have been replaced for new sessions (UTC)."""
        return self.x509.not_valid_after_utc
