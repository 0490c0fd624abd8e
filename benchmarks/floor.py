"""The floor and the cipher alone: what no server with the same means can be below.

``floor.c`` is compiled when it is needed (a C compiler is the only demand). The floor sends a whole
group of pictures with its audio (the same packet sizes, each frame in runs of up to 16, audio
alone) to as many destinations through the same lab and the same counting drop: without a cipher,
with libsrtp's protect (a session for each destination, with two streams, as a viewer has), and
with ipsec-mb. *Hot*: pass after pass without a pause. *Paced*: each pass when a publisher would
send it, sleeping in between, so that caches and the core cool down as a server's do.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pylibsrtp
from pylibsrtp import Policy
from pylibsrtp._binding import ffi, lib

from . import results
from .media import (
    AUDIO_BYTES,
    AUDIO_PER_SECOND,
    FPS,
    GOP_SECONDS,
    PACKET,
    RTP_HEADER,
    Media,
)
from .netlab import Lab, enter_namespace

MODES = ("sendto", "sendmmsg", "gso")
PROFILES = {  # libsrtp's number, bytes of master key and salt, DTLS-SRTP's number
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28, 7),
    "AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44, 8),
    "AES128_CM_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30, 1),
}
MB_PROFILE = "AEAD_AES_128_GCM"
ROOT = Path(__file__).resolve().parent.parent
_SESSION_KEY = 66  # sizeof(rf_session_key)
EPHEMERAL = range(10000, 65536)
_HOT_PACKETS = 1_200_000  # about half a second


class NoEngine(RuntimeError):
    """The floor cannot use this engine here."""


class NoCompiler(RuntimeError):
    """No C compiler, or it refuses floor.c."""


class _Plan(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_int),
        ("mode", ctypes.c_int),
        ("max_run", ctypes.c_int),
        ("destinations", ctypes.c_int),
        ("profile", ctypes.c_int),
        ("address", ctypes.c_uint8 * 16),
        ("port", ctypes.POINTER(ctypes.c_uint16)),
        ("sampled", ctypes.c_uint16),
        ("sampled_at", ctypes.c_uint8 * 16),
        ("passes", ctypes.c_uint16),
        ("size", ctypes.POINTER(ctypes.c_uint16)),
        ("count", ctypes.POINTER(ctypes.c_uint8)),
        ("due", ctypes.POINTER(ctypes.c_uint64)),
        ("round_ns", ctypes.c_uint64),
        ("rounds", ctypes.c_int),
        ("protect", ctypes.c_void_p),
        ("contexts", ctypes.POINTER(ctypes.c_void_p)),
    )


class _Outcome(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("packets", "datagram_runs", "calls", "cpu_ns", "wall_ns", "errors")
    )


def is_missing(error: str) -> bool:
    """Whether a compiler's complaint is that ipsec-mb is not installed."""
    return "intel-ipsec-mb.h: No such" in error or "-lIPSec_MB" in error


