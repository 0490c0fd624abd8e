"""The sets of benchmarks: ``short`` for a look, ``all`` for the record.

``all`` writes one file a part to ``benchmarks/results/``, over what an earlier run has left there,
as soon as the part is done; a part that fails is told and the others go on. Afterwards
:func:`figures` puts what was asked beside what came out, and the tables in
``docs/performance.md`` are written anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from . import results

Run = Callable[[str], dict[str, Any]]
Say = Callable[[str], None]

ALL: dict[str, str] = {
    "stage": "stage",
    "fanout": "fanout --viewers 1000 --seconds 8",
    "fanout-device": "fanout --viewers 1000 --seconds 8 --segmentation device",
    "fanout-gcm256": "fanout --viewers 1000 --seconds 4 --profile AEAD_AES_256_GCM",
    "fanout-sha1": "fanout --viewers 1000 --seconds 4 --profile AES128_CM_HMAC_SHA1_80",
    "fanout-libsrtp": "fanout --viewers 500 --seconds 4 --engine libsrtp",
    "fanout-feedback": "fanout --viewers 500 --seconds 6 --feedback 2",
    "fanout-ipv6": "fanout --viewers 500 --seconds 4 --ipv6",
    "fanout-workers": "fanout --viewers 500 --seconds 4 --workers 2",
    "findmax": "findmax --viewers 1700 --grow 1.12 --seconds 5",
    "findmax-device": "findmax --viewers 3100 --grow 1.12 --seconds 5 --segmentation device",
    "scale": "scale --seconds 4",
    "latency": "latency --seconds 6",
    "egress": "egress --viewers 800 --seconds 2 --rounds 2",
    "joins": "joins --viewers 600 --seconds 5",
    "fairness": "fairness --viewers 500 --seconds 6",
    "memory": "memory --viewers 1000",
    "floor": "floor --destinations 1000",
}

SHORT: dict[str, str] = {
    "stage": "stage",
    "fanout": "fanout --viewers 500 --seconds 6",
    "fanout-device": "fanout --viewers 500 --seconds 6 --segmentation device",
    "egress": "egress --viewers 300 --seconds 2 --rounds 1",
    "scale": "scale --seconds 1.5",
    "latency": "latency --seconds 4",
    "joins": "joins --viewers 300 --seconds 3",
    "fairness": "fairness --viewers 300 --seconds 4",
    "memory": "memory --viewers 300",
}


def run(
    parts: dict[str, str], one: Run, say: Say, keep: bool, only: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Run the parts in order (``only``: those named); the results of those that worked."""
    chosen = [name for name in parts if not only or name in only]
    done = []
    for number, name in enumerate(chosen, 1):
        say(f"{number}/{len(chosen)}: {parts[name]}")
        begun = time.monotonic()
        try:
            result = one(parts[name])
        except (RuntimeError, OSError) as error:
            say(f"{name} failed: {type(error).__name__}: {error}")
            continue
        result["part"] = name
        result["took_s"] = round(time.monotonic() - begun, 1)
        say(f"{name} took {result['took_s']} s")
        if keep:
            results.keep(result, name)
        done.append(result)
    return done


