"""The encrypted records of a DTLS 1.2 association, without OpenSSL's connection (RFC 6347,
RFC 5246, RFC 5288, RFC 7905).

It is given what a handshake has agreed upon (cipher suite, master secret, randoms); it seals and
opens records of epoch 1. So a Finished can be repeated under a new record number, and after the
handshake some 200 bytes of keys do for alerts what OpenSSL's connection does with 70 KiB
(docs/adr/0008-dtls-after-the-handshake.md).

Only the AEAD suites of :data:`SUITES`. What is sealed gets a number of its own each time, and the
number is the nonce, so no nonce comes twice with a key, as long as nobody else seals with it. What
is opened is not checked for replays: nothing that a session does twice for the same record would
do harm (see ``dtls.py``).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

HEADER = 13
"""Bytes before a record's body: type, version, epoch, number, length."""

_VERSION = b"\xfe\xfd"  # DTLS 1.2
_EPOCH = b"\0\1"
_TAG = 16
_EXPLICIT = 8  # bytes of GCM's nonce that stand in the record (RFC 5288 section 3)


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


_Keys = tuple[bytes, bytes]
"""Key and salt of one direction."""


class Suite(NamedTuple):
    """``hash``: of the PRF. ``salt``: bytes of the nonce that come from the key block."""

    hash: str
    key: int
    salt: int
    aead: Callable[[bytes], _Aead]


SUITES: Final = {  # OpenSSL's names
    "ECDHE-ECDSA-AES128-GCM-SHA256": Suite("sha256", 16, 4, AESGCM),
    "ECDHE-RSA-AES128-GCM-SHA256": Suite("sha256", 16, 4, AESGCM),
    "ECDHE-ECDSA-AES256-GCM-SHA384": Suite("sha384", 32, 4, AESGCM),
    "ECDHE-RSA-AES256-GCM-SHA384": Suite("sha384", 32, 4, AESGCM),
    "ECDHE-ECDSA-CHACHA20-POLY1305": Suite("sha256", 32, 12, ChaCha20Poly1305),
    "ECDHE-RSA-CHACHA20-POLY1305": Suite("sha256", 32, 12, ChaCha20Poly1305),
}


class Record(NamedTuple):
    """``bytes``: header and body."""

    type: int
    epoch: int
    number: int
    bytes: bytes


def split(datagram: bytes) -> Iterator[Record]:
    """The records of a datagram; what is cut short or of another version ends it."""
    position = 0
    while position + HEADER <= len(datagram):
        head = datagram[position : position + HEADER]
        end = position + HEADER + int.from_bytes(head[11:13])
        if end > len(datagram) or head[1] != 0xFE:
            return
        epoch, number = int.from_bytes(head[3:5]), int.from_bytes(head[5:11])
        yield Record(head[0], epoch, number, datagram[position:end])
        position = end


class Records:
    """Both directions of epoch 1. ``suite``: a name of :data:`SUITES` (KeyError otherwise).
    ``number``: the first that nobody has sealed with."""

    __slots__ = ("_derived", "_is_client", "_master", "_number", "_seed", "_suite")

    def __init__(
        self,
        suite: str,
        master: bytes,
        client_random: bytes,
        server_random: bytes,
        *,
        is_client: bool,
        number: int = 0,
    ) -> None:
        self._suite = SUITES[suite]
        self._master = master
        self._seed = server_random + client_random
        self._is_client = is_client
        self._number = number
        self._derived: tuple[_Keys, _Keys] | None = None  # ours, the peer's

    def _keys(self) -> tuple[_Keys, _Keys]:
        """RFC 5246 section 6.3; made when first needed, which may be never."""
        if self._derived is None:
            _, key, salt, _ = self._suite
            block = prf(
                self._suite.hash, self._master, b"key expansion", self._seed, 2 * (key + salt)
            )
            client = block[:key], block[2 * key : 2 * key + salt]
            server = block[key : 2 * key], block[2 * key + salt :]
            self._derived = (client, server) if self._is_client else (server, client)
            self._master = self._seed = b""
        return self._derived

    def seal(self, type: int, data: bytes) -> bytes:
        """A record with the next number, ready to be sent."""
        sequence = _EPOCH + self._number.to_bytes(6)
        self._number += 1
        key, salt = self._keys()[0]
        explicit = sequence if self._suite.aead is AESGCM else b""
        associated = sequence + bytes([type]) + _VERSION + len(data).to_bytes(2)
        sealed = self._suite.aead(key).encrypt(_nonce(salt, sequence), data, associated)
        length = len(explicit) + len(sealed)
        return bytes([type]) + _VERSION + sequence + length.to_bytes(2) + explicit + sealed

    def open(self, record: bytes, *, own: bool = False) -> bytes | None:
        """What the peer (or we: ``own``) sealed; None if it is not genuine."""
        key, salt = self._keys()[0 if own else 1]
        sequence, body = record[3:11], record[HEADER:]
        if self._suite.aead is AESGCM:
            nonce, body = _nonce(salt, body[:_EXPLICIT]), body[_EXPLICIT:]
        else:
            nonce = _nonce(salt, sequence)
        if len(body) < _TAG:
            return None
        associated = sequence + record[:3] + (len(body) - _TAG).to_bytes(2)
        try:
            return self._suite.aead(key).decrypt(nonce, body, associated)
        except InvalidTag:
            return None


def _nonce(salt: bytes, explicit: bytes) -> bytes:
    """Salt and number side by side (GCM), or one over the other (ChaCha20)."""
    if len(salt) == 12:
        return (int.from_bytes(salt) ^ int.from_bytes(explicit)).to_bytes(12)
    return salt + explicit


def prf(hash_name: str, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """TLS 1.2's pseudorandom function (RFC 5246 section 5)."""
    made, step = b"", label + seed
    while len(made) < length:
        step = hmac.digest(secret, step, hash_name)
        made += hmac.digest(secret, step + label + seed, hash_name)
    return made[:length]
