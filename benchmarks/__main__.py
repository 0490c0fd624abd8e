"""``python -m benchmarks``: the commands and their options.

``--json`` prints one JSON object on stdout and nothing else there; talk goes to stderr.
``--keep`` writes the result to ``benchmarks/results/`` too.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from . import results, suite
from .fanout import Settings
from .quality import SCENARIOS

_PROFILES = ("AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES128_CM_HMAC_SHA1_80")
_UNITS = {"k": 1e3, "m": 1e6, "g": 1e9}


def bitrate(text: str) -> int:
    """``2.5M``, ``600k`` or plain bit/s."""
    unit = _UNITS.get(text[-1:].lower())
    value = float(text[:-1]) * unit if unit else float(text)
    if not 8_000 <= value <= 200_000_000:
        raise argparse.ArgumentTypeError("a bit rate from 8k to 200M")
    return round(value)


def _measured(
    commands: Any, name: str, text: str, viewers: int | None, seconds: float
) -> argparse.ArgumentParser:
    """A command that runs the server, with the options that all of those share."""
    sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    sub.add_argument("--json", action="store_true", help="one JSON object on stdout")
    sub.add_argument("--keep", action="store_true", help="write it to benchmarks/results/")
    if viewers is not None:
        sub.add_argument("--viewers", type=int, default=viewers)
    sub.add_argument("--bitrate", type=bitrate, default=2_500_000, metavar="BITS")
    sub.add_argument("--seconds", type=float, default=seconds)
    sub.add_argument(
        "--segmentation",
        choices=("software", "device"),
        default="software",
        help="who cuts GSO runs: the kernel (default) or the device, as with USO",
    )
    sub.add_argument("--samples", type=int, default=8, help="viewers that are decrypted")
    sub.add_argument("--at-once", type=int, default=16, help="joins in progress at a time")
    sub.add_argument(
        "--engine",
        choices=("auto", "libsrtp", "ipsec-mb"),
        default="auto",
        help="the server's SRTP engine",
    )
    sub.add_argument(
        "--server-option",
        action="append",
        default=[],
        metavar="OPTION",
        help="passed on to `rtcfwd serve`, e.g. --server-option=--egress=sendmmsg",
    )
    sub.add_argument(
        "--egress",
        choices=("sendto", "sendmmsg", "gso"),
        default="gso",
        help="how the server sends",
    )
    sub.add_argument(
        "--split",
        choices=("full", "even"),
        default="full",
        help="how the publisher cuts frames: full packets and a rest (OBS, FFmpeg), or evenly"
        " (Chromium)",
    )
    sub.add_argument(
        "--nice",
        type=int,
        default=0,
        help="of server and load, below 0 to stand out on a machine that does other things",
    )
    sub.add_argument("--workers", type=int, default=1, help="of the server, on all cores")
    sub.add_argument("--ipv6", action="store_true", help="everything over IPv6")
    sub.add_argument(
        "--profile",
        choices=_PROFILES,
        help="the viewers' SRTP profile (default: the server's choice)",
    )
    sub.add_argument(
        "--feedback",
        type=float,
        metavar="PERCENT",
        help="viewers send receiver reports, and NACKs for so many of their packets",
    )
    sub.add_argument("--perf", metavar="FILE", help="`perf record` of the server during the window")
    return sub


def _swarm(commands: Any) -> None:
    text = "any WHIP and WHEP server under the same publisher and viewers"
    sub = commands.add_parser("swarm", help=text, description=text)
    sub.add_argument("--whip", required=True, metavar="URL", help="where to publish")
    sub.add_argument("--whep", required=True, metavar="URL", help="where to watch")
    which = sub.add_mutually_exclusive_group(required=True)
    which.add_argument("--pid", type=int, help="of the server, which runs here already")
    which.add_argument(
        "--run",
        metavar="COMMAND",
        help="start the server in the lab; {server} is its address, in the URLs too",
    )
    sub.add_argument("--address", help="of the viewers, with --pid (default: by the route)")
    sub.add_argument("--viewers", type=int, default=100)
    sub.add_argument("--bitrate", type=bitrate, default=2_500_000, metavar="BITS")
    sub.add_argument("--seconds", type=float, default=10)
    sub.add_argument("--samples", type=int, default=8, help="viewers that are decrypted")
    sub.add_argument("--at-once", type=int, default=16, help="joins in progress at a time")
    sub.add_argument("--profile", choices=_PROFILES, help="the viewers' only SRTP profile")
    sub.add_argument("--nice", type=int, default=0, help="of the load, and the server if started")
    sub.add_argument("--json", action="store_true", help="one JSON object on stdout")
    sub.add_argument("--keep", action="store_true", help="write it to benchmarks/results/")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = functools.partial(_measured, commands)
    command("fanout", "cost, loss and delay with N viewers", 500, 10)
    most = command("findmax", "most viewers without loss and with p99 under 50 ms", 500, 5)
    most.add_argument("--grow", type=float, default=1.25, help="from step to step")
    most.add_argument("--limit", type=int, default=6000, help="viewers to stop at")
    command("latency", "delay of an idle server, 1 and 100 viewers", None, 10)
    command("joins", "join storm, and what the others notice of it", 500, 5)
    scale = command("scale", "ns per packet from 10 to 3000 viewers", None, 4)
    scale.set_defaults(bitrate=600_000)
    scale.add_argument("--plot", metavar="PNG", help="draw it")
    egress = command("egress", "one send per packet, sendmmsg and GSO in turns", 300, 2)
    egress.add_argument("--rounds", type=int, default=3, help="windows of each")
    command("fairness", "one viewer that NACKs all it can", 500, 6)
    command("memory", "bytes a viewer", 500, 0)
    _swarm(commands)
    peers = commands.add_parser("peers", help="rtcfwd, Janus and aiortc under the same load")
    peers.add_argument("--json", action="store_true")
    peers.add_argument("--keep", action="store_true")
    peers.add_argument("--bitrate", type=bitrate, default=2_500_000, metavar="BITS")
    peers.add_argument("--seconds", type=float, default=4)
    peers.add_argument("--nice", type=int, default=0)
    peers.add_argument("--only", metavar="NAMES", help="some of rtcfwd,janus,aiortc")
    floor = commands.add_parser("floor", help="the bare sender and the cipher alone")
    floor.add_argument("--json", action="store_true")
    floor.add_argument("--keep", action="store_true")
    floor.add_argument("--bitrate", type=bitrate, default=2_500_000)
    floor.add_argument("--destinations", type=int, default=500)
    stage = commands.add_parser("stage", help="each stage alone, in memory")
    stage.add_argument("--json", action="store_true")
    stage.add_argument("--keep", action="store_true")
    quality = commands.add_parser(
        "quality", help="what a viewer sees of a bad network, with a real Chromium"
    )
    quality.add_argument("--json", action="store_true", help="one JSON object on stdout")
    quality.add_argument(
        "--keep", action="store_true", help="with --only: into what is kept (a whole run always is)"
    )
    quality.add_argument("--only", metavar="PARTS", help=f"some of {','.join(SCENARIOS)}")
    commands.add_parser("short", help="a bit of everything in under 5 minutes")
    whole = commands.add_parser("all", help="everything, kept in benchmarks/results/")
    whole.add_argument("--only", metavar="PARTS", help=f"some of {','.join(suite.ALL)}")
    commands.add_parser("table", help="Markdown of all kept results, into docs/performance.md too")
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings(
        viewers=getattr(arguments, "viewers", 1),
        bitrate=arguments.bitrate,
        seconds=arguments.seconds,
        samples=arguments.samples,
        at_once=arguments.at_once,
        segmentation=arguments.segmentation,
        server_options=[
            f"--engine={arguments.engine}",
            f"--egress={arguments.egress}",
            *arguments.server_option,
        ],
        egress=arguments.egress,
        split=arguments.split,
        nice=arguments.nice,
        perf=arguments.perf,
        workers=arguments.workers,
        ipv6=arguments.ipv6,
        profile=arguments.profile,
        feedback=arguments.feedback,
    )


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _run_swarm(arguments: argparse.Namespace) -> dict[str, Any]:
    from . import swarm

    names = ("viewers", "bitrate", "seconds", "samples", "at_once", "profile", "nice")
    settings = Settings(**{name: getattr(arguments, name) for name in names})
    target = swarm.Target(
        arguments.whip, arguments.whep, arguments.pid, arguments.run, arguments.address
    )
    return swarm.run(target, settings, _say)


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.command == "fanout":
        from . import fanout

        return fanout.run(_settings(arguments), _say)
    if arguments.command == "swarm":
        return _run_swarm(arguments)
    if arguments.command == "peers":
        from . import peers

        chosen = arguments.only.split(",") if arguments.only else peers.NAMES
        quick = Settings(bitrate=arguments.bitrate, seconds=arguments.seconds, nice=arguments.nice)
        return peers.run(quick, _say, chosen)
    if arguments.command == "findmax":
        from . import findmax

        return findmax.run(_settings(arguments), _say, arguments.grow, arguments.limit)
    if arguments.command == "latency":
        from . import latency

        return latency.run([1, 100], _settings(arguments), _say)
    if arguments.command == "stage":
        from . import stage

        return stage.run()
    if arguments.command == "floor":
        from . import floor

        return floor.run(arguments.bitrate, arguments.destinations, ["software", "device"])
    if arguments.command == "egress":
        from . import egress

        return egress.run(_settings(arguments), _say, arguments.rounds)
    module = importlib.import_module(f"benchmarks.{arguments.command}")
    result: dict[str, Any] = module.run(_settings(arguments), _say)
    if arguments.command == "scale" and arguments.plot:
        module.plot(result, Path(arguments.plot))
    return result


def _line(line: str) -> dict[str, Any]:
    """One benchmark by its command line."""
    result = _run(_parser().parse_args(line.split()))
    for caveat in result.get("caveats", []):
        _say(caveat)
    return result


def _short() -> int:
    """The set that `make bench` runs: the tables, then the figures beside what was asked."""
    done = suite.run(suite.SHORT, _line, _say, keep=False)
    print(results.table(done))
    print(suite.figures_table(done))
    return 0 if len(done) == len(suite.SHORT) else 1


def _table() -> None:
    """All that is kept, on stdout and in docs/performance.md."""
    kept = results.load()
    for result in kept:
        if result["benchmark"] == "scale":
            from . import scale

            scale.plot(result, results.FOLDER / "scale.png")
    page = Path(__file__).resolve().parent.parent / "docs/performance.md"
    page.write_text(results.fill(page.read_text(), suite.sections(kept)))
    print(results.table(kept))
    print(suite.figures_table(kept))


def _quality(arguments: argparse.Namespace) -> int:
    """Its own way of keeping: scenario by scenario, with plots and docs/quality.md."""
    from . import quality
    from .quality import report

    chosen = arguments.only.split(",") if arguments.only else None
    unknown = [name for name in chosen or () if name not in SCENARIOS]
    if unknown:
        _say(f"no such part: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
        return 2
    result = quality.run(_say, chosen)
    if arguments.keep or not chosen:
        _say(f"kept in {quality.keep(result)}")
        report.write(quality.load())
    print(json.dumps(result) if arguments.json else report.table(result))
    return 1 if quality.failed(result) else 0


def _all(only: str | None) -> int:
    chosen = only.split(",") if only else []
    unknown = [name for name in chosen if name not in suite.ALL]
    if unknown:
        _say(f"no such part: {', '.join(unknown)}; there are {', '.join(suite.ALL)}")
        return 2
    done = suite.run(suite.ALL, _line, _say, keep=True, only=chosen)
    _table()
    return 0 if len(done) == len(chosen or suite.ALL) else 1


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.command == "table":
        _table()
        return 0
    if arguments.command == "short":
        return _short()
    if arguments.command == "all":
        return _all(arguments.only)
    try:
        if arguments.command == "quality":
            return _quality(arguments)
        result = _run(arguments)
    except (RuntimeError, OSError) as error:
        _say(f"{type(error).__name__}: {error}")
        return 1
    if arguments.keep:
        _say(f"kept in {results.keep(result)}")
    print(json.dumps(result) if arguments.json else results.table([result]))
    if not arguments.json:
        for caveat in result.get("caveats", []):
            _say(caveat)
    return 0


if __name__ == "__main__":
    sys.exit(main())
