"""Pure pieces of the benchmarks: percentiles, gaps, samples, the offer and answer, the drop."""

from __future__ import annotations

import os
import struct
import subprocess
from array import array
from typing import Any

import pytest

from benchmarks import bpf, floor, results, suite
from benchmarks.__main__ import _parser
from benchmarks.findmax import judge
from benchmarks.peer import Credentials, make_offer, read_answer
from benchmarks.server import worker_totals
from benchmarks.viewers import _gaps, sample_positions


def test_percentiles_are_nearest_ranks() -> None:
    assert results.percentile([], 50) is None
    assert results.percentile([1, 2, 3, 4], 50) == 2
    assert results.percentile(list(range(1, 101)), 99) == 99
    raw = array("q", [3000, 1000, 2000]).tobytes()
    assert results.percentiles_us(raw) == {"p50": 2.0, "p99": 3.0, "pmax": 3.0}


@pytest.mark.parametrize(
    ("numbers", "gaps"), [(set(), 0), ({5, 6, 7}, 0), ({65534, 65535, 1}, 1), ({0, 4}, 3)]
)
def test_gaps_over_the_wrap(numbers: set[int], gaps: int) -> None:
    assert _gaps(numbers) == gaps


def test_samples_are_spread_over_the_order_of_joining() -> None:
    assert sample_positions(100, 4) == {12, 37, 62, 87}
    assert sample_positions(2, 8) == {0, 1}
    assert sample_positions(5, 0) == set()


def test_offer_and_answer() -> None:
    local = Credentials("abcd", "p" * 24, (("sha-256", "AA:BB"),), "actpass")
    offer = make_offer(local, publish=True, ssrcs=(1, 2))
    assert offer.count("m=") == 2
    assert "a=sendonly" in offer
    assert "a=ssrc:1 cname:bench" in offer
    answer = offer.replace("actpass", "passive") + (
        "a=candidate:1 1 udp 2130706431 10.0.0.1 8189 typ host\r\n"
        "a=candidate:2 1 udp 2130706430 fe80::1 8189 typ host\r\n"
        "a=candidate:3 1 tcp 1 10.0.0.1 9 typ host tcptype passive\r\n"
    )
    remote = read_answer(answer)
    assert remote == Credentials(
        "abcd",
        "p" * 24,
        (("sha-256", "AA:BB"),),
        "passive",
        (("10.0.0.1", 8189), ("fe80::1", 8189)),
        (1, 2),
    )


def test_worker_figures_are_added_up() -> None:
    api = {"workers": [{"sent": 1, "drops": {"bad": 2}}, {"sent": 3, "gso": True}]}
    assert worker_totals(api) == {"sent": 4, "drops.bad": 2}
    assert worker_totals({"workers": 2}) == {}


@pytest.mark.parametrize("address", ["10.199.0.3", "fd10:199::3"])
def test_the_drop_program_jumps_stay_inside(address: str) -> None:
    code = bpf.drop_program(3, address)
    instructions = list(struct.iter_unpack("=BBhI", code))
    ends = [at for at, one in enumerate(instructions) if one[0] == 0x95]
    assert len(ends) == 2
    for at, (op, _, offset, _) in enumerate(instructions):
        if op & 7 == 5 and op not in (0x85, 0x95):
            assert at < at + 1 + offset < len(instructions)