def build() -> ctypes.CDLL:
    """Compile floor.c, with ipsec-mb where its header and library are there, and load it."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise NoCompiler("no C compiler found: install gcc or set CC")
    source = Path(__file__).with_name("floor.c")
    command = [*compiler.split(), "-O2", "-march=native", "-Wall", "-shared", "-fPIC"]
    command.append("-D_GNU_SOURCE")
    command += [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]
    engine = [str(ROOT / "csrc/srtp" / name) for name in ("ipsec_mb.c", "libsrtp.c")]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "floor.so"
        for options in ([*engine, "-DRF_HAVE_IPSEC_MB", "-lIPSec_MB"], []):
            done = subprocess.run(
                [*command, "-o", str(target), str(source), *options],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0 or not is_missing(done.stderr):
                break
        if done.returncode:
            raise NoCompiler(f"{compiler} refuses floor.c: {done.stderr}")
        library = ctypes.CDLL(str(target))
    library.rb_protect.restype = ctypes.c_uint64
    library.rb_protect.argtypes = (ctypes.c_void_p, ctypes.c_int)
    library.rb_schedules.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)
    library.rb_schedules_free.argtypes = (ctypes.c_void_p,)
    return library


class Keys:
    """A key for each destination, as the C side wants them; ``engine`` says whose.

    libsrtp: a session for each, with a stream for each SSRC as it appears. ipsec-mb: the key
    schedules one behind the other in large pages.
    """

    def __init__(
        self, library: ctypes.CDLL, engine: str, profile: str | None, destinations: int
    ) -> None:
        self.protect: int | None = None
        self.contexts: Any = None
        self.profile = 0
        self._library = library
        self._first: int | None = None
        if profile is None:
            return
        number, key_length, self.profile = PROFILES[profile]
        self.contexts = (ctypes.c_void_p * destinations)()
        if engine == "ipsec-mb":
            random = os.urandom(_SESSION_KEY * destinations)
            if not library.rb_schedules(self.profile, random, destinations, self.contexts):
                raise NoEngine("floor.c was built without ipsec-mb, or this CPU cannot run it")
            self._first = self.contexts[0]
            return
        outbound = Policy.SSRC_ANY_OUTBOUND
        self._sessions = [
            pylibsrtp.Session(Policy(os.urandom(key_length), outbound, 0, number))
            for _ in range(destinations)
        ]
        self.contexts[:] = [int(ffi.cast("uintptr_t", s._srtp[0])) for s in self._sessions]
        self.protect = int(ffi.cast("uintptr_t", ffi.addressof(lib, "srtp_protect")))

    def close(self) -> None:
        if self._first is not None:
            self._library.rb_schedules_free(self._first)
            self._first = None


def passes_of(bitrate: int) -> list[tuple[int, list[int]]]:
    """One group of pictures as fan-out passes: when each is due, ns from its start, and the sizes
    of its packets; a key frame first, audio packets alone."""
    media = Media(bitrate, 1, 2)
    passes = [
        (
            round(frame * 1e9 / FPS),
            [len(p.data) for p in media.video_frame(frame == 0, 0)],
        )
        for frame in range(FPS * GOP_SECONDS)
    ]
    audio = [AUDIO_BYTES + RTP_HEADER]
    passes += [
        (round((block + 0.5) * 1e9 / AUDIO_PER_SECOND), audio)
        for block in range(AUDIO_PER_SECOND * GOP_SECONDS)
    ]
    return sorted(passes, key=lambda one: one[0])


def protect_ns(
    library: ctypes.CDLL, engine: str, profile: str, size: int, destinations: int = 500
) -> float:
    """ns to copy and protect one packet of ``size`` bytes (RTP header included)."""
    keys = Keys(library, engine, profile, destinations)
    plan = _Plan(
        destinations=destinations,
        profile=keys.profile,
        protect=keys.protect,
        contexts=keys.contexts,
    )
    plan.rounds = 4
    library.rb_protect(ctypes.byref(plan), size)
    plan.rounds = 40
    total = library.rb_protect(ctypes.byref(plan), size)
    keys.close()
    if not total:
        raise RuntimeError(f"{engine} refused a packet")
    return float(total / plan.rounds / destinations)


def _address(text: str) -> Any:
    """The 16 bytes of an address, IPv4 as v4-mapped."""
    packed = ipaddress.ip_address(text).packed
    mapped = bytes(10) + b"\xff\xff" if len(packed) == 4 else b""
    return (ctypes.c_uint8 * 16)(*(mapped + packed))


def _socket(lab: Lab, port: int) -> socket.socket:
    """A UDP socket on the server's side of the lab, of the sink's family."""
    family = socket.AF_INET6 if ":" in lab.sink_address else socket.AF_INET
    enter_namespace(lab.server_namespace)
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind(("", port))
    finally:
        enter_namespace(lab.load_namespace)
    return sock


def floor_row(
    library: ctypes.CDLL,
    lab: Lab,
    *,
    mode: str,
    crypto: str | None,
    engine: str = "libsrtp",
    bitrate: int = 2_500_000,
    destinations: int = 500,
    paced: bool = False,
    sunk: Sequence[int] = (),
    sampled: Sequence[int] = (),
    port: int = 0,
    cpu: int = 0,
) -> dict[str, Any]:
    """One row: CPU ns a packet of the bare sender, and whether all of it arrived.

    ``sunk``: the destinations' ports at the sink, in order; without them such as a system gives
    out, so that the sink's counters lie as far apart as real viewers' do. ``sampled``: ports of
    real sockets at the probe's address that take the place of as many sunk destinations; they are
    connected to our ``port``.
    """
    passes = passes_of(bitrate)
    sizes = [size for _, one in passes for size in one]
    keys = Keys(library, engine, crypto, destinations)
    sock = _socket(lab, port)
    outcome = _Outcome()
    to_sink = destinations - len(sampled)
    ports = (list(sunk) or random.Random(1).sample(EPHEMERAL, to_sink))[:to_sink]
    plan = _Plan(
        fd=sock.fileno(),
        mode=MODES.index(mode),
        max_run=16,
        destinations=destinations,
        profile=keys.profile,
        address=_address(lab.sink_address),
        port=(ctypes.c_uint16 * destinations)(*sampled, *ports),
        sampled=len(sampled),
        sampled_at=_address(lab.probe_address),
        passes=len(passes),
        size=(ctypes.c_uint16 * len(sizes))(*sizes),
        count=(ctypes.c_uint8 * len(passes))(*(len(one) for _, one in passes)),
        round_ns=GOP_SECONDS * 1_000_000_000,
        protect=keys.protect,
        contexts=keys.contexts,
    )
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        plan.rounds = 1
        library.rb_floor(ctypes.byref(plan), ctypes.byref(outcome))
        if paced:
            plan.due = (ctypes.c_uint64 * len(passes))(*(due for due, _ in passes))
        else:
            plan.rounds = max(1, round(_HOT_PACKETS / len(sizes) / destinations))
        counted = sum(lab.sink.rtp(port).packets for port in ports)
        library.rb_floor(ctypes.byref(plan), ctypes.byref(outcome))
        counted = sum(lab.sink.rtp(port).packets for port in ports) - counted
    finally:
        os.sched_setaffinity(0, before)
        sock.close()
    keys.close()
    return {
        "mode": mode,
        "segmentation": lab.segmentation,
        "crypto": crypto or "none",
        "engine": engine if crypto else None,
        "paced": paced,
        "destinations": destinations,
        "sampled": len(sampled),
        "packets": outcome.packets,
        "arrived": counted,
        "run": round(outcome.packets / outcome.datagram_runs, 2),
        "calls_per_packet": round(outcome.calls / outcome.packets, 4),
        "ns_per_packet": round(outcome.cpu_ns / outcome.packets, 1),
        "errors": outcome.errors,
    }


def _combinations(
    ciphers: list[tuple[str, str]],
) -> Iterator[tuple[str, bool, tuple[str, str | None]]]:
    """Mode, paced, (engine, cipher): every way of sending without a cipher and with the usual one,
    GSO with all of them, and paced."""
    usual = [(engine, name) for engine, name in ciphers if name == MB_PROFILE]
    plain: list[tuple[str, str | None]] = [("", None)]
    for mode in MODES:
        yield from ((mode, False, one) for one in (*plain, *usual))
    yield from (("gso", False, one) for one in ciphers if one not in usual)
    yield from (("gso", True, one) for one in (*plain, usual[-1]))


def run(bitrate: int, destinations: int, segmentations: list[str], cpu: int = 0) -> dict[str, Any]:
    """All modes, with and without the cipher, and the cipher alone."""
    library = build()
    result = results.stamp("floor")
    ciphers: list[tuple[str, str]] = [("libsrtp", name) for name in PROFILES]
    with contextlib.suppress(NoEngine):
        Keys(library, "ipsec-mb", MB_PROFILE, 1).close()
        ciphers += [("ipsec-mb", name) for name in PROFILES]
    rows: list[dict[str, Any]] = []
    for segmentation in segmentations:
        lab = Lab(segmentation)
        try:
            for mode, paced, (engine, crypto) in _combinations(ciphers):
                rows.append(
                    floor_row(
                        library,
                        lab,
                        mode=mode,
                        crypto=crypto,
                        engine=engine,
                        bitrate=bitrate,
                        destinations=destinations,
                        paced=paced,
                        cpu=cpu,
                    )
                )
        finally:
            lab.close()
    for engine, crypto in ciphers:
        for size in (AUDIO_BYTES + RTP_HEADER, PACKET):
            rows.append(
                {
                    "mode": f"protect alone, {size} bytes",
                    "crypto": crypto,
                    "engine": engine,
                    "destinations": destinations,
                    "ns_per_packet": round(
                        protect_ns(library, engine, crypto, size, destinations), 1
                    ),
                }
            )
    result["bitrate"] = bitrate
    result["rows"] = rows
    return result
