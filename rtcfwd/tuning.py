"""What the kernel gives and what it should: hints for the operator, as text.

Pure. A UDP socket asks for :data:`SOCKET_BUFFER` bytes each way; without CAP_NET_ADMIN the kernel
cuts that to ``net.core.rmem_max`` and ``net.core.wmem_max`` (socket(7)). A short receive buffer
loses packets while a key frame goes out to everybody, a short send buffer makes packets wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SOCKET_BUFFER = 4 << 20
"""Bytes asked for SO_RCVBUF and SO_SNDBUF of each worker's socket."""

_LIMITS = {
    "receive_buffer": ("rmem_max", "datagrams may be lost in bursts"),
    "send_buffer": ("wmem_max", "packets wait longer in bursts"),
}


def buffer_hints(worker_stats: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each direction in which some worker's socket got less than it asked for: what
    follows from it and which setting to change. Empty when all is well, or there are no sockets.

    ``worker_stats``: as :meth:`rtcfwd.forwarder.api.Forwarder.worker_stats` gives them, bytes.
    """
    hints = []
    for name, (limit, effect) in _LIMITS.items():
        short = [
            (int(w[name]), int(w["asked_buffer"]))
            for w in worker_stats
            if w.get("asked_buffer") and w.get(name, 0) < w["asked_buffer"]
        ]
        if short:
            got, asked = min(short)
            hints.append(
                f"the kernel gave {got} of {asked} bytes of socket {name.replace('_', ' ')}: "
                f"{effect}; allow more: sysctl -w net.core.{limit}={asked}"
            )
    return hints
