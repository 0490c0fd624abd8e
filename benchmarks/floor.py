"""The floor and the cipher alone: what no server with the same means can be below.

``floor.c`` is compiled when it is needed (a C compiler is the only demand). The floor sends the
same packet sizes in the same run lengths to as many destinations through the same lab and the same
counting drop, with and without libsrtp's protect (a session for each destination, with two
streams, as a viewer has).
"""

from __future__ import annotations

import ctypes
import os
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
    """Compile floor.c and load it."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise NoCompiler("no C compiler found: install gcc or set CC")
    source = Path(__file__).with_name("floor.c")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "floor.so"
        command = [*compiler.split(), "-O2", "-march=native", "-Wall", "-shared", "-fPIC"]
        done = subprocess.run(
            [*command, "-o", str(target), str(source)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NoCompiler(f"{compiler} refuses floor.c: {done.stderr}")
        library = ctypes.CDLL(str(target))
    library.rb_protect.restype = ctypes.c_uint64
    library.rb_protect.argtypes = (
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
    )
    return library


def passes_of(bitrate: int) -> list[list[int]]:
    """A tenth of a second of the media as fan-out passes: 3 frames in one run each, 5 audio
    packets alone (no key frame)."""
    frame = [len(p.data) for p in Media(bitrate, 1, 2).video_frame(False, 0)]
    audio = [AUDIO_BYTES + RTP_HEADER]
    return [frame, audio, audio, frame, audio, frame, audio, audio]


def _sessions(profile: str, count: int) -> tuple[list[pylibsrtp.Session], Any]:
    number, key_length = PROFILES[profile]
    sessions = [
        pylibsrtp.Session(Policy(os.urandom(key_length), Policy.SSRC_ANY_OUTBOUND, 0, number))
        for _ in range(count)
    ]
    pointers = [int(ffi.cast("uintptr_t", s._srtp[0])) for s in sessions]
    return sessions, (ctypes.c_void_p * count)(*pointers)


def _protect_pointer() -> int:
    return int(ffi.cast("uintptr_t", ffi.addressof(lib, "srtp_protect")))


def protect_ns(library: ctypes.CDLL, profile: str, size: int, destinations: int = 500) -> float:
    """ns to copy and protect one packet of ``size`` bytes (RTP header included) by libsrtp."""
    sessions, contexts = _sessions(profile, destinations)
    rounds = 40
    library.rb_protect(_protect_pointer(), contexts, destinations, size, 4)
    total = library.rb_protect(_protect_pointer(), contexts, destinations, size, rounds)
    del sessions
    if not total:
        raise RuntimeError("srtp_protect refused a packet")
    return float(total) / rounds / destinations


def floor_row(
    library: ctypes.CDLL,
    lab: Lab,
    *,
    mode: str,
    crypto: str | None,
    bitrate: int = 2_500_000,
    destinations: int = 500,
    rounds: int = 20,
    cpu: int = 0,
) -> dict[str, Any]:
    """One row: CPU ns a packet of the bare sender, and whether all of it arrived."""
    passes = passes_of(bitrate)
    sizes = [size for one in passes for size in one]
    sessions, contexts = _sessions(crypto, destinations) if crypto else ([], None)
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
        _protect_pointer() if crypto else None,
        contexts,
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
    del sessions
    return {
        "mode": mode,
        "segmentation": lab.segmentation,
        "crypto": crypto or "none",
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
    rows = []
    for segmentation in segmentations:
        lab = Lab(segmentation)
        try:
            for mode in MODES:
                for crypto in (None, *PROFILES):
                    rows.append(
                        floor_row(
                            library,
                            lab,
                            mode=mode,
                            crypto=crypto,
                            bitrate=bitrate,
                            destinations=destinations,
                            cpu=cpu,
                        )
                    )
        finally:
            lab.close()
    result["bitrate"] = bitrate
    result["engine"] = "libsrtp"
    for name in PROFILES:
        for size in (AUDIO_BYTES + RTP_HEADER, PACKET):
            spent = round(protect_ns(library, name, size, destinations), 1)
            mode = f"protect alone, {size} bytes"
            rows.append(
                {"mode": mode, "crypto": name, "destinations": destinations, "ns_per_packet": spent}
            )
    result["rows"] = rows
    return result
