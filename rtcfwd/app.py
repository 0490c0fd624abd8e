"""The composition root: makes the parts of a server and joins them.

    Config ─▶ Forwarder (threads, UDP) ─ events ─▶ EventBridge ─▶ Dispatcher ─▶ Registry ◀─ HTTP
                        ▲──────────── calls ───────────────────────┘    │
                                                       one loop timer ◀─┘

Draining, if asked for: no new sessions, viewers are told to reconnect and have time to leave.
Closing order: HTTP stops listening; sessions send close_notify and BYE; the data plane lets go of
all peers (or a second passes); the bridge; the threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import resource
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

from aiohttp import web

from rtcfwd import addresses, ice
from rtcfwd.auth import Auth
from rtcfwd.certs import Certificate
from rtcfwd.config import Config
from rtcfwd.forwarder.api import Event, Forwarder, ForwarderError
from rtcfwd.forwarder.bridge import EventBridge
from rtcfwd.forwarder.debug import LoggingForwarder
from rtcfwd.http import routes
from rtcfwd.http.addresses import Clients
from rtcfwd.http.api import Api
from rtcfwd.http.guard import Guard
from rtcfwd.http.pages import Pages
from rtcfwd.http.phone import PhoneLink
from rtcfwd.http.selftest import SelfTest
from rtcfwd.http.unparsable import Runner
from rtcfwd.metrics import Metrics
from rtcfwd.session.dispatch import Dispatcher
from rtcfwd.session.registry import Registry
from rtcfwd.tls import Tls, TlsError, self_signed_context
from rtcfwd.tuning import SOCKET_BUFFER, buffer_hints

logger = logging.getLogger(__name__)

_CLOSING_S = 1.0


class StartError(Exception):
    """The server cannot start; one line that says what to change."""


class Server:
    """One server in this process. ``make_forwarder``: for tests, a data plane of their own."""

    def __init__(
        self, config: Config, *, make_forwarder: Callable[[Config], Forwarder] | None = None
    ) -> None:
        self.config = config
        self.http_port = 0
        self.udp_port = 0
        self.addresses: list[str] = []  # in answers
        self.tcp_port: int | None = None  # of ICE-TCP; None: off
        self.host = "127.0.0.1"  # where the HTTP port can be reached from this machine
        self.internal_errors: list[BaseException] = []  # the first few, for tests
        self.forwarder: Forwarder
        self.registry: Registry
        self._make_forwarder = make_forwarder or compiled_forwarder
        self._bridge: EventBridge | None = None
        self._runner: Runner | None = None
        self._listener: socket.socket | None = None
        self._lock: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._metrics: Metrics | None = None
        self._started = False
        self._released: asyncio.Event | None = None  # while stopping: set when all is let go
        self._viewers_gone: asyncio.Event | None = None  # while draining
        self._auth: Auth | None = None
        self._tls: Tls | None = None

    async def start(self) -> None:
        """Bind, start the threads, listen. Raises :class:`StartError`; then nothing is left."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self.config
        loop = asyncio.get_running_loop()
        announced = self.addresses = announced_addresses(config)
        listener = self._listener = listen(config.host, config.port)
        self._lock = _lock_udp_port(config.udp_port)
        self.forwarder = self._make_forwarder(config)
        self._started = True
        self.udp_port = self.forwarder.port
        self.tcp_port = listen_tcp(self.forwarder, config)
        self.http_port = listener.getsockname()[1]
        self.host = _reachable(config.host)
        self._auth = await _start_auth(config)
        self.registry = Registry(
            forwarder=self.forwarder,
            config=config,
            certificate=Certificate.generate(),
            candidates=ice.host_candidates(announced, self.udp_port, self.tcp_port),
            clock=loop.time,
            arm=self._arm,
        )
        self._metrics = Metrics(self.registry)
        self._dispatch = Dispatcher(self.registry)
        self._bridge = EventBridge(self.forwarder, self._handle, self._failed)
        self._bridge.start(loop)
        self.forwarder.start()
        api = Api(self.registry, announced, self.udp_port, self.tcp_port)
        others = [url for _, _, url in config.redirect] + [config.redirect_full]
        pages = await asyncio.to_thread(Pages, filter(None, others))  # reads files
        guard = Guard(self.registry, self._auth)
        selftest = SelfTest(
            self.registry, announced, self.udp_port, authorized=self._auth is not None
        )
        phone = PhoneLink(Clients(config.trusted_proxies), config.host, announced)
        app = routes.build(
            self.registry, guard, api, self._metrics.text, selftest, pages, phone, self._failed
        )
        # Not decompressed: a body that does not decode would leave its traceback in the log.
        self._runner = Runner(
            app,
            access_log=None,
            handle_signals=False,
            auto_decompress=False,
            shutdown_timeout=_CLOSING_S,
            keepalive_timeout=config.http_timeout,  # also of a request's head
            lingering_time=_CLOSING_S,  # for what is left of a body after its answer
        )
        await self._runner.setup()
        context = await asyncio.to_thread(self._tls_context, announced)
        await web.SockSite(self._runner, listener, ssl_context=context).start()
        self._listener = None  # the site's now
        if self._tls is not None:
            self._tls.start()
        if warning := exposure(config):
            logger.warning("%s", warning)
        logger.info(
            "SRTP engine %s, GSO %s, %d workers, UDP port %d, TCP port %s, addresses %s",
            self.forwarder.engine,
            "on" if self.forwarder.gso else "off",
            self.forwarder.workers,
            self.udp_port,
            self.tcp_port or "off",
            " ".join(announced),
        )
        for hint in buffer_hints(self.forwarder.worker_stats()):
            logger.warning("%s", hint)

    @property
    def scheme(self) -> str:
        return "https" if self.config.tls_cert or self.config.tls_self_signed else "http"

    def _tls_context(self, announced: list[str]) -> ssl.SSLContext | None:
        config = self.config
        try:
            if config.tls_self_signed:
                own = addresses.usable(addresses.interfaces())
                return self_signed_context(["127.0.0.1", "::1", *announced, *own])
            if config.tls_cert:
                self._tls = Tls(Path(config.tls_cert), Path(config.tls_key))
                return self._tls.context
        except TlsError as error:
            raise StartError(str(error)) from None
        return None

    async def reload(self) -> None:
        """Read the certificate's files anew (SIGHUP)."""
        if self._tls is not None:
            await asyncio.to_thread(self._tls.reload, always=True)

    async def drain(self) -> None:
        """Take no new sessions, tell viewers to reconnect, and wait until they have left or the
        drain time is over. :meth:`stop` ends what is left."""
        self._viewers_gone = asyncio.Event()
        self.registry.start_draining()
        if not self.registry.has_viewers():
            return
        logger.info("draining for %g s at most", self.config.drain)
        try:
            async with asyncio.timeout(self.config.drain):
                await self._viewers_gone.wait()
        except TimeoutError:
            logger.info("some viewers have not left")

    async def stop(self) -> None:
        """Stop in the closing order above; idempotent."""
        if self._tls is not None:
            await self._tls.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if self._auth is not None:
            await self._auth.close()
        if self._started and self._bridge is not None:
            self.registry.close_all()
            await self._let_go()
            self._bridge.stop()
            self._bridge = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._started:
            self._started = False
            self.forwarder.close()
        for held in (self._listener, self._lock):
            if held is not None:
                held.close()
        self._listener = self._lock = None

    async def _let_go(self) -> None:
        """Wait for the PeerGone and StreamGone events that follow a close_all()."""
        if self.registry.empty:
            return
        self._released = asyncio.Event()
        try:
            async with asyncio.timeout(_CLOSING_S):
                await self._released.wait()
        except TimeoutError:
            logger.warning("%d peers were not let go in time", len(self.registry.by_peer))

    # ---- glue ----

    def _handle(self, event: Event) -> None:
        self._dispatch(event)
        if self._released is not None and self.registry.empty:
            self._released.set()
        if self._viewers_gone is not None and not self.registry.has_viewers():
            self._viewers_gone.set()

    def _arm(self, when: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when is not None:
            self._timer = asyncio.get_running_loop().call_at(when, self._run_timers)

    def _run_timers(self) -> None:
        self._timer = None
        try:
            self.registry.run_timers()
        except Exception as error:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Something that nobody foresaw: logged with its traceback, counted, survived."""
        logger.error("unexpected: %r", error, exc_info=error)
        if self._metrics is not None:
            self._metrics.internal_errors += 1
        if len(self.internal_errors) < 10:
            self.internal_errors.append(error)


async def _start_auth(config: Config) -> Auth | None:
    auth = Auth.from_config(config)
    if auth is not None:
        try:
            await auth.start()
        except ValueError as error:
            await auth.close()
            raise StartError(str(error)) from None
    return auth


def exposure(config: Config) -> str:
    """What to warn of at the start; empty when there is nothing."""
    if ipaddress.ip_address(config.host).is_loopback:
        return ""
    secured = (
        config.auth_tokens, config.auth_jwt_secret, config.auth_jwt_keys, config.auth_webhook
    )  # fmt: skip
    if not any(secured):
        return (
            "everybody who reaches this port may publish and watch: there is no --auth-… setting"
            " (docs/secure.md), and --host is not 127.0.0.1"
        )
    if not (config.tls_cert or config.tls_self_signed or config.trusted_proxies):
        return "tokens come in clear over HTTP: set --tls-cert and --tls-key (docs/secure.md)"
    return ""


def compiled_forwarder(config: Config) -> Forwarder:
    """The data plane in C, not yet started. Raises :class:`StartError`."""
    try:
        from rtcfwd.forwarder._forwarder import CompiledForwarder
    except ImportError as error:
        raise StartError(
            f"the compiled data plane is missing ({error}); build it: pip install ."
        ) from None
    try:
        forwarder = CompiledForwarder(
            host=config.host,
            port=config.udp_port,
            workers=config.workers or len(os.sched_getaffinity(0)),
            max_streams=config.max_streams,
            max_peers=config.max_viewers + 4 * config.max_streams,
            start_pace_bps=config.start_pace,
            remb_bps=config.remb,
            keyframe_percent=config.keyframe_share,
            viewer_lag_ns=round(config.viewer_lag * 1e9),
            viewer_lag_bytes=config.viewer_backlog,
            socket_buffer=SOCKET_BUFFER,
            egress=config.egress,
            engine=config.engine,
        )
    except (ForwarderError, OSError, ValueError) as error:
        raise StartError(
            f"UDP {config.host} port {config.udp_port}: {error}; choose another --udp-port"
        ) from None
    if logging.getLogger("rtcfwd.forwarder.debug").isEnabledFor(logging.DEBUG):
        return cast(Forwarder, LoggingForwarder(forwarder))
    return forwarder


def listen_tcp(forwarder: Forwarder, config: Config) -> int | None:
    """The port of ICE-TCP, or None where it is off. ``auto`` takes the UDP port's number, so that a
    firewall needs one number; where it is taken, media goes by UDP alone. Raises
    :class:`StartError` when a port that was asked for cannot be had."""
    if config.ice_tcp_port == "off":
        return None
    wanted = forwarder.port if config.ice_tcp_port == "auto" else int(config.ice_tcp_port)
    _raise_descriptor_limit(config.max_tcp)
    try:
        return forwarder.listen_tcp(wanted, config.max_tcp)
    except ForwarderError as error:
        if config.ice_tcp_port != "auto":
            raise StartError(
                f"TCP {config.host} port {wanted}: {error}; choose another --ice-tcp-port, or off"
            ) from None
        if config.udp_port == 0:  # any number will do
            with contextlib.suppress(ForwarderError):
                return forwarder.listen_tcp(0, config.max_tcp)
        logger.warning(
            "TCP port %d: %s; clients whose UDP is blocked cannot connect (--ice-tcp-port)",
            wanted,
            error,
        )
        return None


def _raise_descriptor_limit(connections: int) -> None:
    """Many systems allow 1024 descriptors unless a process asks for more, as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 4096
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; ``::`` takes both families, or IPv4 alone where there is no IPv6.
    Raises :class:`StartError`."""
    try:
        if host == "::":
            try:
                return socket.create_server(
                    ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
                )
            except OSError as error:
                if error.errno not in _NO_IPV6:
                    raise
                host = "0.0.0.0"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartError(f"HTTP {host} port {port}: {reason}; choose another --port") from None


_NO_IPV6 = (97, 99)  # EAFNOSUPPORT, EADDRNOTAVAIL


def _lock_udp_port(port: int) -> socket.socket | None:
    """Keeps a second server from joining the group of sockets on the port (SO_REUSEPORT would
    let it, and take half of the traffic). An abstract Unix socket: gone with the process."""
    if port == 0:
        return None
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0rtcfwd-udp-{port}")
    except OSError:
        lock.close()
        raise StartError(
            f"another rtcfwd serves UDP port {port}; stop it or choose another --udp-port"
        ) from None
    return lock


def announced_addresses(config: Config) -> list[str]:
    """The addresses for the answers (:func:`rtcfwd.addresses.for_answers`). Raises
    :class:`StartError`."""
    try:
        return addresses.for_answers(
            addresses.interfaces(),
            config.host,
            config.announce,
            config.interfaces,
            config.exclude_interfaces,
        )
    except addresses.NoAddress as error:
        raise StartError(str(error)) from None


def _reachable(host: str) -> str:
    if host in ("::", "0.0.0.0"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
