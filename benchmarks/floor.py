"""The floor and the cipher alone: what no server with the same means can be below.

``floor.c`` is compiled when it is needed (a C compiler is the only demand). The floor sends the
same packet sizes in the same run lengths to as many destinations through the same lab and the same
counting drop, without a cipher, with libsrtp's protect (a session for each destination, with two
streams, as a viewer has), and with ipsec-mb's AES-128-GCM.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pylibsrtp
from pylibsrtp import Policy
from pylibsrtp._binding import ffi, lib

from . import results
from .media import AUDIO_BYTES, PACKET, RTP_HEADER, Media
from .netlab import SINK, Lab, enter_namespace

MODES = ("sendto", "sendmmsg", "gso")
PROFILES = {
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    "AES128_CM_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
}


MB_PROFILE = "AEAD_AES_128_GCM"


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
        ("address", ctypes.c_uint32),
        ("first_port", ctypes.c_uint16),
        ("passes", ctypes.c_uint16),
        ("size", ctypes.POINTER(ctypes.c_uint16)),
        ("count", ctypes.POINTER(ctypes.c_uint8)),
        ("rounds", ctypes.c_int),
        ("protect", ctypes.c_void_p),
        ("contexts", ctypes.POINTER(ctypes.c_void_p)),
    )


class _Outcome(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("packets", "datagram_runs", "calls", "cpu_ns", "wall_ns", "errors")
    )


def build() -> ctypes.CDLL:
    """Compile floor.c, with ipsec-mb where its header and library are there, and load it."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise NoCompiler("no C compiler found: install gcc or set CC")
    source = Path(__file__).with_name("floor.c")
    command = [*compiler.split(), "-O2", "-march=native", "-Wall", "-shared", "-fPIC"]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "floor.so"
        for options in (["-DRB_IPSEC_MB", "-lIPSec_MB"], []):
            done = subprocess.run(
                [*command, "-o", str(target), str(source), *options],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                break
        else:
            raise NoCompiler(f"{compiler} refuses floor.c: {done.stderr}")
        library = ctypes.CDLL(str(target))
    library.rb_protect.restype = ctypes.c_uint64
    library.rb_protect.argtypes = (ctypes.c_void_p, ctypes.c_int)
    library.rb_schedule.restype = ctypes.c_void_p
    library.rb_schedule.argtypes = (ctypes.c_char_p,)
    library.rb_schedule_free.argtypes = (ctypes.c_void_p,)
    return library


class Keys:
    """A key for each destination, as the C side wants them; ``engine`` says whose.

    libsrtp: a session for each, with a stream for each SSRC as it appears. ipsec-mb: a key
    schedule for each, AES-128-GCM only.
    """

    def __init__(
        self, library: ctypes.CDLL, engine: str, profile: str | None, destinations: int
    ) -> None:
        self.protect: int | None = None
        self.contexts: Any = None
        self._schedules: list[int] = []
        self._library = library
        if profile is None:
            return
        if engine == "ipsec-mb":
            # scattered over memory and in no order, as those of a server are
            self._schedules = [library.rb_schedule(os.urandom(16)) for _ in range(4 * destinations)]
            if not all(self._schedules):
                raise NoEngine("floor.c was built without ipsec-mb, or this CPU cannot run it")
            pointers = random.Random(1).sample(self._schedules, destinations)
        else:
            number, key_length = PROFILES[profile]
            outbound = Policy.SSRC_ANY_OUTBOUND
            self._sessions = [
                pylibsrtp.Session(Policy(os.urandom(key_length), outbound, 0, number))
                for _ in range(destinations)
            ]
            pointers = [int(ffi.cast("uintptr_t", s._srtp[0])) for s in self._sessions]
            self.protect = int(ffi.cast("uintptr_t", ffi.addressof(lib, "srtp_protect")))
        self.contexts = (ctypes.c_void_p * destinations)(*pointers)

    def close(self) -> None:
        for schedule in self._schedules:
            self._library.rb_schedule_free(schedule)
        self._schedules = []


def passes_of(bitrate: int) -> list[list[int]]:
    """A tenth of a second of the media as fan-out passes: 3 frames in one run each, 5 audio
    packets alone (no key frame)."""
    frame = [len(p.data) for p in Media(bitrate, 1, 2).video_frame(False, 0)]
    audio = [AUDIO_BYTES + RTP_HEADER]
    return [frame, audio, audio, frame, audio, frame, audio, audio]


def protect_ns(
    library: ctypes.CDLL, engine: str, profile: str, size: int, destinations: int = 500
) -> float:
    """ns to copy and protect one packet of ``size`` bytes (RTP header included)."""
    keys = Keys(library, engine, profile, destinations)
    plan = _Plan(destinations=destinations, protect=keys.protect, contexts=keys.contexts)
    plan.rounds = 4
    library.rb_protect(ctypes.byref(plan), size)
    plan.rounds = 40
    total = library.rb_protect(ctypes.byref(plan), size)
    keys.close()
    if not total:
        raise RuntimeError(f"{engine} refused a packet")
    return float(total / plan.rounds / destinations)


def floor_row(
    library: ctypes.CDLL,
    lab: Lab,
    *,
    mode: str,
    crypto: str | None,
    engine: str = "libsrtp",
    bitrate: int = 2_500_000,
    destinations: int = 500,
    rounds: int = 20,
    cpu: int = 0,
) -> dict[str, Any]:
    """One row: CPU ns a packet of the bare sender, and whether all of it arrived."""
    passes = passes_of(bitrate)
    sizes = [size for one in passes for size in one]
    keys = Keys(library, engine, crypto, destinations)
    enter_namespace(lab.server_namespace)
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    finally:
        enter_namespace(lab.load_namespace)
    outcome = _Outcome()
    first_port = 10000
    plan = _Plan(
        sock.fileno(),
        MODES.index(mode),
        16,
        destinations,
        int.from_bytes(socket.inet_aton(SINK), "little"),
        first_port,
        len(passes),
        (ctypes.c_uint16 * len(sizes))(*sizes),
        (ctypes.c_uint8 * len(passes))(*map(len, passes)),
        rounds,
        keys.protect,
        keys.contexts,
    )
    ports = range(first_port, first_port + destinations)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        plan.rounds = 2
        library.rb_floor(ctypes.byref(plan), ctypes.byref(outcome))
        plan.rounds = rounds
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
        "destinations": destinations,
        "packets": outcome.packets,
        "arrived": counted,
        "run": round(outcome.packets / outcome.datagram_runs, 2),
        "calls_per_packet": round(outcome.calls / outcome.packets, 4),
        "ns_per_packet": round(outcome.cpu_ns / outcome.packets, 1),
        "errors": outcome.errors,
    }


def run(bitrate: int, destinations: int, segmentations: list[str], cpu: int = 0) -> dict[str, Any]:
    """All modes, with and without the cipher, and the cipher alone."""
    library = build()
    result = results.stamp("floor")
    ciphers: list[tuple[str, str]] = [("libsrtp", name) for name in PROFILES]
    with contextlib.suppress(NoEngine):
        Keys(library, "ipsec-mb", MB_PROFILE, 1).close()
        ciphers.append(("ipsec-mb", MB_PROFILE))
    rows: list[dict[str, Any]] = []
    for segmentation in segmentations:
        lab = Lab(segmentation)
        try:
            for mode in MODES:
                for engine, crypto in (("", None), *ciphers):
                    rows.append(
                        floor_row(
                            library,
                            lab,
                            mode=mode,
                            crypto=crypto,
                            engine=engine,
                            bitrate=bitrate,
                            destinations=destinations,
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
