"""Fan-out: one publisher, N viewers, the cost of a packet and its delay.

Order: server up on core 0; publisher live; viewers join while it sends; the publisher pauses, all
counters are read; it sends for the asked time; pauses again; counters are read again. Since nothing
moves at either end of the window, *expected = published x viewers* is exact, and so is the loss.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import floor, results
from .netlab import Lab, LabUnavailable, Loopback
from .peer import PROFILE_NAMES
from .publisher import Publisher
from .rpc import Remote
from .server import Server, Subject, Usage, core_busy_ns, worker_totals
from .viewers import Viewers

STREAM = "bench"
_STILL = 0.8  # seconds without an arrival: the server has sent all it had
_FEEDBACK_S = 0.25  # between two rounds of the viewers' feedback
_STILL_LIMIT = 8.0  # an overloaded server may need long; it drops a silent publisher after 10 s
Say = Callable[[str], None]


_CORES = sorted(os.sched_getaffinity(0))  # at import: a benchmark pins this process


def _core(number: int) -> int:
    """The number-th core that we may run on, or the last one."""
    return _CORES[min(number, len(_CORES) - 1)]


@dataclass(frozen=True, slots=True)
class Settings:
    viewers: int = 500
    bitrate: int = 2_500_000
    seconds: float = 10.0
    samples: int = 8
    at_once: int = 16
    segmentation: str = "software"
    audio: bool = True
    server_cpu: int = field(default_factory=lambda: _core(0))
    load_cpu: int = field(default_factory=lambda: _core(1))
    server_options: list[str] = field(default_factory=list)
    egress: str = "gso"
    split: str = "full"  # "even": frames cut into packets as alike as can be
    nice: int = 0  # of server and load
    perf: str | None = None  # file for `perf record` of the server during the window
    workers: int = 1  # more than one: the server may use every core
    ipv6: bool = False
    profile: str | None = None  # the viewers' SRTP profile; None: the server's choice
    feedback: float | None = None  # percent of packets that viewers NACK, RRs too; None: silent
    python_cpu: int | None = None  # a core for the server's Python; None: the worker's


@dataclass(frozen=True, slots=True)
class _Snapshot:
    usage: Usage
    core_ns: int
    load_ns: int
    worker: dict[str, int]
    packets: list[int]  # counted at the sink, viewer by viewer
    runs: int
    rtcp: int
    published: tuple[int, int]
    load_cpu_s: dict[str, float]
    drain_s: float  # the server went on sending for so long after the publisher stopped


def _weigh_session(nice: int) -> Callable[[], None]:
    """Where the kernel weighs sessions before processes (autogroup), weigh ours; undone by what
    is returned."""
    file = Path("/proc/self/autogroup")

    def write(value: str) -> None:
        with contextlib.suppress(OSError):
            file.write_text(value)

    before = file.read_text().split()[-1] if file.exists() else "0"
    write(str(nice))
    return lambda: write(before)


def open_lab(settings: Settings, say: Say) -> Lab | Loopback:
    """The lab, or loopback where there can be none."""
    try:
        return Lab(settings.segmentation, settings.ipv6)
    except LabUnavailable as error:
        say(f"on loopback, because: {error}")
        return Loopback()


class Bench:
    """Server, publisher and viewers, up and joined; closing ends them all."""

    def __init__(self, settings: Settings, say: Say, lab: Lab | Loopback | None = None) -> None:
        """``lab``: shared with others and closed by its maker; None: one of its own."""
        self.settings, self.say = settings, say
        self._closers: list[Callable[[], None]] = []
        self.lab = lab or open_lab(settings, say)
        if lab is None:
            self._closers.append(self.lab.close)
        # 4 threads of pylibsrtp's OpenSSL or asyncio do not help: one core is all there is
        os.sched_setaffinity(0, {settings.load_cpu})
        if settings.nice:
            os.setpriority(os.PRIO_PROCESS, 0, settings.nice)
            self._closers.append(_weigh_session(settings.nice))
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        s = self.settings
        self.server = self._serve()
        self._closers.append(self.server.close)
        self.publisher = self._publish()
        self._closers.append(self.publisher.close)
        self.publisher.call("join")
        self.publisher.call("begin")
        self.viewers = self.more_viewers()
        if s.python_cpu is not None:
            self.server.pin_python(s.python_cpu)
        time.sleep(0.5)
        self.rss_before = self.server.usage().rss
        self.say(f"server pid {self.server.pid}, joining {s.viewers} viewers")

    # what a benchmark of another server replaces: these two, and _serve()
    publisher_kind: type[Publisher] = Publisher
    viewer_kind: type[Viewers] = Viewers

    def _serve(self) -> Subject:
        s = self.settings
        server = Server(
            self.lab.server,
            self.lab.server_namespace,
            s.server_cpu if s.workers == 1 else None,
            [f"--workers={s.workers}", *s.server_options],
            s.nice - os.nice(0),
        )
        self.whip, self.whep = f"{server.url}/whip/{STREAM}", f"{server.url}/whep/{STREAM}"
        return server

    def _publish(self) -> Remote:
        s = self.settings
        return Remote(
            self.publisher_kind,
            s.load_cpu,
            url=self.whip,
            address=self.lab.probe_address,
            bitrate=s.bitrate,
            audio=s.audio,
            even=s.split == "even",
        )

    def more_viewers(self) -> Remote:
        """A process of viewers of their own, none joined yet; closed with the rest."""
        s = self.settings
        viewers = Remote(
            self.viewer_kind,
            s.load_cpu,
            url=self.whep,
            sink=self.lab.sink_address,
            probe=self.lab.probe_address,
            deaf=self.lab.sink is None,
            profile=s.profile,
            bitrate=s.bitrate,
        )
        self._closers.append(viewers.close)
        return viewers

    def join(self, viewers: int, samples: int | None = None) -> dict[str, Any]:
        """``viewers`` more, of which ``samples`` are sampled (default: as the settings say)."""
        samples = self.settings.samples if samples is None else samples
        before, drops = self.server.usage(), worker_totals(self.server.api("server"))
        joined: dict[str, Any] = self.viewers.call(
            "join", viewers, samples, self.settings.at_once, timeout=600.0
        )
        joined["server_cpu_ns"] = self.server.usage().cpu_ns - before.cpu_ns
        after = worker_totals(self.server.api("server"))
        joined["drops"] = {
            name: count - drops.get(name, 0)
            for name, count in after.items()
            if name.startswith("drops.") and count > drops.get(name, 0)
        }
        self.ports = self.viewers.call("ports")
        if joined["failures"]:
            self.say(f"{len(joined['failures'])} joins failed: {joined['failures'][0]}")
        return joined

    def _arrived(self) -> tuple[list[int], int, int]:
        """RTP packets of each sunk viewer so far; runs and RTCP packets of all."""
        sink = self.lab.sink
        if sink is None:
            packets = self.viewers.call("counted")
            return packets, sum(packets), 0
        counts = [sink.rtp(port) for port in self.ports]
        rtcp = sum(sink.rtcp(port).packets for port in self.ports)
        return [c.packets for c in counts], sum(c.runs for c in counts), rtcp

    def _quiet(self) -> float:
        """Wait until nothing arrives any more; seconds that took beyond the waiting itself."""
        begun = last = time.monotonic()
        packets = sum(self._arrived()[0])
        while last - begun < _STILL_LIMIT and time.monotonic() - last < _STILL:
            time.sleep(0.1)
            now_packets = sum(self._arrived()[0])
            if now_packets != packets:
                packets, last = now_packets, time.monotonic()
        return last - begun

    def snapshot(self) -> _Snapshot:
        published = self.publisher.call("pause")
        drain = self._quiet()
        packets, runs, rtcp = self._arrived()
        return _Snapshot(
            self.server.usage(),
            core_busy_ns(self.settings.server_cpu),
            core_busy_ns(self.settings.load_cpu),
            worker_totals(self.server.api("server")),
            packets,
            runs,
            rtcp,
            published,
            {
                "publisher": self.publisher.call("cpu_seconds"),
                "viewers": self.viewers.call("cpu_seconds"),
            },
            drain,
        )

    def window(self, seconds: float, during: Callable[[], None] | None = None) -> dict[str, Any]:
        """Send for ``seconds``, or as long as ``during`` takes, and say what came of it."""
        before = self.snapshot()
        first = len(self.publisher.call("log")[1])
        checks, talked = self.viewers.call("begin")
        self.publisher.call("begin")
        begun = time.monotonic()
        (during or (lambda: self._record(seconds)))()
        sending = time.monotonic() - begun
        after = self.snapshot()
        stamps, packets, feedback, late = self.publisher.call("log")
        self.say("decrypting the sampled viewers' packets")
        sampled = self.viewers.call("finish", self.settings.bitrate, packets, stamps, first)
        sampled["checks_sent"] -= checks
        sampled["talked"] -= talked
        return _figures(before, after, sending, len(self.ports), sampled, feedback, late)

    def _record(self, seconds: float) -> None:
        """Let the window pass: under perf, and with viewers that talk back, if asked."""
        perf, end = self.settings.perf, time.monotonic() + seconds
        command = ["perf", "record", "-q", "-F", "1999", "-g", "-o", str(perf)]
        command += ["-p", str(self.server.pid), "--", "sleep", str(seconds)]
        recorder = subprocess.Popen(command) if perf else None
        while time.monotonic() < end:
            if self.settings.feedback is not None and self.lab.sink is not None:
                newest = {port: self.lab.sink.sequence(port) for port in self.ports}
                self.viewers.call("talk_back", newest, self.settings.feedback, _FEEDBACK_S)
            time.sleep(max(min(_FEEDBACK_S, end - time.monotonic()), 0))
        if recorder is not None:
            recorder.wait()

    def floor(self, engine: str, profile: str, viewers: int) -> dict[str, Any] | None:
        """The bare sender here and now: the same sizes, destinations, cipher and sink, the sampled
        viewers' sockets among them; hot (the best of three) and paced (the better of two). None
        where it cannot be had."""
        if isinstance(self.lab, Loopback) or profile not in floor.PROFILES:
            return None
        try:
            library = floor.build()
        except floor.NoCompiler as error:
            self.say(str(error))
            return None
        self.say("measuring the floor")
        self.server.close()  # the core is the floor's
        sampled = self.viewers.call("sampled_ports")

        def best(paced: bool, times: int) -> dict[str, Any]:
            rows = [
                floor.floor_row(
                    library,
                    self.lab,
                    mode=self.settings.egress,
                    crypto=profile,
                    engine=engine,
                    bitrate=self.settings.bitrate,
                    destinations=viewers,
                    paced=paced,
                    sunk=self.ports,
                    sampled=sampled,
                    port=self.server.udp_port,
                    cpu=self.settings.server_cpu,
                )
                for _ in range(times)
            ]
            return min(rows, key=lambda row: float(row["ns_per_packet"]))

        hot, paced = best(False, 3), best(True, 2)
        return {"hot": hot, "paced": paced}

    def close(self) -> None:
        while self._closers:
            self._closers.pop()()


def _figures(
    before: _Snapshot,
    after: _Snapshot,
    sending: float,
    sunk: int,
    sampled: dict[str, Any],
    feedback: dict[str, int],
    late: float,
) -> dict[str, Any]:
    published = sum(after.published) - sum(before.published)
    counts = sampled["counts"]
    samples = sampled["samples"]
    expected = published * (sunk + samples)
    arrived = [now - then for now, then in zip(after.packets, before.packets, strict=True)]
    arrived += sampled["each"]  # distinct packets of the sampled viewers
    delivered = sum(min(n, published) for n in arrived)
    cpu = after.usage.cpu_ns - before.usage.cpu_ns
    wall = sending + after.drain_s  # the pauses at both ends cost next to nothing
    worker = {
        name: value - before.worker.get(name, 0)
        for name, value in after.worker.items()
        if isinstance(value, int)
    }
    sent, runs = worker.get("sent"), worker.get("runs")
    device_runs = after.runs - before.runs
    calls = sum(worker.get(n, 0) for n in ("send_calls", "receive_calls", "wakeups"))
    delays = {n: results.percentiles_us(raw) for n, raw in sampled["delays"].items()}
    threads = {
        name.partition("/")[0] + "/" + name.partition("/")[2]: round(
            (ns - before.usage.threads.get(name, 0)) / 1e9, 3
        )
        for name, ns in after.usage.threads.items()
    }
    busiest = dict(sorted(threads.items(), key=lambda item: -item[1])[:4])
    result: dict[str, Any] = {
        "packets_published": published,
        "packets_sent": expected,
        "delivered": delivered,
        "lost": expected - delivered,  # summed over the viewers, none makes up for another
        "beyond": sum(arrived) - delivered,  # resends
        "server_says_sent": sent,
        "ns_per_packet": round(cpu / sum(arrived), 1) if delivered else None,
        "server_cpu_s": round(cpu / 1e9, 3),
        "server_threads_cpu_s": busiest,
        "server_core_percent": round(100 * cpu / (wall * 1e9), 1),
        "server_core_busy_percent": round(100 * (after.core_ns - before.core_ns) / wall / 1e9, 1),
        "load_side_cpu_s": {
            name: round(spent - before.load_cpu_s[name], 3)
            for name, spent in after.load_cpu_s.items()
        },
        "load_core_busy_percent": round(100 * (after.load_ns - before.load_ns) / wall / 1e9, 1),
        "latency_p50_us": delays["all"]["p50"],
        "latency_p99_us": delays["all"]["p99"],
        "latency_us": delays,
        "sampled": {"viewers": samples, **counts},
        "run_length_mean": round(worker["packets"] / runs, 2) if runs else None,
        "run_length_at_sink": round(sum(arrived[:sunk]) / device_runs, 2) if device_runs else None,
        "syscalls_per_packet": round(calls / sent, 4) if sent else None,
        "send_calls_per_packet": round(worker.get("send_calls", 0) / sent, 4) if sent else None,
        "rtcp_to_viewers": after.rtcp - before.rtcp,
        "rtcp_from_viewers": sampled["talked"],
        "kernel_drops": worker.get("kernel_drops", 0),
        "consent_checks": sampled["checks_sent"],
        "worker": {name: value for name, value in sorted(worker.items()) if value},
        "publisher_feedback": feedback,
        "publisher_late_max_ms": round(late * 1000, 2),
        "drain_s": round(after.drain_s, 2),
        "sending_s": round(sending, 2),
    }
    result["caveats"] = _caveats(result, counts)
    return result


def _caveats(result: dict[str, Any], counts: dict[str, int]) -> list[str]:
    """What a reader of these figures must know."""
    said = []
    if result["drain_s"] > 0.3:
        said.append(f"the server was {result['drain_s']} s behind at the end: overloaded")
    if counts.get("socket_drops"):
        said.append(
            f"the viewer side lost {counts['socket_drops']} packets in its own socket buffers:"
            " `lost` is not the server's alone"
        )
    if result["beyond"] and not result["rtcp_from_viewers"]:
        said.append("packets from before the window arrived in it: the server was starved")
    if result["publisher_late_max_ms"] > 5:
        said.append(f"the publisher was up to {result['publisher_late_max_ms']} ms late")
    if result["publisher_feedback"].get("send_failed"):
        said.append("the publisher could not send some packets")
    for name in ("wrong", "refused"):
        if counts.get(name):
            said.append(f"{counts[name]} sampled packets were {name}")
    other = result["server_core_busy_percent"] - result["server_core_percent"]
    if other > 10:
        said.append(f"other processes or interrupts took {other:.0f} % of the server's core")
    if result["load_core_busy_percent"] > 90:
        said.append("the load side's core was busy: delays may be the load side's")
    return said


def run(settings: Settings, say: Say) -> dict[str, Any]:
    """The whole benchmark; raises what the lab, the server or a join raises."""
    result = results.stamp("fanout")
    bench = Bench(settings, say)
    try:
        joined = bench.join(settings.viewers)
        if not joined["joined"]:
            raise RuntimeError(f"no viewer could join: {joined['failures'][:1]}")
        time.sleep(1.0)  # the last joiners' start bursts
        say("measuring")
        figures = bench.window(settings.seconds)
        rss = bench.server.usage().rss
        about = bench.server.api("server")
        profiles = [PROFILE_NAMES.get(int(p), str(p)) for p in joined["profiles"]]
        bare = bench.floor(str(about.get("engine")), profiles[0], joined["joined"])
        hot, paced = (bare["hot"], bare["paced"]) if bare else ({}, {})
    finally:
        bench.close()
    spent = figures["ns_per_packet"]

    def ratio(ns: float | None) -> float | None:
        return round(spent / ns, 2) if ns and spent else None

    result.update(
        {
            "viewers": joined["joined"],
            "viewers_asked": settings.viewers,
            "bitrate": settings.bitrate,
            "seconds": settings.seconds,
            "nice": settings.nice,
            "workers": settings.workers,
            "ip": 6 if settings.ipv6 else 4,
            "feedback_percent": settings.feedback,
            "engine": about.get("engine"),
            "profile": "+".join(profiles),
            "egress": settings.egress,
            "split": settings.split,
            "segmentation": bench.lab.segmentation,
            "joins_per_second": round(joined["joined"] / joined["seconds"], 1),
            "join_failures": joined["failures"][:5],
            "join_drops": joined["drops"],
            "server_rss_bytes": rss,
            "rss_bytes_per_viewer": round((rss - bench.rss_before) / joined["joined"]),
            "floor_ns_per_packet": hot.get("ns_per_packet"),
            "floor_run_length_mean": hot.get("run"),
            "ratio_to_floor": ratio(hot.get("ns_per_packet")),
            "floor_paced_ns_per_packet": paced.get("ns_per_packet"),
            "ratio_to_paced_floor": ratio(paced.get("ns_per_packet")),
            **figures,
        }
    )
    if settings.server_cpu == settings.load_cpu:
        result["caveats"].append("one core for server and load: nothing here is the server's alone")
    if settings.workers > 1:
        result["caveats"].append(
            "the workers share a core with the load: delays are not theirs alone"
        )
    return result
