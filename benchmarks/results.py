"""Results: where they were measured, how they are kept, and the table made of them.

A number is a script, a machine, a commit and a caveat. Every result is one JSON object with
``benchmark``, ``machine``, ``commit``, ``when`` and its own figures.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import time
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "results"


def machine() -> dict[str, Any]:
    """CPU model, cores, kernel, Python."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    family = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.split("\t")[0] in ("cpu family", "model", "stepping")
    ][:3]
    return {
        "cpu": model,
        "cpu_id": "/".join(family),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit's short name, with ``+`` if the tree differs from it; ``unknown`` outside git."""

    def git(*arguments: str) -> str:
        root = Path(__file__).resolve().parent
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        name = git("rev-parse", "--short", "HEAD")
        return name + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def stamp(benchmark: str) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "machine": machine(),
        "commit": commit(),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def percentile(ordered: Sequence[int | float], percent: float) -> float | None:
    """Nearest rank of a sorted sequence; None if it is empty."""
    if not ordered:
        return None
    rank = max(math.ceil(percent / 100 * len(ordered)), 1)
    return ordered[rank - 1]


def percentiles_us(raw: bytes) -> dict[str, float | None]:
    """p50, p99 and max in µs of packed int64 ns."""
    values = array("q")
    values.frombytes(raw)
    ordered = sorted(values)
    return {
        f"p{name}": None if value is None else round(value / 1000, 1)
        for name, value in (
            ("50", percentile(ordered, 50)),
            ("99", percentile(ordered, 99)),
            ("max", ordered[-1] if ordered else None),
        )
    }


def keep(result: dict[str, Any], name: str | None = None) -> Path:
    """Write ``results/NAME.json`` (default: benchmark, time of day and commit)."""
    FOLDER.mkdir(exist_ok=True)
    when = result["when"].replace(":", "").replace("-", "")
    stem = name or f"{result['benchmark']}-{when}-{result['commit'].rstrip('+')}"
    path = FOLDER / f"{stem}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def load(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """All kept results, oldest first."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return sorted(results, key=lambda r: str(r["when"]))


_SWARM = [
    ("viewers", "viewers"),
    ("profile", "profile"),
    ("segmentation", "segmentation"),
    ("packets_per_cpu_s", "packets per CPU s"),
    ("ns_per_packet", "ns/packet"),
    ("server_core_percent", "core %"),
    ("delivered", "delivered"),
    ("loss_percent", "lost %"),
    ("checked_good", "checked"),
    ("checked_bad", "bad"),
    ("latency_p50_us", "p50 µs"),
    ("latency_p99_us", "p99 µs"),
    ("frame_end_p99_us", "frame end p99 µs"),
    ("bottleneck", "load side"),
]

_COLUMNS: dict[str, list[tuple[str, str]]] = {
    "fanout": [
        ("viewers", "viewers"),
        ("bitrate", "bit/s"),
        ("engine", "engine"),
        ("profile", "profile"),
        ("egress", "egress"),
        ("segmentation", "segmentation"),
        ("ip", "IP"),
        ("workers", "workers"),
        ("feedback_percent", "NACKed %"),
        ("delivered", "delivered"),
        ("lost", "lost"),
        ("ns_per_packet", "ns/packet"),
        ("floor_ns_per_packet", "floor"),
        ("ratio_to_floor", "x floor"),
        ("ratio_to_paced_floor", "x paced floor"),
        ("run_length_mean", "run"),
        ("server_core_percent", "core %"),
        ("latency_p50_us", "p50 µs"),
        ("latency_p99_us", "p99 µs"),
        ("rss_bytes_per_viewer", "bytes/viewer"),
        ("joins_per_second", "joins/s"),
    ],
    "findmax": [
        ("viewers", "viewers"),
        ("segmentation", "segmentation"),
        ("good", "good"),
        ("tries", "tries"),
        ("loss_percent", "lost %"),
        ("ns_per_packet", "ns/packet"),
        ("server_core_percent", "core %"),
        ("latency_p50_us", "p50 µs"),
        ("single_p99_us", "audio p99 µs"),
        ("frame_end_p99_us", "frame end p99 µs"),
        ("key_end_p99_us", "key frame end p99 µs"),
    ],
    "latency": [
        ("viewers", "viewers"),
        ("segmentation", "segmentation"),
        ("single_p50_us", "single p50 µs"),
        ("single_p99_us", "single p99 µs"),
        ("frame_end_p50_us", "frame end p50 µs"),
        ("frame_end_p99_us", "frame end p99 µs"),
        ("key_end_p99_us", "key frame end p99 µs"),
    ],
    "joins": [
        ("python", "server's Python on"),
        ("viewers", "viewers"),
        ("joins_per_second", "joins/s"),
        ("join_p50_ms", "join p50 ms"),
        ("join_p99_ms", "join p99 ms"),
        ("first_packet_p50_ms", "first packet p50 ms"),
        ("server_cpu_us_per_join", "server µs/join"),
        ("server_core_busy_percent", "server's core %"),
        ("load_core_busy_percent", "other core %"),
        ("quiet_p99_us", "watchers' p99 quiet µs"),
        ("storm_p99_us", "in the storm µs"),
        ("quiet_audio_p99_us", "audio p99 quiet µs"),
        ("storm_audio_p99_us", "in the storm µs"),
        ("watchers_lost", "lost"),
        ("failures", "failed"),
    ],
    "scale": [
        ("viewers", "viewers"),
        ("segmentation", "segmentation"),
        ("ns_per_packet", "ns/packet"),
        ("run_length_mean", "run"),
        ("lost", "lost"),
        ("server_core_percent", "core %"),
        ("latency_p50_us", "p50 µs"),
        ("latency_p99_us", "p99 µs"),
    ],
    "egress": [
        ("egress", "egress"),
        ("segmentation", "segmentation"),
        ("ns_per_packet", "ns/packet"),
        ("packets_per_cpu_s", "packets per CPU s"),
        ("gso_gain", "GSO x this"),
        ("send_calls_per_packet", "send calls/packet"),
        ("run_length_mean", "run"),
        ("lost", "lost"),
        ("latency_p99_us", "p99 µs"),
    ],
    "fairness": [
        ("window", "window"),
        ("ns_per_packet", "ns/packet"),
        ("lost", "lost"),
        ("kernel_drops", "kernel drops"),
        ("latency_p50_us", "p50 µs"),
        ("latency_p99_us", "p99 µs"),
        ("audio_p99_us", "audio p99 µs"),
        ("audio_at_key_p99_us", "audio at a key frame p99 µs"),
        ("frame_end_p99_us", "frame end p99 µs"),
        ("key_end_p99_us", "key frame end p99 µs"),
    ],
    "memory": [
        ("viewers", "viewers"),
        ("engine", "engine"),
        ("profile", "profile"),
        ("viewer_structures_bytes", "structures and keys"),
        ("viewer_libsrtp_bytes", "libsrtp's contexts"),
        ("data_plane_bytes_per_viewer", "data plane bytes/viewer"),
        ("process_bytes_per_viewer", "process bytes/viewer"),
        ("workers_bytes", "fixed, workers"),
        ("streams_bytes", "logs"),
    ],
    "stage": [
        ("stage", "stage"),
        ("engine", "engine"),
        ("profile", "profile"),
        ("bytes", "bytes"),
        ("batch", "batch"),
        ("ns", "ns"),
        ("ratio", "libsrtp / ipsec-mb"),
        ("note", "what"),
    ],
    "swarm": _SWARM,
    "peers": [("server", "server"), *_SWARM, ("note", "note")],
    "floor": [
        ("mode", "mode"),
        ("paced", "paced"),
        ("segmentation", "segmentation"),
        ("crypto", "crypto"),
        ("engine", "engine"),
        ("destinations", "destinations"),
        ("run", "segments a run"),
        ("ns_per_packet", "ns/packet"),
    ],
}


def fill(text: str, parts: dict[str, str]) -> str:
    """``text`` with what stands between ``<!-- NAME -->`` and ``<!-- end -->`` replaced by
    ``parts[NAME]``, for each name; ValueError where one has no place."""
    for name, content in parts.items():
        begin, end = f"<!-- {name} -->\n", "<!-- end -->"
        start = text.find(begin)
        stop = text.find(end, start)
        if start < 0 or stop < 0:
            raise ValueError(f"no place for {name}")
        text = text[: start + len(begin)] + content.rstrip("\n") + "\n" + text[stop:]
    return text


def cell(value: Any) -> str:
    """A value as a table shows it; – for None."""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{1 if abs(value) >= 10 else 2}f}"
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def table(results: Iterable[dict[str, Any]], where: bool = True) -> str:
    """Markdown, one table a benchmark; a ``rows`` list in a result becomes several rows.
    ``where``: with a title, and commit and machine in each row."""
    parts = []
    by_name: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_name.setdefault(result["benchmark"], []).append(result)
    for name, group in by_name.items():
        columns = _COLUMNS.get(name)
        if columns is None:
            continue
        if where:
            parts.append(f"### {name}\n")
        rows = [(result, row) for result in group for row in result.get("rows", [result])]
        shown = [c for c in columns if any(row.get(c[0]) is not None for _, row in rows)]
        heads = [head for _, head in shown] + (["commit", "machine"] if where else [])
        parts.append("| " + " | ".join(heads) + " |")
        parts.append("|" + "---|" * len(heads))
        for result, row in rows:
            cells = [cell(row.get(key)) for key, _ in shown]
            if where:
                machine = f"{result['machine']['cpu']}, {result['machine']['kernel']}"
                cells += [result["commit"], machine]
            parts.append("| " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)
