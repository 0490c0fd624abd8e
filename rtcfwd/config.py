"""Settings and limits: every number that an operator may change, in one place.

A setting comes from, in this order: the command line, the environment (``RTCFWD_`` and the name in
capitals), the TOML file (``--config`` or ``RTCFWD_CONFIG``; same names, underscores), the default.
Whatever its source, text goes through the one parser that stands beside the field, so a bad value
gives the same clear line everywhere: where it came from and what to change (:class:`ConfigError`).

Pure but for reading the TOML file in :func:`load`.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtcfwd import config_access as access
from rtcfwd import playout

PREFIX = "RTCFWD_"


class ConfigError(Exception):
    """One line for the operator: which source, which value, and what would be right."""


Parse = Callable[[object], Any]


def _integer(low: int, high: int) -> Parse:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(f"wants a whole number from {low} to {high}")
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"wants a whole number from {low} to {high}") from None
        if not low <= number <= high:
            raise ValueError(f"wants a whole number from {low} to {high}")
        return number

    return parse


def _seconds(low: float, high: float) -> Parse:
    def parse(value: object) -> float:
        wrong = ValueError(f"wants a number of seconds from {low:g} to {high:g}")
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise wrong
        try:
            number = float(value)
        except ValueError:
            raise wrong from None
        if not low <= number <= high:  # also refuses NaN
            raise wrong
        return number

    return parse


def _number(low: float, high: float) -> Parse:
    def parse(value: object) -> float:
        try:
            return float(_seconds(low, high)(value))
        except ValueError:
            raise ValueError(f"wants a number from {low:g} to {high:g}") from None

    return parse


def _bitrate(value: object) -> int:
    """Bits a second: a number, or one with k or M behind it (``6M``, ``800k``)."""
    wrong = ValueError("wants bits a second from 50k to 1000M, such as 6M or 800k")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise wrong
    text = str(value).strip()
    scale = {"k": 1e3, "M": 1e6}.get(text[-1:], 1.0)
    try:
        number = float(text[:-1] if scale > 1 else text) * scale
    except ValueError:
        raise wrong from None
    if not 50e3 <= number <= 1e9:
        raise wrong
    return int(number)


def _choice(*choices: str) -> Parse:
    def parse(value: object) -> str:
        if isinstance(value, str) and value.lower() in choices:
            return value.lower()
        raise ValueError(f"wants one of {', '.join(choices)}")

    return parse


def _address(value: object) -> str:
    """A numeric IP address to bind; ``*`` is ``::``, every address of both families."""
    if value == "*":
        return "::"
    if value == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(value)) if isinstance(value, str) else _no_address()
    except ValueError:
        return _no_address()


def _no_address() -> str:
    raise ValueError("wants a numeric IP address, such as 0.0.0.0, 127.0.0.1 or ::")


def _addresses(value: object) -> tuple[str, ...]:
    """Addresses to put into answers: a list, or text parted by commas or spaces."""
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    wrong = ValueError("wants numeric IP addresses, at most 8, that clients can reach")
    if not isinstance(items, (list, tuple)) or len(items) > 8:
        raise wrong
    found = []
    for item in items:
        for part in str(item).replace(",", " ").split():
            try:
                address = ipaddress.ip_address(part)
            except ValueError:
                raise wrong from None
            if address.is_unspecified or address.is_multicast:
                raise wrong
            found.append(str(address))
    return tuple(found)


def _tcp_port(value: object) -> str:
    """``auto``, ``off``, or a port number as text."""
    text = str(value).strip().lower() if not isinstance(value, bool) else ""
    if text in ("auto", "off") or (text.isascii() and text.isdigit() and int(text) <= 65535):
        return text
    raise ValueError("wants auto, off or a port number from 0 to 65535")


def _selectors(value: object) -> tuple[str, ...]:
    """Interfaces by name (``eth0``, ``docker*``) or network: a list, or text parted by commas."""
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    wrong = ValueError("wants interface names (eth0, docker*) or networks (10.0.0.0/8)")
    if not isinstance(items, (list, tuple)) or len(items) > 64:
        raise wrong
    found = [part for item in items for part in str(item).replace(",", " ").split()]
    for part in found:
        if "/" in part:
            try:
                ipaddress.ip_network(part, strict=False)
            except ValueError:
                raise wrong from None
    return tuple(found)


def _setting(default: Any, parse: Parse, help: str, metavar: str = "N", **more: Any) -> Any:
    """``more``: ``many`` values; a ``secret``, which no message shows; a ``switch``, whose value
    may be left out on the command line."""
    return field(
        default=default,
        repr=not more.get("secret"),
        metadata={"parse": parse, "help": help, "metavar": metavar, **more},
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one server. Times in seconds, sizes in bytes, rates in bits a second."""

    host: str = _setting("::", _address, "address to listen on; :: is every one", "ADDR")
    port: int = _setting(8080, _integer(0, 65535), "HTTP port; 0: any free one", "PORT")
    udp_port: int = _setting(8189, _integer(0, 65535), "UDP port of all media", "PORT")
    announce: tuple[str, ...] = _setting(
        (), _addresses, "addresses for the answers, where clients cannot reach this machine's own",
        "ADDR", many=True,
    )  # fmt: skip
    interfaces: tuple[str, ...] = _setting(
        (), _selectors, "only these interfaces' addresses in the answers: names or networks",
        "NAME", many=True,
    )  # fmt: skip
    exclude_interfaces: tuple[str, ...] = _setting(
        (), _selectors, "none of these interfaces' addresses in the answers", "NAME", many=True
    )
    ice_tcp_port: str = _setting(
        "auto",
        _tcp_port,
        "TCP port of media, for clients without UDP; auto: the UDP port's number; off",
        "PORT",
    )
    workers: int = _setting(0, _integer(0, 64), "forwarder threads; 0: one a core")
    log_level: str = _setting(
        "info", _choice("debug", "info", "warning", "error"), "how much to log", "LEVEL"
    )
    remb: int = _setting(6_000_000, _bitrate, "most that publishers are told to send", "BPS")
    egress: str = _setting(
        "gso", _choice("sendto", "sendmmsg", "gso"), "how datagrams are sent", "MODE"
    )
    engine: str = _setting(
        "auto",
        _choice("auto", "libsrtp", "ipsec-mb"),
        "what encrypts; auto takes the fastest here",
        "NAME",
    )
    keyframe_share: int = _setting(
        25, _integer(1, 100), "of the bitrate that key frames asked for may take", "PERCENT"
    )
    start_pace: int = _setting(30_000_000, _bitrate, "rate of a viewer's start burst", "BPS")
    viewer_lag: float = _setting(
        1.0, _seconds(0.2, 10), "a slow viewer's video that is later goes on at the next key frame",
        "S",
    )  # fmt: skip
    viewer_backlog: int = _setting(
        1_000_000, _integer(50_000, 100_000_000), "the same, by what waits for it", "BYTES"
    )
    playout_delay: tuple[int, int] | None = _setting(
        None, playout.parse, "how long browsers are to hold pictures back; 0: least delay; auto",
        "MIN-MAX",
    )  # fmt: skip
    grace: float = _setting(
        10.0, _seconds(0, 3600), "time that viewers wait for a publisher to come back", "S"
    )

    # What is served (docs/operate.md).
    codecs: tuple[str, ...] = _setting(
        (), access.codecs, "codecs that are served, in order of preference; without: all of them",
        "CODEC", many=True,
    )  # fmt: skip
    stream_codecs: tuple[tuple[str, tuple[str, ...]], ...] = _setting(
        (), access.stream_codecs, "the same for some streams; the first that fits counts",
        "STREAM:CODEC,CODEC", many=True,
    )  # fmt: skip
    video_orientation: str = _setting(
        "pass",
        _choice("pass", "turn"),
        "pass a phone's orientation on, or have the publisher turn the picture itself",
        "MODE",
    )

    # Limits (DESIGN: what bad input gets).
    max_streams: int = _setting(64, _integer(1, 4096), "streams at once")
    max_viewers: int = _setting(5000, _integer(1, 100_000), "viewers at once, all streams")
    max_tcp: int = _setting(1024, _integer(1, 65_000), "TCP connections of media at once")
    max_handshakes: int = _setting(500, _integer(1, 100_000), "sessions that are not yet connected")
    max_body: int = _setting(65_536, _integer(1024, 1 << 20), "bytes of a request body", "BYTES")
    handshake_timeout: float = _setting(
        30.0, _seconds(1, 300), "time that a session has to connect", "S"
    )
    idle_timeout: float = _setting(
        30.0, _seconds(5, 600), "a peer that is silent for so long is closed", "S"
    )
    takeover_silence: float = _setting(
        3.0, _seconds(0, 60), "a publisher silent for so long may be replaced", "S"
    )
    tombstone: float = _setting(
        30.0, _seconds(0, 600), "time that DELETE of an ended session still answers 200", "S"
    )
    http_timeout: float = _setting(
        15.0, _seconds(0.1, 600), "time for a request's head, its body, and until the next one", "S"
    )
    viewer_wait: float = _setting(
        0.0, _seconds(0, 86_400),
        "time that a viewer may wait for the first publisher; 0: it is refused with 409", "S",
    )  # fmt: skip
    http_profile: str = _setting(
        "lenient", _choice("lenient", "strict"),
        "strict: a trickle PATCH without If-Match gets 428, as RFC 9725 wants", "NAME",
    )  # fmt: skip
    rate_limit: float = _setting(
        100.0, _number(0, 1e6), "POST, PATCH and DELETE a second and address; 0: no limit"
    )
    rate_burst: int = _setting(1000, _integer(1, 1_000_000), "the same, at once")

    # Who may do what (docs/secure.md).
    auth_tokens: tuple[tuple[str, str, str], ...] = _setting(
        (), access.token_rules, "bearer tokens, each with the action and the streams it is for",
        "ACTION:STREAM:TOKEN", many=True, secret=True,
    )  # fmt: skip
    auth_jwt_secret: str = _setting(
        "", access.jwt_secret, "shared secret of signed tokens (HS256)", "SECRET", secret=True
    )
    auth_jwt_keys: str = _setting(
        "", access.text, "JWKS with the public keys of signed tokens (RS256, ES256)", "FILE|URL"
    )
    auth_jwt_issuer: str = _setting("", access.text, "issuer (iss) that signed tokens name", "ISS")
    auth_jwt_audience: str = _setting("", access.text, "audience (aud), likewise", "AUD")
    auth_webhook: str = _setting("", access.http_url, "asked for each decision", "URL", secret=True)
    auth_webhook_timeout: float = _setting(
        3.0, _seconds(0.1, 30), "without its answer by then, access is refused", "S"
    )
    auth_webhook_parallel: int = _setting(32, _integer(1, 1024), "questions to it at a time")
    auth_sessions: str = _setting(
        "capability", _choice("capability", "token"),
        "what PATCH and DELETE of a session need: its URL, or a token too", "MODE",
    )  # fmt: skip
    auth_delay: float = _setting(0.5, _seconds(0, 10), "a wrong token is answered so late", "S")
    auth_failures: int = _setting(
        120, _integer(1, 1_000_000), "wrong tokens a minute and address; more get 429"
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), access.networks, "proxies whose X-Forwarded-For is believed", "ADDR", many=True
    )

    # Where clients are sent, and how the server ends (docs/operate.md).
    redirect: tuple[tuple[str, str, str], ...] = _setting(
        (), access.redirect_rules, "streams that another server has (307)", "ACTION:STREAM:URL",
        many=True,
    )  # fmt: skip
    redirect_full: str = _setting(
        "", access.base_url, "server for those that this one has no room for (307)", "URL"
    )
    drain: float = _setting(
        5.0, _seconds(0, 86_400), "time that viewers have to leave after SIGTERM", "S"
    )
    ice_servers: tuple[str, ...] = _setting(
        (), access.ice_servers, "STUN and TURN servers for clients", "URL", many=True
    )
    turn_secret: str = _setting(
        "", access.text, "secret shared with the TURN servers (use-auth-secret)", "SECRET",
        secret=True,
    )  # fmt: skip
    turn_ttl: float = _setting(
        3600.0, _seconds(60, 604_800), "time that a TURN credential made of it is good for", "S"
    )
    turn_username: str = _setting("", access.link_word, "fixed user name for TURN", "NAME")
    turn_password: str = _setting(
        "", access.link_word, "fixed password for TURN", "WORD", secret=True
    )

    tls_cert: str = _setting("", access.text, "certificate chain for HTTPS (PEM)", "FILE")
    tls_key: str = _setting("", access.text, "its private key (PEM)", "FILE")
    tls_self_signed: bool = _setting(
        False, access.flag, "HTTPS with a certificate of its own making, for a try-out", "YES",
        switch=True,
    )  # fmt: skip


