"""The ICE-lite agent of one session (RFC 8445, STUN by RFC 8489), without I/O.

It is given the STUN datagrams that name its ufrag and says what to answer and what they prove:

    datagram ─▶ parse ─▶ our USERNAME? ─▶ integrity? ─▶ unknown attribute? ─▶ role? ─▶ success
                  │            │              │               │ 420            │ 487     │
                  └── drop ────┴── no reply ──┘               └─ signed error ─┘   path verified

A lite agent is always controlled, sends no checks and keeps no check list: a valid request
validates the path that it came by, and USE-CANDIDATE on it nominates that path (RFC 8445 sections
7.3 and 8.2). It promises: no exception for any bytes, no reply to a message that is not signed
with our password, and replies of at most :data:`MAX_REPLY` bytes. Attributes other than USERNAME
and MESSAGE-INTEGRITY may be absent (FFmpeg 8.0 sends neither PRIORITY nor ICE-CONTROLLING).

It does not time out paths, and it does not know sockets: the caller installs what it says.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from aioice import Candidate, stun
from aioice.candidate import candidate_priority

from rtcfwd.forwarder.api import Path

_ICE_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
"""Of RFC 8839's ice-char; without + and /, which clients put into URLs unquoted."""
_UFRAG_LENGTH = 8
_PWD_LENGTH = 24

_OLD_CREDENTIALS_S = 30.0
_OLD_CREDENTIALS_MAX = 2

_BINDING_REQUEST = stun.Method.BINDING | stun.Class.REQUEST
_BINDING_SUCCESS = stun.Method.BINDING | stun.Class.RESPONSE
_BINDING_ERROR = stun.Method.BINDING | stun.Class.ERROR
_BINDING_INDICATION = stun.Method.BINDING | stun.Class.INDICATION

_ATTR_MESSAGE_INTEGRITY = 0x0008
_ATTR_ERROR_CODE = 0x0009
_ATTR_UNKNOWN_ATTRIBUTES = 0x000A
_ATTR_XOR_MAPPED_ADDRESS = 0x0020
_ATTR_FINGERPRINT = 0x8028
_COMPREHENSION_OPTIONAL = 0x8000
_UNKNOWN_MAX = 16

MAX_REPLY = 128
"""Bytes of the longest reply (a 420 that lists 16 attributes); a success is 64 or 76 bytes."""


@dataclass(frozen=True, slots=True)
class IceOutcome:
    """What a STUN datagram came to.

    ``reply``: the answer, to go out on the path that the datagram came by. ``verified``: a request
    signed with our password that was answered with success; the path is validated. ``nominated``:
    it also selects the path. ``drop``: why nothing (or an error response) came of it.
    """

    reply: bytes | None = None
    verified: bool = False
    nominated: bool = False
    drop: str | None = None


_MALFORMED = IceOutcome(drop="stun_malformed")
_UNKNOWN_UFRAG = IceOutcome(drop="stun_ufrag")
_BAD_INTEGRITY = IceOutcome(drop="stun_integrity")
_RESPONSE = IceOutcome(drop="stun_response")
_INDICATION = IceOutcome()


@dataclass(slots=True)
class Credentials:
    """``expires``: when old ones are forgotten; None while nothing has come on newer ones."""

    ufrag: str
    pwd: str
    key: bytes
    expires: float | None = None


def new_credentials() -> Credentials:
    """From a CSPRNG."""

    def chars(count: int) -> str:
        return "".join(secrets.choice(_ICE_CHARS) for _ in range(count))

    pwd = chars(_PWD_LENGTH)
    return Credentials(chars(_UFRAG_LENGTH), pwd, pwd.encode())


