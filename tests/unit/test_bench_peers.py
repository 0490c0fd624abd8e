"""Pure pieces of swarm and peers: targets, answers, a full agent's checks, judging, payloads."""

from __future__ import annotations

import os
from typing import Any

import pytest
from aioice import stun

from benchmarks import peers, swarm
from benchmarks.__main__ import _parser
from benchmarks.encoded import nal_units, payloads
from benchmarks.janus import CONFIG, make_answer
from benchmarks.netlab import Present
from benchmarks.peer import (
    Credentials,
    binding_request,
    binding_response,
    make_offer,
    read_answer,
)
from benchmarks.server import ServerFailed, Subject

OURS = Credentials("abcd", "p" * 24, (("sha-256", "AA:BB"),), "actpass", (("10.0.0.2", 4000),))
THEIRS = Credentials("wxyz", "q" * 24, (("sha-256", "CC:DD"),), "passive")


def test_swarm_wants_a_process_or_a_command() -> None:
    urls = ["swarm", "--whip", "http://h/whip", "--whep", "http://h/whep"]
    with pytest.raises(SystemExit):
        _parser().parse_args(urls)
    with pytest.raises(SystemExit):
        _parser().parse_args([*urls, "--pid", "1", "--run", "x"])
    assert _parser().parse_args([*urls, "--pid", "17", "--bitrate", "600k"]).bitrate == 600_000


def test_target_takes_the_labs_address() -> None:
    target = swarm.Target("http://{server}:1/a", "http://{server}:1/b", command="serve {server}")
    at = target.at("10.0.0.1")
    assert (at.whip, at.whep) == ("http://10.0.0.1:1/a", "http://10.0.0.1:1/b")
    assert at.command == "serve 10.0.0.1"
    assert swarm.Target("a", "b", pid=4).at("10.0.0.1") == swarm.Target("a", "b", pid=4)


def test_viewers_take_the_address_on_the_way_to_the_server() -> None:
    assert swarm.local_address("http://127.0.0.1:8080/whep") == "127.0.0.1"
    assert Present("127.0.0.1").sink_address == "127.0.0.1"
    with pytest.raises(RuntimeError, match="not a URL"):
        swarm.local_address("whep")


def test_a_process_is_found_or_told() -> None:
    own = Subject(os.getpid())
    assert own.usage().cpu_ns > 0
    assert own.usage().rss > 0
    assert own.cores() >= os.sched_getaffinity(0)
    with pytest.raises(ServerFailed, match="no process"):
        Subject(2**22 + 1)


def test_offer_has_our_candidate() -> None:
    offer = make_offer(OURS, publish=False)
    assert offer.count("a=candidate:1 1 udp 2130706431 10.0.0.2 4000 typ host") == 2
    assert offer.count("a=end-of-candidates") == 2
    assert read_answer(offer).candidates == (("10.0.0.2", 4000),)


def test_answer_to_an_offer_takes_all_of_it() -> None:
    answer = make_answer(make_offer(THEIRS, publish=True, ssrcs=(1, 2)), OURS)
    assert answer.count("a=recvonly") == 2
    assert answer.count("a=ice-ufrag:abcd") == 2
    assert "wxyz" not in answer
    assert "a=ssrc" not in answer
    assert "a=group:BUNDLE 0 1" in answer
    assert "a=rtpmap:96 H264/90000" in answer
    assert read_answer(answer).setup == "actpass"


def test_a_servers_check_is_answered() -> None:
    request = binding_request(THEIRS, OURS, 7)
    answer = binding_response(OURS, request, ("10.0.0.1", 5000))
    assert answer is not None
    message = stun.parse_message(answer)
    assert message.message_class == stun.Class.RESPONSE
    assert message.transaction_id == stun.parse_message(request).transaction_id
    assert message.attributes["XOR-MAPPED-ADDRESS"] == ("10.0.0.1", 5000)
    assert message.check_message_integrity(OURS.pwd.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(20),
        binding_request(OURS, THEIRS, 7),  # signed for somebody else
        binding_response(OURS, binding_request(THEIRS, OURS, 7), ("10.0.0.1", 1)),
    ],
    ids=["empty", "zeros", "foreign", "response"],
)
def test_nothing_else_is_answered(data: bytes) -> None:
    assert binding_response(OURS, data, ("10.0.0.1", 5000)) is None