def _rows(parts: dict[str, dict[str, Any]], name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parts.get(name, {}).get("rows", [])
    return rows


def _row(parts: dict[str, dict[str, Any]], name: str, **wanted: Any) -> dict[str, Any]:
    for row in _rows(parts, name):
        if all(row.get(key) == value for key, value in wanted.items()):
            return row
    return {}


def _show(*values: Any) -> str:
    """Values side by side; – for one that is missing."""
    texts = []
    for value in values:
        text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        texts.append("–" if value is None else text)
    return " / ".join(texts)


def _ms(row: dict[str, Any], *keys: str) -> list[float | None]:
    """µs as ms."""
    return [None if row.get(key) is None else round(row[key] / 1000, 2) for key in keys]


Parts = dict[str, dict[str, Any]]
Line = tuple[str, str, str]  # figure, asked, measured


def _cost(parts: Parts) -> list[Line]:
    fan, device = parts.get("fanout", {}), parts.get("fanout-device", {})
    most, most_device = parts.get("findmax", {}), parts.get("findmax-device", {})
    viewers = fan.get("viewers", "?")

    def both(key: str) -> str:
        return _show(fan.get(key), device.get(key))

    def last_good(key: str) -> str:
        good = [
            [row for row in _rows(parts, name) if row["good"]]
            for name in ("findmax", "findmax-device")
        ]
        return _show(*(rows[-1][key] if rows else None for rows in good))

    return [
        (f"× floor at {viewers} viewers, software / device", "≤ 1.25", both("ratio_to_floor")),
        ("… × a floor that waits between frames", "", both("ratio_to_paced_floor")),
        (f"ns a packet at {viewers} viewers, software / device", "", both("ns_per_packet")),
        (
            "ns a packet at capacity, software / device",
            "≤ 1450 / ≤ 800",
            last_good("ns_per_packet"),
        ),
        (
            "viewers of 2.5 Mbit/s + G.711 on one core, software / device",
            "≥ 1900 / ≥ 3500",
            _show(most.get("viewers"), most_device.get("viewers")),
        ),
        ("… kernel drops (SO_RXQ_OVFL) there", "0 / 0", last_good("kernel_drops")),
        (
            "ns a packet, 3000 over 100 viewers",
            "≤ 1.1",
            _show(parts.get("scale", {}).get("growth_3000_over_100")),
        ),
    ]


def _alone(parts: Parts) -> list[Line]:
    stage, memory = parts.get("stage", {}), parts.get("memory", {})
    kib = [
        None if memory.get(key) is None else round(memory[key] / 1024, 1)
        for key in ("data_plane_bytes_per_viewer", "process_bytes_per_viewer")
    ]
    gains = [
        _row(parts, "egress", egress="sendto", segmentation=one).get("gso_gain")
        for one in ("software", "device")
    ]
    bare = [
        [
            _row(
                parts,
                "floor",
                mode=mode,
                segmentation=one,
                paced=False,
                engine="ipsec-mb",
                crypto="AEAD_AES_128_GCM",
            ).get("ns_per_packet")
            for mode in ("sendto", "gso")
        ]
        for one in ("software", "device")
    ]
    calls = _row(parts, "egress", egress="gso", segmentation="software")
    beside = parts.get("peers", {}).get("times_janus", {})
    return [
        ("memory a viewer, data plane / process, KiB", "≤ 24 / ≤ 128", _show(*kib)),
        (
            "libsrtp over ipsec-mb, SHA1-80 / GCM (batches of 32 and more)",
            "≥ 4 / ≥ 2.5",
            _show(stage.get("ratio_sha1_80"), stage.get("ratio_gcm")),
        ),
        ("GSO over one send a packet, software / device", "≥ 2 / ≥ 3", _show(*gains)),
        (
            "… of the bare program (floor), software / device",
            "",
            _show(*(round(one / gso, 2) if one and gso else None for one, gso in bare)),
        ),
        ("… send calls a packet with GSO", "", _show(calls.get("send_calls_per_packet"))),
        (
            "Janus in the same run, × its packets per CPU second: equal viewers / each at its best",
            "≥ 5",
            _show(*beside.get("at_viewers", {}).values(), beside.get("at_best")),
        ),
    ]


def _delays(parts: Parts) -> list[Line]:
    hundred = _row(parts, "latency", viewers=100)
    rises = [
        None
        if None in (row.get("storm_p99_us"), row.get("quiet_p99_us"))
        else round((row["storm_p99_us"] - row["quiet_p99_us"]) / 1000, 2)
        for row in (_row(parts, "joins", python=p) for p in ("worker's core", "other core"))
    ]
    rate = _row(parts, "joins", python="other core").get("joins_per_second")
    calm, loud = (_row(parts, "fairness", window=w) for w in ("quiet", "one lossy viewer"))
    return [
        (
            "added delay at 100 viewers, frame end p50 / p99, ms",
            "≤ 0.8 / ≤ 2",
            _show(*_ms(hundred, "frame_end_p50_us", "frame_end_p99_us")),
        ),
        ("… single packet p50, ms", "≤ 0.3", _show(*_ms(hundred, "single_p50_us"))),
        ("joins a second, Python on the other core", "≥ 300", _show(rate)),
        (
            "… media p99 less the quiet p99, ms; Python on the worker's core / the other",
            "≤ 5",
            _show(*rises),
        ),
        (
            "p99 of the others without / with a viewer that NACKs everything, ms",
            "unchanged",
            _show(*_ms(calm, "latency_p99_us"), *_ms(loud, "latency_p99_us")),
        ),
        (
            "audio p99, all / while a key frame goes out, ms",
            "",
            _show(*_ms(calm, "audio_p99_us", "audio_at_key_p99_us")),
        ),
    ]


def figures(done: list[dict[str, Any]]) -> list[Line]:
    """(figure, asked, measured) of what was asked of this server; – where a part is missing."""
    parts = {r["part"]: r for r in done if "part" in r}
    return [*_cost(parts), *_delays(parts), *_alone(parts)]


def figures_table(done: list[dict[str, Any]]) -> str:
    """:func:`figures` as Markdown."""
    lines = ["| figure | asked | measured |", "|---|---|---|"]
    lines += [f"| {name} | {asked} | {measured} |" for name, asked, measured in figures(done)]
    return "\n".join(lines)


def sections(done: list[dict[str, Any]]) -> dict[str, str]:
    """What docs/performance.md shows of the kept results, by the name of its place there."""
    parts = [r for r in done if "part" in r]
    if not parts:
        return {}
    newest = max(parts, key=lambda r: str(r["when"]))
    machine = newest["machine"]
    commits = ", ".join(sorted({r["commit"] for r in parts}))
    conditions = (
        f"Commit {commits}, {newest['when'][:10]}. {machine['cpu']} (family/model/stepping "
        f"{machine['cpu_id']}), {machine['cores']} cores, Linux {machine['kernel']}."
    )
    found = {"conditions": conditions, "figures": figures_table(parts)}
    for name in ("fanout", "findmax", "scale", "latency", "joins", "fairness", "egress", "memory"):
        found[name] = results.table((r for r in parts if r["benchmark"] == name), where=False)
    stages = next((r["rows"] for r in parts if r["benchmark"] == "stage"), [])
    for name, alone in (("stages", False), ("protect", True)):
        rows = [row for row in stages if (row["stage"] == "protect") is alone]
        found[name] = results.table([{"benchmark": "stage", "rows": rows}], where=False)
    floors = [r for r in parts if r["benchmark"] == "floor"]
    found["floor"] = results.table(floors, where=False)
    caveats = sorted(
        {
            f"- {r['part']}: {caveat}."
            for r in parts
            for row in (r, *r.get("rows", []))
            for caveat in row.get("caveats", [])
        }
    )
    found["caveats"] = "\n".join(caveats) or "None."
    return found
