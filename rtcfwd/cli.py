"""The ``rtcfwd`` command: serve, publish, play, doctor.

The clients need more packages than the server (aiortc, PyAV), so they are imported when asked for.
Exit status: 0 done, 1 failed, 2 wrong usage or settings.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import importlib
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rtcfwd import __version__, config, logs

if TYPE_CHECKING:
    from rtcfwd.app import Server
    from rtcfwd.selftest import Line

_CLIENTS = {
    "publish": "publish a test pattern or a file over WHIP",
    "play": "watch a stream over WHEP, record it, show its figures",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="rtcfwd", description="Forwards one WHIP publication to many WHEP viewers."
    )
    parser.add_argument("--version", action="version", version=f"rtcfwd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="run the server",
        epilog="Each option is also an environment variable (RTCFWD_PORT=…) and a key of the "
        "TOML file (port = …); the command line wins, then the environment, then the file.",
    )
    config.add_arguments(serve)
    config.add_arguments(
        commands.add_parser("doctor", help="test what this machine offers, with a loop of media")
    )
    for name, text in _CLIENTS.items():
        client = commands.add_parser(name, help=text)
        if arguments[:1] == [name]:
            try:
                importlib.import_module(f"rtcfwd.client.{name}").add_arguments(client)
            except ImportError as error:
                return _fail(f"{name} is not installed completely: {error}", 1)
    parsed = parser.parse_args(arguments)
    if parsed.command in _CLIENTS:
        return int(importlib.import_module(f"rtcfwd.client.{parsed.command}").run(parsed))
    try:
        settings = config.load(vars(parsed))
    except config.ConfigError as error:
        return _fail(str(error), 2)
    is_doctor = parsed.command == "doctor"
    logs.configure("error" if is_doctor else settings.log_level)
    return _doctor(settings) if is_doctor else _serve(settings)


def _fail(text: str, status: int) -> int:
    print(f"rtcfwd: {text}", file=sys.stderr)
    return status


def _serve(settings: config.Config) -> int:
    from rtcfwd.app import StartError

    try:
        asyncio.run(_run(settings))
    except StartError as error:
        return _fail(str(error), 1)
    return 0


async def _run(settings: config.Config) -> None:
    """Serve until SIGINT or SIGTERM; the first one drains, a second one ends at once. SIGHUP reads
    the certificate anew."""
    from rtcfwd.app import Server

    loop = asyncio.get_running_loop()
    asked, hurried = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (hurried if asked.is_set() else asked).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    server = Server(settings)
    loop.add_signal_handler(signal.SIGHUP, lambda: reloads.add(loop.create_task(server.reload())))
    reloads: set[asyncio.Task[None]] = set()
    await server.start()
    try:
        base = f"{server.scheme}://{server.host}:{server.http_port}"
        print(f"rtcfwd: ready {base}/ udp:{server.udp_port}")
        print(f"  page      {base}/")
        print(f"  publish   {base}/whip/demo   (WHIP)")
        print(f"  watch     {base}/whep/demo   (WHEP)")
        _print_phone(server, settings)
        sys.stdout.flush()
        await asked.wait()
        logging.getLogger(__name__).info("stopping")
        draining = asyncio.ensure_future(server.drain())
        hurry = asyncio.ensure_future(hurried.wait())
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurry):
            task.cancel()
        await asyncio.gather(draining, hurry, return_exceptions=True)
    finally:
        await server.stop()


def _print_phone(server: Server, settings: config.Config) -> None:
    """Where another device finds the page; in a terminal with a QR code. A certificate of the
    user's own is for a name that we do not know."""
    from rtcfwd.http import phone

    if settings.tls_cert:
        return
    urls = [f"{server.scheme}://{host}:{server.http_port}/?watch=demo"
            for host in phone.outside(settings.host, server.addresses)[:2]]  # fmt: skip
    for url in urls:
        print(f"  phone     {url}")
    if urls and sys.stdout.isatty() and sys.stdout.encoding.lower() == "utf-8":
        phone.print_code(urls[0], sys.stdout)


def _doctor(settings: config.Config) -> int:
    """A server with these settings, tested; status 1 if a line is not in order."""
    from rtcfwd.app import StartError

    try:
        lines = asyncio.run(_examine(settings))
    except StartError as error:
        return _fail(str(error), 1)
    for line in lines:
        mark = {True: "ok ", False: "BAD", None: "   "}[line.ok]
        print(f"{mark} {line.name}: {line.value}")
        if line.advice:
            print(f"      {line.advice}")
    return int(any(line.ok is False for line in lines))


async def _examine(settings: config.Config) -> list[Line]:
    """Start, test, stop. Ports that a server holds are left to it, and others taken."""
    from rtcfwd.app import Server
    from rtcfwd.http import selftest
    from rtcfwd.selftest import Line

    notes = []
    for name, kind in (("port", socket.SOCK_STREAM), ("udp_port", socket.SOCK_DGRAM)):
        reason = _taken(settings.host, getattr(settings, name), kind)
        if reason:
            advice = "tested on a free one; the server there tells of itself at /api/v1/selftest"
            what = f"{'UDP' if name == 'udp_port' else 'HTTP'} port {getattr(settings, name)}"
            notes.append(Line(what, reason, None, advice))
            settings = replace(settings, **{name: 0})  # type: ignore[arg-type]
    server = Server(settings)
    await server.start()
    try:
        found = await selftest.lines(server.registry, server.addresses, server.udp_port)
    finally:
        await server.stop()
    return [*notes, *found]


def _taken(host: str, port: int, kind: int) -> str:
    """Why a port cannot be bound; "" if it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, kind) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
            sock.bind((host, port))
    except OSError as error:
        return (error.strerror or str(error)).lower() if error.errno == errno.EADDRINUSE else ""
    return ""