def _figures(**changes: Any) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "sampled": {"viewers": 2, "good": 5, "frame_ends": 240, "socket_drops": 0},
        "load_core_busy_percent": 50.0,
        "publisher_late_max_ms": 1.0,
        "publisher_feedback": {},
        "latency_us": {n: {"p50": 1.0, "p99": 2.0} for n in ("audio", "frame_end", "key_end")},
        "ns_per_packet": 2000.0,
        "packets_sent": 10_000,
        "lost": 1,
        "delivered": 9_999,
        "beyond": 1,
        "sending_s": 4.0,
    }
    return {**figures, **changes}


def test_row_of_a_window() -> None:
    row = swarm.row(_figures(), {"joined": 3, "failures": [], "profiles": {7: 3}})
    assert (row["packets_per_cpu_s"], row["loss_percent"]) == (500_000, 0.01)
    assert (row["profile"], row["bottleneck"]) == ("AEAD_AES_128_GCM", None)
    assert row["checked_bad"] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sampled": {"socket_drops": 3}}, "overflowed"),
        ({"load_core_busy_percent": 95.0}, "busy"),
        ({"publisher_late_max_ms": 30.0}, "late"),
        ({"publisher_feedback": {"send_failed": 1}}, "could not send"),
    ],
)
def test_the_load_side_says_when_it_is_the_limit(change: dict[str, Any], said: str) -> None:
    (reason,) = swarm.bottlenecks(_figures(**change))
    assert said in reason


def test_a_server_that_encodes_anew_is_judged_by_frames() -> None:
    whole = peers.transcoded(_figures())
    assert (whole["frames_per_second"], whole["good"]) == (30.0, True)
    assert whole["delivered"] == 10_000
    slow = _figures(sampled={"viewers": 2, "frame_ends": 200})
    assert not peers.transcoded(slow)["good"]


def test_times_compare_what_both_carried() -> None:
    def row(server: str, viewers: int, rate: int, good: bool = True) -> dict[str, Any]:
        return {"server": server, "viewers": viewers, "packets_per_cpu_s": rate, "good": good}

    rows = [row("janus", 100, 100), row("janus", 200, 120), row("janus", 300, 150, False)]
    rows += [row("rtcfwd", 100, 500), row("rtcfwd", 300, 800), row("rtcfwd", 1500, 1200)]
    assert peers.times(rows, "janus") == {"at_viewers": {"100": 5.0}, "at_best": 10.0}
    assert peers.times(rows, "aiortc") == {"at_viewers": {}, "at_best": None}


def test_unknown_peers_are_told() -> None:
    with pytest.raises(RuntimeError, match="no such peer: nobody"):
        peers.run(None, print, ["nobody"])  # type: ignore[arg-type]


def test_encoded_frames_become_payloads() -> None:
    units = nal_units(b"\0\0\0\1\x67abc\0\0\1\x65" + bytes([7]) * 30)
    assert units == [b"\x67abc", b"\x65" + bytes([7]) * 30]
    parts = list(payloads(units, room=12))
    assert parts[0] == units[0]
    assert [part[:2] for part in parts[1:]] == [b"\x7c\x85", b"\x7c\x05", b"\x7c\x45"]
    assert b"".join(part[2:] for part in parts[1:]) == units[1][1:]
    assert max(map(len, parts)) <= 12


def test_the_config_of_janus_is_quiet_and_complete() -> None:
    names = {path.name for path in CONFIG.iterdir()}
    assert names == {
        "janus.jcfg",
        "janus.plugin.streaming.jcfg",
        "janus.transport.http.jcfg",
    }
    assert "debug_level = 0" in (CONFIG / "janus.jcfg").read_text()
