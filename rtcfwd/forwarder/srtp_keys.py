"""Session keys of outbound SRTP for engines that do not derive them themselves.

RFC 3711 section 4.3: AES in counter mode under the master key, one label a key; with a 256-bit
master key RFC 6188; for AES-GCM (RFC 7714 section 11) the same, the 96-bit salt padded with zeros.
The key derivation rate is 0, as DTLS-SRTP has it (RFC 5764 section 4.1.2).
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from rtcfwd.forwarder.api import SrtpProfile

_LABEL_CIPHER, _LABEL_AUTH, _LABEL_SALT = 0, 1, 2

_LENGTHS = {
    SrtpProfile.AES128_CM_HMAC_SHA1_80: (16, 20, 14),
    SrtpProfile.AEAD_AES_128_GCM: (16, 0, 12),
    SrtpProfile.AEAD_AES_256_GCM: (32, 0, 12),
}
"""Bytes of cipher key, authentication key and salt."""


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """``cipher`` 16 or 32 bytes, ``auth`` 20 or none, ``salt`` 14 or 12 (AES-GCM)."""

    cipher: bytes
    auth: bytes
    salt: bytes


def derive(profile: SrtpProfile, master: bytes) -> SessionKeys:
    """The RTP session keys of ``master`` (master key + master salt, as DTLS exports them)."""
    cipher_len, auth_len, salt_len = _LENGTHS[profile]
    key, salt = master[:cipher_len], master[cipher_len:]
    if len(salt) != salt_len:
        raise ValueError(f"{profile.name} takes {cipher_len + salt_len} bytes, not {len(master)}")

    def prf(label: int, length: int) -> bytes:
        block = bytearray(salt.ljust(14, b"\0") + b"\0\0")
        block[7] ^= label
        stream = Cipher(algorithms.AES(key), modes.CTR(bytes(block))).encryptor()
        return stream.update(bytes(length))

    return SessionKeys(
        prf(_LABEL_CIPHER, cipher_len), prf(_LABEL_AUTH, auth_len), prf(_LABEL_SALT, salt_len)
    )