@pytest.mark.parametrize("option", [[], ["-DRF_HAVE_IPSEC_MB"]], ids=["plain", "ipsec-mb"])
@pytest.mark.parametrize("source", ["floor.c", "stage.c"])
def test_the_c_programs_fit_the_data_plane(source: str, option: list[str]) -> None:
    compiler = (os.environ.get("CC") or "cc").split()
    command = [*compiler, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
    command += [
        f"-I{floor.ROOT / 'csrc'}",
        f"-I{floor.ROOT / 'csrc/include'}",
        "-fsyntax-only",
        *option,
    ]
    done = subprocess.run(
        [*command, str(floor.ROOT / "benchmarks" / source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if option and floor.is_missing(done.stderr):
        pytest.skip("ipsec-mb is not installed")
    assert done.returncode == 0, done.stderr


def test_the_floor_sends_what_a_publisher_does() -> None:
    passes = floor.passes_of(2_500_000)
    assert [due for due, _ in passes] == sorted(due for due, _ in passes)
    frames = [sizes for _, sizes in passes if len(sizes) > 1]
    assert len(frames) == 60
    assert len(passes) == 160
    assert len(frames[0]) > 4 * len(frames[1])
    payload = sum(size - 12 for sizes in frames for size in sizes)
    assert payload * 8 / 2 == pytest.approx(2_500_000, rel=0.02)


def test_the_table_has_a_line_for_every_row() -> None:
    where = {"machine": {"cpu": "x", "kernel": "y"}, "commit": "c", "when": "t"}
    text = results.table(
        [
            {"benchmark": "fanout", "viewers": 5, "latency_p50_us": 12.34, **where},
            {"benchmark": "floor", "rows": [{"mode": "gso"}, {"mode": "sendto"}], **where},
            {"benchmark": "other", **where},
        ]
    )
    assert "| 5 |" in text
    assert "12.3" in text
    assert text.count("| gso |") == text.count("| sendto |") == 1


@pytest.mark.parametrize(
    ("lost", "audio", "frame_end", "good"),
    [
        (0, 100.0, 200.0, True),
        (99, 100.0, 200.0, True),
        (100, 100.0, 200.0, False),
        (0, 50_000.0, 1.0, False),
        (0, 1.0, None, True),
    ],
)
def test_the_limits_of_the_most_viewers(
    lost: int, audio: float, frame_end: float | None, good: bool
) -> None:
    figures = {
        "lost": lost,
        "packets_sent": 1_000_000,
        "latency_us": {"audio": {"p99": audio}, "frame_end": {"p99": frame_end}},
    }
    assert judge(figures) is good


def test_every_part_of_the_sets_is_a_command_with_a_table() -> None:
    parser = _parser()
    for line in (*suite.ALL.values(), *suite.SHORT.values()):
        assert parser.parse_args(line.split()).command in results._COLUMNS


def test_a_part_that_fails_does_not_end_the_others() -> None:
    said: list[str] = []

    def one(line: str) -> dict[str, Any]:
        if line == "bad":
            raise RuntimeError("no lab")
        return {"benchmark": line}

    done = suite.run({"a": "good", "b": "bad", "c": "fine"}, one, said.append, keep=False)
    assert [r["part"] for r in done] == ["a", "c"]
    assert any("no lab" in text for text in said)
    chosen = suite.run({"a": "good", "c": "fine"}, one, said.append, keep=False, only=["c"])
    assert [r["part"] for r in chosen] == ["c"]


def test_the_figures_stand_beside_what_was_asked() -> None:
    nothing = suite.figures([])
    assert all(measured.strip("– /()") == "" for _, _, measured in nothing)
    rows = [
        {"good": True, "ns_per_packet": 500.0, "kernel_drops": 0},
        {"good": False, "ns_per_packet": 9.0, "kernel_drops": 7},
    ]
    done = [
        {"part": "findmax", "viewers": 1900, "rows": rows},
        {"part": "fanout", "viewers": 1000, "ratio_to_floor": 1.2, "ns_per_packet": 600.4},
        {"part": "memory", "data_plane_bytes_per_viewer": 2048, "process_bytes_per_viewer": 4096},
    ]
    text = suite.figures_table(done)
    assert "| ≤ 1450 / ≤ 800 | 500 / – |" in text
    assert "| ≥ 1900 / ≥ 3500 | 1900 / – |" in text
    assert "| ≤ 1.25 | 1.2 / – |" in text
    assert "| ≤ 24 / ≤ 128 | 2 / 4 |" in text


def test_the_page_has_a_place_for_every_table() -> None:
    page = (floor.ROOT / "docs/performance.md").read_text()
    done = [
        {
            "part": "x",
            "benchmark": "stage",
            "commit": "c",
            "when": "2026-01-01T00:00:00Z",
            "machine": {"cpu": "x", "cpu_id": "1/2/3", "cores": 2, "kernel": "k"},
            "rows": [{"stage": "protect", "ns": 1.5}, {"stage": "append", "ns": 2000.0}],
        }
    ]
    filled = results.fill(page, suite.sections(done))
    assert "| append | 2000 |" in filled
    assert results.fill(filled, suite.sections(done)) == filled
    with pytest.raises(ValueError, match="no place for nowhere"):
        results.fill(page, {"nowhere": ""})
