"""Lexing of SDP (RFC 8866 section 5): bytes to checked lines, and the small readers of values.

Given: an untrusted body. Promises: ``split_lines`` returns lines that hold no control character,
so that a value may be echoed into an answer; every reader returns None for what it cannot read
and never raises. The limits that bound the work for one body stand here, in one place.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import aioice

from .errors import malformed

MAX_BODY: Final = 64 * 1024
"""Bytes of an offer or a fragment."""
MAX_LINES: Final = 4096
MAX_LINE: Final = 4096
"""Characters of one line."""
MAX_MEDIA: Final = 16
"""m-sections of one offer."""
MAX_PAYLOAD_TYPES: Final = 96
"""Payload types of one m-section (35..63 and 96..127 and the static ones)."""
MAX_CANDIDATES: Final = 64
"""Candidates kept from one body; those after them are left out."""
MAX_EXTENSIONS: Final = 64
"""extmap lines kept from one m-section."""
MAX_FINGERPRINTS: Final = 16
MAX_SSRCS: Final = 64
"""Distinct SSRCs kept from one m-section."""
MAX_FMTP: Final = 1024
"""Characters of the format parameters of one payload type."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
_LINE = re.compile(r"[a-z]=")
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_CREDENTIAL = re.compile(r"[!-9;-~]+")  # visible ASCII; a colon would break STUN's USERNAME
_FINGERPRINT = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2})+")
_FOUNDATION = re.compile(r"[!-~]{1,64}")

_HASH_LENGTHS = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_CANDIDATE_TYPES = ("host", "srflx", "prflx", "relay")


def split_lines(body: bytes) -> list[str]:
    """The body's lines without their ends (CRLF, or LF as RFC 8866 section 5 lets us take).

    Empty lines are left out. Raises SdpError 400 when the body is over a limit, is not UTF-8, or
    has a line that is not ``<letter>=<value>``.
    """
    if len(body) > MAX_BODY:
        raise malformed(f"The body has {len(body)} bytes; at most {MAX_BODY} are taken.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed(f"The body is not UTF-8 (byte {error.start}).") from None
    lines: list[str] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip("\r \t")
        if not line:
            continue
        if len(line) > MAX_LINE:
            raise malformed(f"Line {number} is longer than {MAX_LINE} characters.")
        if _CONTROL.search(line):
            raise malformed(f"Line {number} holds a control character.")
        if not _LINE.match(line):
            raise malformed(f"Line {number} is not of the form <letter>=<value>.")
        lines.append(line)
    if len(lines) > MAX_LINES:
        raise malformed(f"The body has {len(lines)} lines; at most {MAX_LINES} are taken.")
    return lines


def number(text: str, highest: int) -> int | None:
    """A decimal number from 0 to ``highest``; None for anything else (signs, other digits)."""
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    value = int(text)
    return value if value <= highest else None


def is_token(text: str) -> bool:
    """RFC 8866's ``token``."""
    return _TOKEN.fullmatch(text) is not None


def is_ufrag(text: str) -> bool:
    """4 to 256 characters (RFC 8839 section 5.4), of a wider alphabet than ``ice-char``."""
    return 4 <= len(text) <= 256 and _CREDENTIAL.fullmatch(text) is not None


def is_pwd(text: str) -> bool:
    """22 to 256 characters (RFC 8839 section 5.4)."""
    return 22 <= len(text) <= 256 and _CREDENTIAL.fullmatch(text) is not None


def read_fingerprint(value: str) -> tuple[str, str] | None:
    """``sha-256 AA:BB:…`` as (hash name in lower case, value in upper case); RFC 8122 section 5.

    None for hash functions that are too weak (SHA-1, MD5) or unknown, and for wrong lengths.
    """
    parts = value.split()
    if len(parts) != 2:
        return None
    name, digest = parts[0].lower(), parts[1].upper()
    length = _HASH_LENGTHS.get(name)
    if length is None or len(digest) != 3 * length - 1 or not _FINGERPRINT.fullmatch(digest):
        return None
    return name, digest


def is_candidate_syntax(value: str) -> bool:
    """Whether a candidate's fixed fields have the form of RFC 8839 section 5.1."""
    bits = value.split()
    return (
        len(bits) >= 8
        and number(bits[1], 65535) is not None
        and number(bits[3], 0xFFFFFFFF) is not None
        and number(bits[5], 65535) is not None
        and bits[6].lower() == "typ"
    )


def read_candidate(value: str) -> aioice.Candidate | None:
    """A candidate that checks could be sent to: UDP, component 1, a numeric address.

    None for all others, which RFC 9725 section 4.3.2 wants discarded silently: TCP, ``.local``
    names, unknown types, component 2. Extensions (``generation``, ``ufrag``, …) are not kept.
    """
    bits = value.split()
    if not is_candidate_syntax(value) or bits[1] != "1" or bits[2].lower() != "udp":
        return None
    kind = bits[7].lower()
    port = number(bits[5], 65535)
    priority = number(bits[3], 0xFFFFFFFF)
    if kind not in _CANDIDATE_TYPES or not port or priority is None:
        return None
    if not _FOUNDATION.fullmatch(bits[0]):
        return None
    try:
        address = ipaddress.ip_address(bits[4])
    except ValueError:
        return None
    if address.is_unspecified or address.is_multicast or "%" in bits[4]:
        return None
    return aioice.Candidate(bits[0], 1, "udp", priority, str(address), port, kind)