_FIELDS = {f.name: f for f in dataclasses.fields(Config)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one option per setting; values stay text until :func:`load` judges them."""
    parser.add_argument("--config", metavar="FILE.toml", help="settings file (TOML)")
    for name, item in _FIELDS.items():
        meta = item.metadata
        default = "" if item.default in ((), "", False, None) else f" (default {item.default})"
        many: dict[str, Any] = {"nargs": "+", "action": "extend"} if meta.get("many") else {}
        if meta.get("switch"):
            many = {"nargs": "?", "const": "yes"}
        parser.add_argument(
            "--" + name.replace("_", "-"),
            metavar=meta["metavar"],
            help=meta["help"] + default,
            **many,
        )


def load(arguments: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Config:
    """The settings from all sources. ``arguments``: what :func:`add_arguments` parsed, ``None``
    for what was not given. Raises :class:`ConfigError`."""
    environment = os.environ if environment is None else environment
    filename = arguments.get("config") or environment.get(PREFIX + "CONFIG")
    table = _read_toml(str(filename)) if filename else {}
    values: dict[str, Any] = {}
    for name, item in _FIELDS.items():
        if arguments.get(name) is not None:
            source, value = "--" + name.replace("_", "-"), arguments[name]
        elif PREFIX + name.upper() in environment:
            source = f"environment variable {PREFIX}{name.upper()}"
            value = environment[PREFIX + name.upper()]
        elif name in table:
            source, value = f"{filename}: {name}", table[name]
        else:
            continue
        try:
            values[name] = item.metadata["parse"](value)
        except ValueError as error:
            shown = "" if item.metadata.get("secret") else f" = {value!r}"
            raise ConfigError(f"{source}{shown}: {error}") from None
    config = Config(**values)
    _check_together(config)
    return config


def _check_together(config: Config) -> None:
    """Settings that need each other, or that exclude each other."""
    if bool(config.tls_cert) != bool(config.tls_key):
        raise ConfigError("tls_cert and tls_key: give both, or neither")
    if config.tls_cert and config.tls_self_signed:
        raise ConfigError("tls_self_signed: not together with tls_cert")
    turn = any(url.startswith("turn") for url in config.ice_servers)
    if bool(config.turn_username) != bool(config.turn_password):
        raise ConfigError("turn_username and turn_password: give both, or neither")
    if turn and not config.turn_secret and not config.turn_username:
        raise ConfigError(
            "ice_servers: a TURN server needs turn_secret, or turn_username and turn_password"
        )


def _read_toml(filename: str) -> dict[str, object]:
    try:
        table = tomllib.loads(Path(filename).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{filename}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{filename}: is not TOML ({error})") from None
    for key in table:
        if key not in _FIELDS:
            near = difflib.get_close_matches(key, _FIELDS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{filename}: {key}: there is no such setting{hint}")
    return table
