"""What a viewer takes of memory: in the data plane, to the byte, and in the whole process.

*Data plane*: the C structures and the expanded key by the forwarder's own account
(``forwarder_memory`` of ``/api/v1/server``), its places in the tables of every worker, and
libsrtp's two contexts, taken from the allocator's account (mallinfo2) around making some hundreds
of them. *Process*: growth of resident memory from some viewers to many, over the viewers between;
Python's session, DTLS and the allocator's leftovers are in it.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

from rtcfwd.forwarder import libsrtp
from rtcfwd.forwarder.api import SrtpProfile

from . import results
from .fanout import Bench, Say, Settings
from .peer import PROFILE_NAMES

_FIRST = 50  # viewers that do not count: what the first ones take once


class _MallInfo(ctypes.Structure):
    _fields_ = tuple((f"field{i}", ctypes.c_size_t) for i in range(10))


def _allocated() -> int:
    """Bytes in use by the C allocator of this process (uordblks and mapped blocks)."""
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = _MallInfo
    info = libc.mallinfo2()
    return int(info.field7) + int(info.field4)


def contexts_bytes(profile: SrtpProfile, count: int = 200) -> int:
    """Bytes of libsrtp's contexts of one viewer (video, its RTX, audio; and inbound RTCP)."""
    length = libsrtp.KEY_SALT_BYTES[profile]
    keys = [(os.urandom(length), os.urandom(length)) for _ in range(count)]
    libsrtp.make_sessions(profile, *keys[0], [1, 2, 3])
    before = _allocated()
    kept = [libsrtp.make_sessions(profile, rx, tx, [1, 2, 3]) for rx, tx in keys]
    return (_allocated() - before) // len(kept)


def run(settings: Settings, say: Say) -> dict[str, Any]:
    result = results.stamp("memory")
    bench = Bench(settings, say)
    try:
        bench.join(_FIRST, samples=2)
        time.sleep(1.0)
        first = bench.server.usage().rss
        joined = bench.join(settings.viewers, samples=0)
        time.sleep(1.0)
        rss = bench.server.usage().rss
        told = bench.server.api("server")
    finally:
        bench.close()
    memory = told["forwarder_memory"]
    number = next(int(p) for p in joined["profiles"])
    contexts = contexts_bytes(SrtpProfile(number))
    own = memory["viewers"] // memory["viewer_count"]
    result.update(
        {
            "viewers": memory["viewer_count"],
            "engine": told["engine"],
            "profile": PROFILE_NAMES[number],
            "viewer_structures_bytes": own,
            "viewer_libsrtp_bytes": contexts,
            "data_plane_bytes_per_viewer": own + contexts,
            "process_bytes_per_viewer": round((rss - first) / (joined["joined"] - _FIRST)),
            "workers_bytes": memory["workers"],
            "streams_bytes": memory["streams"],
            "server_rss_bytes": rss,
        }
    )
    return result
