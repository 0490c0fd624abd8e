"""STUN requests as clients write them, by a builder of its own that may break every rule."""

from __future__ import annotations

import binascii
import hmac
import struct

from aioice import stun

USERNAME, INTEGRITY, PRIORITY, USE_CANDIDATE = 0x0006, 0x0008, 0x0024, 0x0025
FINGERPRINT, CONTROLLED, CONTROLLING, GOOG_NETWORK_INFO = 0x8028, 0x8029, 0x802A, 0xC057

TRANSACTION = bytes(range(12))
REQUEST, INDICATION, SUCCESS, ERROR = 0x0001, 0x0011, 0x0101, 0x0111


def message(
    attributes: list[tuple[int, bytes]],
    pwd: str | None,
    *,
    kind: int = REQUEST,
    fingerprint: bool = True,
    after_integrity: list[tuple[int, bytes]] | None = None,
) -> bytes:
    """A message with these attributes, signed with ``pwd`` unless it is None."""
    body = b"".join(_attribute(*a) for a in attributes)
    if pwd is not None:
        signed = _header(kind, len(body) + 24) + body
        body += _attribute(INTEGRITY, hmac.digest(pwd.encode(), signed, "sha1"))
    body += b"".join(_attribute(*a) for a in after_integrity or [])
    if fingerprint:
        crc = binascii.crc32(_header(kind, len(body) + 8) + body) ^ 0x5354554E
        body += _attribute(FINGERPRINT, struct.pack("!I", crc))
    return _header(kind, len(body)) + body


def check(ufrag: str, pwd: str, *, nominate: bool = False) -> bytes:
    """A browser's check: what Chromium sends, its private attribute too."""
    attributes = [
        (USERNAME, f"{ufrag}:peer".encode()),
        (GOOG_NETWORK_INFO, b"\0\x01\0\x0a"),
        (CONTROLLING, bytes(8)),
        (PRIORITY, struct.pack("!I", 1853824767)),
    ]
    if nominate:
        attributes.insert(3, (USE_CANDIDATE, b""))
    return message(attributes, pwd)


def ffmpeg_8(ufrag: str, pwd: str) -> bytes:
    """USERNAME, USE-CANDIDATE, MESSAGE-INTEGRITY, FINGERPRINT and nothing else."""
    return message([(USERNAME, f"{ufrag}:peer".encode()), (USE_CANDIDATE, b"")], pwd)


def parsed(reply: bytes, pwd: str) -> stun.Message:
    """A reply, after its fingerprint and its integrity have been checked."""
    answer = stun.parse_message(reply)
    assert answer.check_message_integrity(pwd.encode())
    assert "FINGERPRINT" in answer.attributes
    assert answer.transaction_id == TRANSACTION
    return answer


def _header(kind: int, length: int) -> bytes:
    return struct.pack("!HHI", kind, length, stun.COOKIE) + TRANSACTION


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
