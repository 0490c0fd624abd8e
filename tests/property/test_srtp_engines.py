"""Every SRTP engine of this build against pylibsrtp: byte for byte, over random packets, lengths,
CSRCs, header extensions, RTX packets, jumps of the sequence number over many roll-overs, and
repeated packets; the three profiles of RFC 5764 and RFC 7714.

The engines are compiled alone and called by ctypes. The oracle is a pylibsrtp session of its own;
session keys are derived here, by RFC 3711 section 4.3 and RFC 7714 section 11.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pylibsrtp
import pytest
from aiortc.rtp import RtcpPsfbPacket, RtcpRrPacket
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtcfwd.forwarder import libsrtp
from rtcfwd.forwarder.api import SrtpProfile

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
ENGINES = {"libsrtp": 1, "ipsec-mb": 2}
TAG = {
    SrtpProfile.AES128_CM_HMAC_SHA1_80: 10,
    SrtpProfile.AEAD_AES_128_GCM: 16,
    SrtpProfile.AEAD_AES_256_GCM: 16,
}
SSRC = 0x1234ABCD
BATCH = 192


class SessionKey(ctypes.Structure):
    _fields_ = (
        ("cipher", ctypes.c_uint8 * 32),
        ("auth", ctypes.c_uint8 * 20),
        ("salt", ctypes.c_uint8 * 14),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    out = tmp_path_factory.mktemp("srtp") / "harness.so"
    command = [
        *("cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra"),
        *(f"-I{CSRC}", f"-I{CSRC / 'include'}", str(HERE / "srtp_harness.c")),
        *(str(p) for p in sorted((CSRC / "srtp").glob("*.c"))),
        *("-o", str(out)),
    ]
    with_ipsec_mb = subprocess.run(
        [*command, "-DRF_HAVE_IPSEC_MB", "-lIPSec_MB"], capture_output=True, check=False
    )
    if with_ipsec_mb.returncode != 0:
        subprocess.run(command, check=True, capture_output=True)
    lib = ctypes.CDLL(str(out))
    lib.harness_open.restype = ctypes.c_void_p
    lib.harness_name.restype = ctypes.c_char_p
    lib.harness_protect.restype = ctypes.c_long
    lib.harness_unprotect.restype = ctypes.c_long
    lib.harness_protect_rtcp.restype = ctypes.c_long
    return lib


def session_key(profile: SrtpProfile, master: bytes) -> SessionKey:
    """RFC 3711 section 4.3.1; RFC 7714 section 11: the salt of 96 bits is followed by zeros."""
    size = 32 if profile == SrtpProfile.AEAD_AES_256_GCM else 16
    key, salt = master[:size], master[size:].ljust(14, b"\0")

    def derive(label: int, length: int) -> bytes:
        iv = int.from_bytes(salt, "big") ^ label << 48
        cipher = Cipher(algorithms.AES(key), modes.CTR((iv << 16).to_bytes(16, "big")))
        return cipher.encryptor().update(bytes(length))

    out = SessionKey()
    out.cipher[:size] = derive(0, size)
    out.auth[:] = derive(1, 20)
    out.salt[:] = derive(2, 14)
    return out


class Engine:
    """One engine with one key, and the pylibsrtp sessions that belong to it."""

    def __init__(
        self, library: ctypes.CDLL, which: int, profile: SrtpProfile, rx: bytes, tx: bytes
    ) -> None:
        self._library = library
        self._sessions = libsrtp.make_sessions(profile, rx, tx, [SSRC], repeated=[SSRC])
        functions = (ctypes.c_void_p * 4)(*libsrtp.FUNCTIONS)
        self._tag = TAG[profile]
        self._handle = library.harness_open(
            which,
            functions,
            int(profile),
            ctypes.c_void_p(self._sessions.rx),
            ctypes.c_void_p(self._sessions.tx),
            ctypes.byref(session_key(profile, tx)),
        )
        self.usable = self._handle is not None

    def close(self) -> None:
        if self._handle is not None:
            self._library.harness_close(ctypes.c_void_p(self._handle))

    @property
    def name(self) -> str:
        return str(self._library.harness_name(ctypes.c_void_p(self._handle)).decode())

    def protect(self, packets: Sequence[Packet]) -> list[bytes]:
        n = len(packets)
        lens = [len(p.data) for p in packets]
        total = sum(lens) + n * self._tag
        out = ctypes.create_string_buffer(total + 256)
        done = self._library.harness_protect(
            ctypes.c_void_p(self._handle),
            n,
            b"".join(p.data for p in packets),
            (ctypes.c_uint32 * n)(*lens),
            (ctypes.c_uint32 * n)(*(p.clear for p in packets)),
            (ctypes.c_uint32 * n)(*(p.head for p in packets)),
            (ctypes.c_uint64 * n)(*(p.index for p in packets)),
            out,
        )
        assert done == total
        slab, at = out.raw, 0
        result = []
        for size in lens:
            result.append(slab[at : at + size + self._tag])
            at += size + self._tag
        return result

    def _in_place(self, function: str, data: bytes, *more: int) -> bytes | int:
        room = ctypes.create_string_buffer(data, len(data) + 256)
        done: int = getattr(self._library, function)(
            ctypes.c_void_p(self._handle), room, len(data), *more
        )
        return room.raw[:done] if done >= 0 else done

    def unprotect(self, data: bytes, *, rtcp: bool = False) -> bytes | int:
        return self._in_place("harness_unprotect", data, int(rtcp))

    def protect_rtcp(self, data: bytes) -> bytes | int:
        return self._in_place("harness_protect_rtcp", data)


class Packet:
    """An RTP packet of up to 1326 bytes (pylibsrtp takes no more), where its header ends, and its
    index. An engine never gets an empty one: padding-only packets carry their count."""

    def __init__(
        self, index: int, csrcs: int, words: int | None, payload: bytes, rtx: bool
    ) -> None:
        self.index = index
        first = 0x80 | csrcs | (0x10 if words is not None else 0)
        head = bytes([first, 96]) + (index & 0xFFFF).to_bytes(2, "big")
        head += (index * 3000 & 0xFFFFFFFF).to_bytes(4, "big") + SSRC.to_bytes(4, "big")
        head += bytes(range(csrcs * 4))
        if words is not None:
            head += b"\xbe\xde" + words.to_bytes(2, "big") + bytes(words * 4)
        self.clear = len(head)
        self.head = self.clear + (2 if rtx else 0)
        self.data = head + (b"\x12\x34" + payload if rtx else payload or b"\1")


def packets(most: int = 40) -> st.SearchStrategy[list[Packet]]:
    """In order, with jumps of up to 2^15 - 1: a list of 40 goes over a score of roll-overs."""
    steps = st.one_of(st.integers(1, 3), st.integers(1, 32767))
    content = st.tuples(
        steps,
        st.sampled_from([0, 0, 0, 1, 2, 15]),
        st.one_of(st.none(), st.integers(0, 12)),
        st.one_of(st.binary(max_size=64), st.integers(0, 1200).map(lambda n: b"\xa5" * n)),
        st.booleans(),
    )

    def numbered(first: int, contents: list[tuple[int, int, int | None, bytes, bool]]) -> Any:
        out, index = [], first
        for step, csrcs, words, payload, rtx in contents:
            out.append(Packet(index, csrcs, words, payload, rtx))
            index += step
        return out

    return st.builds(numbered, st.integers(0, 0x7FFF), st.lists(content, min_size=1, max_size=most))


def oracle(profile: SrtpProfile, key: bytes, *, inbound: bool = False) -> pylibsrtp.Session:
    kind = pylibsrtp.Policy.SSRC_ANY_INBOUND if inbound else pylibsrtp.Policy.SSRC_ANY_OUTBOUND
    numbers = {
        SrtpProfile.AES128_CM_HMAC_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        SrtpProfile.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        SrtpProfile.AEAD_AES_256_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    }
    policy = pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=numbers[profile])
    policy.window_size = 2048
    policy.allow_repeat_tx = True
    return pylibsrtp.Session(policy)


@pytest.fixture(params=list(ENGINES))
def which(request: pytest.FixtureRequest, library: ctypes.CDLL) -> int:
    number = ENGINES[request.param]
    probe = Engine(library, number, SrtpProfile.AEAD_AES_128_GCM, bytes(28), bytes(28))
    usable = probe.usable
    if usable:
        assert probe.name == request.param
    probe.close()
    if not usable:
        pytest.skip(f"{request.param} is not in this build or not for this CPU")
    return number


profiles = pytest.mark.parametrize("profile", list(SrtpProfile), ids=lambda p: p.name)
often = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@profiles
@often
@given(sent=packets(), key=st.binary(min_size=44, max_size=44), data=st.data())
def test_protect_is_byte_equal(
    library: ctypes.CDLL,
    which: int,
    profile: SrtpProfile,
    sent: list[Packet],
    key: bytes,
    data: st.DataObject,
) -> None:
    master = key[: libsrtp.KEY_SALT_BYTES[profile]]
    reference = oracle(profile, master)
    wanted = [reference.protect(p.data) for p in sent]
    engine = Engine(library, which, profile, bytes(len(master)), master)
    try:
        got = []
        rest = list(sent)
        while rest:  # in batches of any size
            size = data.draw(st.integers(1, len(rest)))
            got += engine.protect(rest[:size])
            rest = rest[size:]
        assert got == wanted
        # A resend on the same SSRC is the same bytes.
        near = [p for p in sent if sent[-1].index - p.index < 2000]
        assert engine.protect(near) == wanted[len(sent) - len(near) :]
    finally:
        engine.close()


@profiles
@often
@given(sent=packets(), key=st.binary(min_size=44, max_size=44))
def test_a_receiver_takes_what_we_protect(
    library: ctypes.CDLL, which: int, profile: SrtpProfile, sent: list[Packet], key: bytes
) -> None:
    master = key[: libsrtp.KEY_SALT_BYTES[profile]]
    engine = Engine(library, which, profile, bytes(len(master)), master)
    receiver = oracle(profile, master, inbound=True)
    try:
        for packet, wire in zip(sent, engine.protect(sent), strict=True):
            assert receiver.unprotect(wire) == packet.data
    finally:
        engine.close()


@profiles
def test_a_full_batch_of_every_length(
    library: ctypes.CDLL, which: int, profile: SrtpProfile
) -> None:
    """All payload lengths from 0 on, at every alignment that the slab brings."""
    master = bytes(range(libsrtp.KEY_SALT_BYTES[profile]))
    reference = oracle(profile, master)
    engine = Engine(library, which, profile, bytes(len(master)), master)
    try:
        for base in range(0, 1200 - BATCH + 1, BATCH):
            sent = [
                Packet(65000 - 32768 + base + i, i % 3, None, bytes([i]) * (base + i), i % 2 == 1)
                for i in range(BATCH)
            ]
            assert engine.protect(sent) == [reference.protect(p.data) for p in sent]
    finally:
        engine.close()


@profiles
@often
@given(sent=packets(20), key=st.binary(min_size=44, max_size=44), flip=st.integers(0, 1 << 16))
def test_unprotect(
    library: ctypes.CDLL,
    which: int,
    profile: SrtpProfile,
    sent: list[Packet],
    key: bytes,
    flip: int,
) -> None:
    """What pylibsrtp protects is read; a copy is a replay; one changed bit is a forgery."""
    master = key[: libsrtp.KEY_SALT_BYTES[profile]]
    sender = oracle(profile, master)
    engine = Engine(library, which, profile, master, master)
    try:
        for packet in sent:
            wire = sender.protect(packet.data)
            forged = bytearray(wire)
            at = flip % (len(wire) * 8)
            forged[at // 8] ^= 1 << at % 8
            assert isinstance(engine.unprotect(bytes(forged)), int)
            assert engine.unprotect(wire) == packet.data
            assert engine.unprotect(wire) == -6  # RF_EAGAIN: replayed
        pli = bytes(RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=2))
        wire = sender.protect_rtcp(pli)
        assert engine.unprotect(wire[:-1] + bytes([wire[-1] ^ 1]), rtcp=True) == -8  # RF_EAUTH
        assert engine.unprotect(wire, rtcp=True) == pli
        assert engine.unprotect(wire, rtcp=True) == -6
    finally:
        engine.close()


@profiles
def test_rtcp_is_byte_equal(library: ctypes.CDLL, which: int, profile: SrtpProfile) -> None:
    master = bytes(range(libsrtp.KEY_SALT_BYTES[profile]))
    reference = oracle(profile, master)
    engine = Engine(library, which, profile, bytes(len(master)), master)
    try:
        for _ in range(50):
            for packet in (RtcpRrPacket(SSRC), RtcpPsfbPacket(fmt=1, ssrc=SSRC, media_ssrc=2)):
                assert engine.protect_rtcp(bytes(packet)) == reference.protect_rtcp(bytes(packet))
    finally:
        engine.close()