class IceLiteAgent:
    """The agent of one session. ``remote_ufrag`` and ``remote_pwd`` are kept for the session's
    view only: a lite agent answers any ``<our ufrag>:<anything>`` (RFC 8445 section 7.3), also
    before it knows the peer's."""

    def __init__(self, *, remote_ufrag: str | None, remote_pwd: str | None) -> None:
        self.remote_ufrag = remote_ufrag
        self.remote_pwd = remote_pwd
        self._current = new_credentials()
        self._old: list[Credentials] = []
        self._nominated_current = False

    @property
    def local_ufrag(self) -> str:
        """8 characters from a CSPRNG."""
        return self._current.ufrag

    @property
    def local_pwd(self) -> str:
        """24 characters from a CSPRNG."""
        return self._current.pwd

    def ufrags(self) -> list[str]:
        """All ufrags that are answered now, the current one first."""
        return [self._current.ufrag, *(old.ufrag for old in self._old)]

    def restart(
        self,
        *,
        remote_ufrag: str | None = None,
        remote_pwd: str | None = None,
        fresh: Credentials | None = None,
    ) -> list[str]:
        """ICE restart (RFC 8445 section 9): new local credentials (``fresh``). The old ones
        stay valid until the first check on the new ones and 30 s more. Returns ufrags that are
        valid no more because too many restarts came at once."""
        self.remote_ufrag = remote_ufrag
        self.remote_pwd = remote_pwd
        self._old.append(self._current)
        self._current = fresh or new_credentials()
        self._nominated_current = False
        gone = self._old[:-_OLD_CREDENTIALS_MAX]
        del self._old[:-_OLD_CREDENTIALS_MAX]
        return [old.ufrag for old in gone]

    @property
    def settled(self) -> bool:
        """Whether the current credentials have a selected path."""
        return self._nominated_current

    def next_retirement(self) -> float | None:
        """When :meth:`retire` has something to do; None: not yet known, or nothing."""
        return min((old.expires for old in self._old if old.expires is not None), default=None)

    def retire(self, now: float) -> list[str]:
        """Forget old credentials whose time is over; returns their ufrags. Call it now and then
        while :meth:`ufrags` lists more than one."""
        gone = [old for old in self._old if old.expires is not None and old.expires <= now]
        self._old = [old for old in self._old if old not in gone]
        return [old.ufrag for old in gone]

    def receive(self, data: bytes, path: Path, now: float) -> IceOutcome:
        """Handle one STUN datagram that came by ``path``; ``now`` in seconds, monotonic."""
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):
            return _MALFORMED
        kind = message.message_method | message.message_class
        if kind != _BINDING_REQUEST:
            return self._not_a_request(kind)

        username = message.attributes.get("USERNAME", "")
        credentials = self._find(username.partition(":")[0], now)
        if credentials is None:
            return _UNKNOWN_UFRAG
        if not message.check_message_integrity(credentials.key):
            return _BAD_INTEGRITY

        refusal = _refuse(message, data, credentials.key)
        if refusal is not None:
            return refusal
        nominated = self._nominates(message, credentials, now)
        mapped = stun.pack_xor_address(path.remote, message.transaction_id)
        reply = _seal(
            _BINDING_SUCCESS,
            message.transaction_id,
            _attribute(_ATTR_XOR_MAPPED_ADDRESS, mapped),
            credentials.key,
        )
        return IceOutcome(reply=reply, verified=True, nominated=nominated)

    @staticmethod
    def _not_a_request(kind: int) -> IceOutcome:
        if kind == _BINDING_INDICATION:
            return _INDICATION  # a keepalive (RFC 8445 section 11)
        if kind in (_BINDING_SUCCESS, _BINDING_ERROR):
            return _RESPONSE  # we never asked
        return _MALFORMED

    def _find(self, ufrag: str, now: float) -> Credentials | None:
        if ufrag == self._current.ufrag:
            return self._current
        for old in self._old:
            if old.ufrag == ufrag and (old.expires is None or now < old.expires):
                return old
        return None

    def _nominates(self, message: stun.Message, credentials: Credentials, now: float) -> bool:
        """Note which credentials are in use, and whether the request selects its path. Once the
        new generation has a selected path, the old one's nominations count no more."""
        is_current = credentials is self._current
        if is_current:
            for old in self._old:
                if old.expires is None:
                    old.expires = now + _OLD_CREDENTIALS_S
        if "USE-CANDIDATE" not in message.attributes:
            return False
        if is_current:
            self._nominated_current = True
        return is_current or not self._nominated_current


