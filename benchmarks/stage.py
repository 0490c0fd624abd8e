"""Each stage of a packet's way alone, in memory: ns per packet.

``stage.c`` is compiled with all of ``csrc/``, with the flags of ``setup.py``, and driven from
here: keys, libsrtp's contexts and what is asked of which stage. 500 viewers, so that their states
and keys do not stay in the first caches. The best of five; pinned to one core, which must be free.

The row ``protect`` has the engine alone, in batches of 1, 8, 32 and 128 packets; its ``ratio`` is
libsrtp's time over ipsec-mb's at the same profile and batch.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pylibsrtp

from rtcfwd.forwarder import libsrtp
from rtcfwd.forwarder.api import SrtpProfile

from . import results
from .floor import ROOT, NoCompiler, is_missing

VIEWERS = 500
BATCHES = (1, 8, 32, 128)
SIZES = (1200, 172)
ENGINES = {"libsrtp": 1, "ipsec-mb": 2}
_FIRST_SSRC = 100000  # as in stage.c
_FLAGS = ["-std=c11", "-O3", "-D_GNU_SOURCE", "-pthread", "-fPIC", "-w"]


class _Lib(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in ("protect", "unprotect", "protect_rtcp", "unprotect_rtcp")
    )


class _Setup(ctypes.Structure):
    _fields_ = (
        ("viewers", ctypes.c_int),
        ("profile", ctypes.c_int),
        ("engine", ctypes.c_int),
        ("lib", _Lib),
        ("tx", ctypes.POINTER(ctypes.c_void_p)),
        ("rx", ctypes.c_void_p),
        ("pub_tx", ctypes.c_void_p),
    )


class _Figure(ctypes.Structure):
    _fields_ = (("ns", ctypes.c_uint64), ("count", ctypes.c_uint64))


def build() -> tuple[ctypes.CDLL, bool]:
    """The library, and whether ipsec-mb is in it. Raises :class:`NoCompiler`."""
    compiler = (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or "").split()
    if not compiler:
        raise NoCompiler("no C compiler found: install gcc or set CC")
    sources = [Path(__file__).with_name("stage.c"), *sorted((ROOT / "csrc").glob("*/*.c"))]
    include = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]
    error = ""
    for engine in (["-DRF_HAVE_IPSEC_MB"], []):
        with tempfile.TemporaryDirectory() as folder:

            def compile_one(
                source: Path, folder: str = folder, engine: list[str] = engine
            ) -> subprocess.CompletedProcess[str]:
                target = f"{folder}/{source.parent.name}-{source.stem}.o"
                command = [*compiler, *_FLAGS, *engine, *include, "-c", str(source), "-o", target]
                return subprocess.run(command, capture_output=True, text=True, check=False)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                done = list(pool.map(compile_one, sources))
            library = f"{folder}/stage.so"
            command = [*compiler, "-shared", "-pthread", *map(str, Path(folder).glob("*.o"))]
            command += ["-Wl,--wrap=sendmmsg,--wrap=sendmsg", "-o", library]
            command += ["-lIPSec_MB"] if engine else []
            failed = [one for one in done if one.returncode]
            if not failed:
                linked = subprocess.run(command, capture_output=True, text=True, check=False)
                if linked.returncode == 0:
                    return ctypes.CDLL(library), bool(engine)
                failed = [linked]
            error = failed[0].stderr
            if not is_missing(error):
                break
    raise NoCompiler(f"{compiler[0]} refuses stage.c: {error}")


class World:
    """One publisher and its viewers in memory, with keys of one profile and one engine."""

    def __init__(self, library: ctypes.CDLL, profile: SrtpProfile, engine: str) -> None:
        self._library = library
        length = libsrtp.KEY_SALT_BYTES[profile]
        published = os.urandom(length)
        keys = [os.urandom(length) for _ in range(VIEWERS)]
        self._sessions = [
            libsrtp.make_sessions(profile, keys[i], keys[i], [_FIRST_SSRC + i])
            for i in range(VIEWERS)
        ]
        inbound = libsrtp.make_sessions(profile, published, published, [1])
        outbound = pylibsrtp.Session(
            libsrtp._policy(profile, published, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        )
        self._kept = (inbound, outbound)
        setup = _Setup(
            VIEWERS,
            int(profile),
            ENGINES[engine],
            _Lib(*libsrtp.FUNCTIONS),
            (ctypes.c_void_p * VIEWERS)(*(s.tx for s in self._sessions)),
            inbound.rx,
            libsrtp._address(outbound),
        )
        rc = library.st_open(ctypes.byref(setup))
        if rc:
            raise RuntimeError(f"stage.c: {engine} with {profile.name}: error {rc}")

    def ns(self, name: str, *arguments: int) -> float:
        """ns per packet of one measurement; RuntimeError where the stage refused a packet."""
        figure = _Figure()
        call = getattr(self._library, f"st_{name}")
        rc = call(*arguments, ctypes.byref(figure))
        if call.restype is not None and rc:
            raise RuntimeError(f"stage.c: {name} {arguments}: error {rc}")
        return figure.ns / figure.count if figure.count else float("nan")

    def fanout(self, rounds: int) -> tuple[float, float, float]:
        """ns of append and of the whole way out, per packet, and the mean run length."""
        into, out, runs = _Figure(), _Figure(), ctypes.c_uint64()
        self._library.st_fanout(rounds, ctypes.byref(into), ctypes.byref(out), ctypes.byref(runs))
        return into.ns / into.count, out.ns / out.count, out.count / max(runs.value, 1)

    def close(self) -> None:
        self._library.st_close()


def _best(measure: Callable[[], float], times: int = 5) -> float:
    return round(min(measure() for _ in range(times)), 1)


def _protect(library: ctypes.CDLL, engines: list[str]) -> Iterator[dict[str, Any]]:
    for profile in SrtpProfile:
        for size in SIZES:
            times: dict[tuple[str, int], float] = {}
            for engine in engines:
                world = World(library, profile, engine)
                for batch in BATCHES:
                    rounds = 40_000 // batch
                    times[engine, batch] = _best(
                        lambda w=world, b=batch, n=rounds, s=size: w.ns("protect", n, b, s)
                    )
                world.close()
            for (engine, batch), ns in times.items():
                row = {
                    "stage": "protect",
                    "engine": engine,
                    "profile": profile.name,
                    "bytes": size,
                    "batch": batch,
                    "ns": ns,
                }
                if engine == "ipsec-mb":
                    row["ratio"] = round(times["libsrtp", batch] / ns, 2)
                yield row


def _way(library: ctypes.CDLL, engine: str) -> Iterator[dict[str, Any]]:
    """All the other stages, with GCM-128."""
    profile = SrtpProfile.AEAD_AES_128_GCM
    world = World(library, profile, engine)

    def row(stage: str, ns: float, note: str = "") -> dict[str, Any]:
        return {"stage": stage, "engine": engine, "profile": profile.name, "ns": ns, "note": note}

    yield row("demux", _best(lambda: world.ns("demux", 100)), "class, tuple, peer")
    yield row("unprotect", _best(lambda: world.ns("unprotect", 20, 0)), "publisher's RTP, libsrtp")
    yield row("unprotect RTCP", _best(lambda: world.ns("unprotect", 20, 1)), "libsrtp")
    ways = [world.fanout(60) for _ in range(5)]
    yield row("append", round(min(w[0] for w in ways), 1), "of one published packet")
    best = min(ways, key=lambda w: w[1])
    yield row("way out", round(best[1], 1), f"all but the system call; runs of {best[2]:.1f}")
    yield row("rewrite", _best(lambda: world.ns("rewrite", 20)), "header")
    yield row("layout", _best(lambda: world.ns("layout", 2000, 9)), "messages, runs of 9")
    yield row("layout", _best(lambda: world.ns("layout", 2000, 1)), "messages, single packets")
    yield row("RTCP in", _best(lambda: world.ns("feedback", 20, 0)), "RR + SDES, a compound")
    yield row(
        "NACK answer",
        _best(lambda: world.ns("feedback", 20, 1)),
        "a packet: look-up, rewrite, protect, layout",
    )
    world.close()


def run(cpu: int = 0) -> dict[str, Any]:
    """All stages; pinned to core ``cpu``."""
    library, has_mb = build()
    for name in ("open", "unprotect", "protect"):
        getattr(library, f"st_{name}").restype = ctypes.c_int
    for name in ("demux", "rewrite", "layout", "feedback", "fanout", "close"):
        getattr(library, f"st_{name}").restype = None
    result = results.stamp("stage")
    engines = ["libsrtp", "ipsec-mb"] if has_mb else ["libsrtp"]
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        rows = [*_protect(library, engines), *_way(library, engines[-1])]
    finally:
        os.sched_setaffinity(0, before)
    result["viewers"] = VIEWERS
    result["rows"] = rows
    result.update(_ratios(rows))
    return result


def _ratios(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """The worst ``ratio`` of full packets in batches of 32 and more: SHA1-80, and both GCMs."""

    def worst(prefix: str) -> float | None:
        found = [
            row["ratio"]
            for row in rows
            if row["profile"].startswith(prefix)
            and row.get("bytes") == SIZES[0]
            and row.get("batch", 0) >= 32
            and "ratio" in row
        ]
        return min(found, default=None)

    return {"ratio_sha1_80": worst("AES128_CM"), "ratio_gcm": worst("AEAD")}
