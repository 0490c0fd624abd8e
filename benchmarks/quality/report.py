"""The kept result as docs/quality.md shows it: tables between its marks, and plots as PNG.

Pure but for :func:`write` and :func:`plot`; plots need matplotlib, of the development extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import results

Line = tuple[str, str, str]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "quality.md"


def _show(*values: Any) -> str:
    return " / ".join(results.cell(value) for value in values)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _ms(row: dict[str, Any], name: str) -> Any:
    value = row.get(name)
    return None if value is None else round(value)


def _rows(scenario: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """The first row that is so; {} where there is none."""
    return next(
        (r for r in scenario.get("rows", []) if all(r.get(k) == v for k, v in wanted.items())), {}
    )


def figures(result: dict[str, Any]) -> list[Line]:
    """(figure, asked, measured); – where a scenario is missing."""
    found = {name: result["scenarios"].get(name, {}) for name in _NAMES}
    return [*_starts_and_losses(found["start"], found["loss"]), *_the_rest(found)]


def _starts_and_losses(start: dict[str, Any], loss: dict[str, Any]) -> list[Line]:
    links = [_rows(start, way="log", mbit=mbit) for mbit in (0, 20, 10, 5)]
    others = [_rows(start, client=client) for client in _OTHERS]
    random, bursts = _rows(loss, loss="random"), _rows(loss, loss="bursts")
    alone = [_rows(loss, loss=f"{kind}, downstream alone") for kind in ("random", "bursts")]
    return [
        (
            "`start_ms`: POST to first decoded picture, loopback",
            "≤ 150",
            _show(_ms(links[0], "first_ms")),
        ),
        (
            "… Firefox with VP8 / GStreamer with H264, ms",
            "",
            _show(*(_ms(one, "first_ms") for one in others)),
        ),
        (
            "… through 20 / 10 / 5 Mbit/s, ms",
            "",
            _show(*(_ms(one, "first_ms") for one in links[1:])),
        ),
        (
            "… until as live as a veteran, loopback / 20 / 10 / 5 Mbit/s, ms",
            "",
            _show(*(_ms(one, "caught_up_ms") for one in links)),
        ),
        (
            "… packets lost in the burst, 10 / 5 Mbit/s",
            "0 / –",
            _show(*(one.get("overflowed") for one in links[2:])),
        ),
        (
            "`repair_rate`: lost packets repaired in time, 10 % random / 5 % bursts",
            "> 99.5 %",
            f"{_percent(random.get('repair_rate'))} / {_percent(bursts.get('repair_rate'))}",
        ),
        (
            "`freeze_share`: time that the picture stood, the same",
            "< 1 %",
            f"{_percent(random.get('freeze_share'))} / {_percent(bursts.get('freeze_share'))}",
        ),
        (
            "… without the first 5 s",
            "",
            f"{_percent(random.get('freeze_share_later'))} / "
            f"{_percent(bursts.get('freeze_share_later'))}",
        ),
        *(
            (
                f"… loss downstream alone: {what}",
                asked,
                " / ".join(_percent(r.get(key)) for r in alone),
            )
            for what, asked, key in (
                ("repaired in time", "> 99.5 %", "repair_rate"),
                ("the picture stood", "< 1 %", "freeze_share"),
            )
        ),
    ]


def _the_rest(found: dict[str, dict[str, Any]]) -> list[Line]:
    narrow, up, sync = (found[name] for name in ("narrow", "upstream", "sync"))
    return [
        ("Chromium publishes 2.5 Mbit/s after, s", "≤ 10", _show(up.get("reach_s"))),
        ("… fits a bottleneck of 1 Mbit/s after, s", "", _show(up.get("settle_s"))),
        ("`rate_recovery_s`: … has its rate again after it", "", _show(up.get("rate_recovery_s"))),
        *(
            (
                f"`av_skew_ms`: {row['case']}" if not i else f"… {row['case']}",
                "≤ 40",
                _show(row["skew_ms"]),
            )
            for i, row in enumerate(sync.get("rows", []))
        ),
        (
            "`av_skew_added_ms`: more than without a server, at most",
            "",
            _show(sync.get("av_skew_added_ms")),
        ),
        (
            "`publisher_switch_ms`: new publisher's key frame to the next picture",
            "≤ 200",
            _show(sync.get("publisher_switch_ms")),
        ),
        (
            "`delay_ms`: brush to screen, median / p95",
            "≤ 100",
            _show(sync.get("delay_ms"), sync.get("delay_p95_ms")),
        ),
        (
            "… to the decoder's output, median / p95, ms",
            "",
            _show(sync.get("decoded_ms"), sync.get("decoded_p95_ms")),
        ),
        (
            "… in the forwarder, half of the packets / 99 of 100, ms",
            "≤ 2",
            _show(sync.get("forwarder_ms"), sync.get("forwarder_p99_ms")),
        ),
        (
            "500 kbit/s of 2.5 Mbit/s: sound concealed, after 5 s / before",
            "0 / –",
            f"{_percent(narrow.get('audio_concealed_share'))} / "
            f"{_percent(narrow.get('audio_concealed_share_first_5_s'))}",
        ),
        (
            "… pictures a second / longest stand, s",
            "moving, or cleanly paused",
            _show(narrow.get("pictures_per_second"), narrow.get("longest_stand_s")),
        ),
        (
            "… freezes / lost packets of a neighbour on a free way",
            "0 / 0",
            _show(narrow.get("neighbour_freezes"), narrow.get("neighbour_lost")),
        ),
    ]


LATE_MS = 15  # more than that, and it is the machine that was measured
_NAMES = ("start", "loss", "narrow", "upstream", "sync")
_OTHERS = ("Firefox, VP8", "GStreamer")
_STARTS = [
    ("way", "start"), ("client", "viewer"), ("mbit", "Mbit/s (0: loopback)"), ("joins", "joins"),
    ("first_ms", "first picture, ms"), ("worst_first_ms", "… at worst"),
    ("caught_up_ms", "as live as a veteran, ms"), ("lag_ms_at_end", "lag then, ms"),
    ("stand_ms", "longest stand, ms"), ("freezes", "freezes"), ("freeze_s", "frozen, s"),
    ("dropped", "dropped"), ("lost", "lost (getStats)"), ("overflowed", "lost by the link"),
]  # fmt: skip
_LOSSES = [
    ("loss", "loss"), ("seconds", "s"), ("packets", "packets"), ("lost_packets", "lost"),
    ("never_repaired", "never repaired"), ("rtx_received", "retransmissions received"),
    ("rtx_lost", "… lost"), ("nacks", "NACKs"), ("plis", "PLIs"), ("freezes", "freezes"),
    ("freeze_s", "frozen, s"), ("frames_per_second", "pictures/s"),
    ("lag_ms_median", "lag, ms"), ("lag_ms_p95", "p95"), ("jitter_buffer_ms", "jitter buffer, ms"),
    ("audio_concealed_share", "sound concealed"),
]  # fmt: skip
_SKEWS = [
    ("case", "case"), ("first_ms", "first beep, ms"), ("settled_s", "within 40 ms after, s"),
    ("beeps", "last beeps"), ("skew_ms", "sound after picture, ms"), ("least_ms", "least"),
    ("most_ms", "most"), ("direct_ms", "straight, ms"), ("added_ms", "added, ms"),
]  # fmt: skip


def _markdown(columns: list[tuple[str, str]], rows: list[dict[str, Any]]) -> str:
    lines = ["| " + " | ".join(head for _, head in columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(results.cell(row.get(key)) for key, _ in columns) + " |")
    return "\n".join(lines)


def table(result: dict[str, Any]) -> str:
    """:func:`figures` as Markdown."""
    lines = ["| figure | asked | measured |", "|---|---|---|"]
    lines += [f"| {name} | {asked} | {measured} |" for name, asked, measured in figures(result)]
    return "\n".join(lines)


def sections(result: dict[str, Any]) -> dict[str, str]:
    """The parts of docs/quality.md by the names of their places."""
    scenarios = result["scenarios"]
    machine = result["machine"]
    commits = ", ".join(sorted({found["commit"] for found in scenarios.values()}))
    late = {name: found.get("link_late_ms", 0) for name, found in scenarios.items()}
    busy = ", ".join(name for name, ms in late.items() if ms > LATE_MS)
    conditions = (
        f"Commit {commits}, {result['when'][:10]}. {result['browser']}, headless, no GPU. "
        f"{machine['cpu']} (family/model/stepping {machine['cpu_id']}), {machine['cores']} cores, "
        f"Linux {machine['kernel']}. Links were at most {max(late.values(), default=0)} ms late by "
        "their own fault (99.9 % of datagrams)."
    )
    if busy:
        conditions += f" The machine was too busy for the network to be what it says: {busy}."
    return {
        "conditions": conditions,
        "figures": table(result),
        "starts": _markdown(_STARTS, scenarios.get("start", {}).get("rows", [])),
        "losses": _markdown(_LOSSES, scenarios.get("loss", {}).get("rows", [])),
        "skews": _markdown(_SKEWS, scenarios.get("sync", {}).get("rows", [])),
    }


def write(result: dict[str, Any]) -> None:
    """Fill docs/quality.md anew and draw the plots beside the kept results."""
    PAGE.write_text(results.fill(PAGE.read_text(), sections(result)))
    plot(result, results.FOLDER)


def _lags(axes: Any, rows: list[tuple[str, list[Any]]], seconds: float) -> None:
    for label, curve in rows:
        inside = [(at, 1000 * lag) for at, lag in curve if at <= seconds]
        axes.plot(*zip(*inside, strict=True), label=label, linewidth=1)
    axes.set_xlabel("s since the viewer's POST")
    axes.set_ylabel("ms behind the live picture")
    axes.legend(fontsize=7, loc="upper right")


def _start_label(row: dict[str, Any]) -> str:
    client = row.get("client", "Chromium")
    label = str(row["way"]) if client == "Chromium" else str(client)
    return f"{label}, {row['mbit']:g} Mbit/s" if row["mbit"] else label


def _plot_start(axes: Any, scenario: dict[str, Any]) -> None:
    rows = [(_start_label(r), r["curve"]) for r in scenario["rows"] if r["curve"]]
    colours = ("blue", "orange", "green", "red", "purple", "brown", "pink", "gray", "olive", "cyan")
    axes.set_prop_cycle(color=[*(f"tab:{name}" for name in colours), "black"])
    _lags(axes, rows, 5.0)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_title("Start: 6 s into a group of pictures of 10 s")


def _plot_loss(axes: Any, scenario: dict[str, Any]) -> None:
    _lags(axes, [(r["loss"], r["curve"]) for r in scenario["rows"]], 30.0)
    axes.set_title("Loss: 10 % at random, 5 % in bursts; round trip 50 ms")


def _plot_upstream(axes: Any, scenario: dict[str, Any]) -> None:
    for name, label in (("curve", "sent"), ("allowed", "Chromium's estimate")):
        points = [(t, bits / 1e6) for t, bits in scenario[name]]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1)
    start, end = scenario["narrowed_at"], scenario["freed_at"]
    axes.axvspan(start, end, alpha=0.15, color="tab:red")
    axes.axhline(scenario["bottleneck_bps"] / 1e6, color="tab:red", linewidth=0.7)
    axes.set_ylim(0, 1.6 * scenario["target_bps"] / 1e6)
    axes.set_xlabel("s")
    axes.set_ylabel("Mbit/s")
    axes.legend(fontsize=7)
    axes.set_title("Chromium publishes; a bottleneck of 1 Mbit/s comes and goes")


def _plot_narrow(axes: Any, scenario: dict[str, Any]) -> None:
    curve = scenario["curve"]
    at = [row["at"] for row in curve]
    axes.bar(at, [row["pictures"] for row in curve], width=0.6, label="pictures/s", alpha=0.6)
    axes.set_ylim(0, 1.1 * max(30.0, *(row["pictures"] for row in curve)))
    axes.set_ylabel("pictures a second")
    axes.set_xlabel("s")
    other = axes.twinx()
    shares = [100 * row["concealed"] for row in curve]
    other.plot(at, shares, "o-", color="tab:red", markersize=3, label="sound concealed")
    other.set_ylabel("% of sound concealed", color="tab:red")
    other.set_ylim(0, 105)
    axes.set_title("A viewer on 500 kbit/s of a 2.5 Mbit/s stream")


_PLOTS = {
    "start": _plot_start,
    "loss": _plot_loss,
    "upstream": _plot_upstream,
    "narrow": _plot_narrow,
}


def plot(result: dict[str, Any], folder: Path) -> bool:
    """quality-NAME.png for each scenario that has a plot; False where matplotlib is missing."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    for name, draw in _PLOTS.items():
        if name not in result["scenarios"]:
            continue
        figure, axes = pyplot.subplots(figsize=(7, 3.6), dpi=120)
        draw(axes, result["scenarios"][name])
        axes.title.set_fontsize(10)
        axes.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(folder / f"quality-{name}.png")
        pyplot.close(figure)
    return True