def _refuse(message: stun.Message, data: bytes, key: bytes) -> IceOutcome | None:
    """A signed error response, where an authenticated request cannot be served."""
    unknown = _unknown_attributes(data)
    if unknown:  # RFC 8489 section 6.3.1
        body = _error(420, "Unknown Attribute") + _attribute(
            _ATTR_UNKNOWN_ATTRIBUTES, b"".join(struct.pack("!H", kind) for kind in unknown)
        )
        reply = _seal(_BINDING_ERROR, message.transaction_id, body, key)
        return IceOutcome(reply=reply, drop="stun_unknown_attribute")
    if "ICE-CONTROLLED" in message.attributes:  # a lite agent never takes control: RFC 8445 7.3.1.1
        reply = _seal(_BINDING_ERROR, message.transaction_id, _error(487, "Role Conflict"), key)
        return IceOutcome(reply=reply, drop="stun_role_conflict")
    return None


def _unknown_attributes(data: bytes) -> list[int]:
    """Comprehension-required types before MESSAGE-INTEGRITY that the codec does not know (those
    behind it are not authenticated and are ignored: RFC 8489 section 14.5). At most 16."""
    unknown: list[int] = []
    known = stun.ATTRIBUTES_BY_TYPE
    position = stun.HEADER_LENGTH
    while position + 4 <= len(data):
        kind = data[position] << 8 | data[position + 1]
        length = data[position + 2] << 8 | data[position + 3]
        if kind == _ATTR_MESSAGE_INTEGRITY or len(unknown) == _UNKNOWN_MAX:
            break
        if kind < _COMPREHENSION_OPTIONAL and kind not in known:
            unknown.append(kind)
        position += 4 + (length + 3 & ~3)
    return unknown


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _error(code: int, reason: str) -> bytes:
    return _attribute(_ATTR_ERROR_CODE, stun.pack_error_code((code, reason)))


def _seal(kind: int, transaction_id: bytes, body: bytes, key: bytes) -> bytes:
    """A message with MESSAGE-INTEGRITY and FINGERPRINT. Each is computed over a header whose
    length already counts it (RFC 8489 sections 14.5 and 14.7)."""
    head = struct.pack("!I12s", stun.COOKIE, transaction_id) + body
    length = len(body) + stun.INTEGRITY_LENGTH
    signed = struct.pack("!HH", kind, length) + head
    digest = hmac.digest(key, signed, "sha1")
    length += stun.FINGERPRINT_LENGTH
    data = struct.pack("!HH", kind, length) + head
    data += _attribute(_ATTR_MESSAGE_INTEGRITY, digest)
    return data + struct.pack("!HHI", _ATTR_FINGERPRINT, 4, stun.message_fingerprint(data))


_TCP_TYPE_PREFERENCE = 90
_TCP_PASSIVE = 4
"""Type and direction preference of a passive host candidate: below every UDP one (RFC 6544
section 4.2)."""


def host_candidates(
    addresses: Sequence[str], port: int, tcp_port: int | None = None
) -> list[Candidate]:
    """The candidates of a lite agent on one UDP port: one per address, component 1, IPv4 first,
    each with a priority and foundation of its own (RFC 8445 sections 5.1.2.1 and 5.2). Behind
    them, where there is a ``tcp_port``, a passive TCP one per address (RFC 6544 section 4.5);
    FFmpeg gives up when a TCP one stands first.

    ``addresses`` are numeric, most wanted first; link-local, multicast and unspecified ones are
    left out, as are repetitions. Text that is no address raises :class:`ValueError`.
    """
    parsed = dict.fromkeys(ipaddress.ip_address(address) for address in addresses)
    usable = [a for a in parsed if not (a.is_link_local or a.is_multicast or a.is_unspecified)]
    usable.sort(key=lambda address: address.version)
    udp = [
        Candidate(
            foundation=str(index + 1),
            component=1,
            transport="udp",
            priority=candidate_priority(1, "host", 65535 - index),
            host=str(address),
            port=port,
            type="host",
        )
        for index, address in enumerate(usable)
    ]
    if tcp_port is None:
        return udp
    return udp + [
        Candidate(
            foundation=str(len(usable) + index + 1),
            component=1,
            transport="tcp",
            priority=_TCP_TYPE_PREFERENCE << 24 | ((_TCP_PASSIVE << 13) + 8191 - index) << 8 | 255,
            host=str(address),
            port=tcp_port,
            type="host",
            tcptype="passive",
        )
        for index, address in enumerate(usable)
    ]
