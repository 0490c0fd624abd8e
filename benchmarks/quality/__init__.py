"""What a viewer sees of a bad network, measured with the real server and a real Chromium.

``run`` plays scenarios one after the other (start, loss, narrow, upstream, sync: each a module with
a ``run``), behind the links of benchmarks/link.py. Figures come from the browser's getStats, from
the pictures' own numbers (clip.py, probe.js) and from what links saw. Needs Debian's chromium and
the development extra (playwright, numpy); start also measures firefox-esr and GStreamer if they are
there.
"""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import Any

from .. import results
from .lab import CHROMIUM, Lab, Say

SCENARIOS = ("start", "loss", "narrow", "upstream", "sync")
HEADLINES = (
    "start_ms",
    "repair_rate",
    "freeze_share",
    "rate_recovery_s",
    "av_skew_ms",
    "publisher_switch_ms",
    "delay_ms",
)
KEPT = results.FOLDER / "quality.json"


def run(say: Say, only: list[str] | None = None) -> dict[str, Any]:
    """All scenarios, or some. One that fails leaves ``error`` in its place and the others go on.
    Raises RuntimeError where there is no browser."""
    if not Path(CHROMIUM).exists():
        raise RuntimeError(f"no {CHROMIUM}: install Debian's chromium (make test does)")
    begin = time.monotonic()
    result = results.stamp("quality")
    scenarios: dict[str, Any] = {}
    lab = Lab(say)
    try:
        result["browser"] = f"Chromium {lab.browser().version}"
        for name in only or SCENARIOS:
            since = time.monotonic()
            try:
                found = importlib.import_module(f"{__name__}.{name}").run(lab)
            except Exception as error:  # browser, server, link: told, and the next one is tried
                say(f"{name} failed: {type(error).__name__}: {error}")
                found = {"error": f"{type(error).__name__}: {error}"[:400]}
            stamp = {key: result[key] for key in ("commit", "when", "browser")}
            scenarios[name] = {**stamp, "took_s": round(time.monotonic() - since, 1), **found}
    finally:
        lab.close()
    result["took_s"] = round(time.monotonic() - begin, 1)
    return _with_headlines(result, scenarios)


def failed(result: dict[str, Any]) -> bool:
    return any("error" in found for found in result["scenarios"].values())


def keep(result: dict[str, Any]) -> Path:
    """Write benchmarks/results/quality.json. Scenarios that were not run now, or failed now, are
    kept as they were; each bears the commit and time of its own."""
    scenarios = dict(load()["scenarios"]) if KEPT.exists() else {}
    scenarios |= {n: found for n, found in result["scenarios"].items() if "error" not in found}
    whole = _with_headlines(
        {k: v for k, v in result.items() if k not in HEADLINES},
        {name: scenarios[name] for name in SCENARIOS if name in scenarios},
    )
    parts = [f'"{name}": {json.dumps(found)}' for name, found in whole["scenarios"].items()]
    head = json.dumps({k: v for k, v in whole.items() if k != "scenarios"}, indent=1)
    body = ",\n  ".join(parts)
    KEPT.write_text(f'{head[:-2]},\n "scenarios": {{\n  {body}\n }}\n}}\n')
    return KEPT


def load() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(KEPT.read_text())
    return kept


def _with_headlines(result: dict[str, Any], scenarios: dict[str, Any]) -> dict[str, Any]:
    for name in HEADLINES:
        result[name] = next((found[name] for found in scenarios.values() if name in found), None)
    result["scenarios"] = scenarios
    return result
