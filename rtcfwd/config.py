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


def _setting(default: Any, parse: Parse, help: str, metavar: str = "N", **more: Any) -> Any:
    return field(
        default=default, metadata={"parse": parse, "help": help, "metavar": metavar, **more}
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
    workers: int = _setting(0, _integer(0, 64), "forwarder threads; 0: one a core")
    log_level: str = _setting(
        "info", _choice("debug", "info", "warning", "error"), "how much to log", "LEVEL"
    )
    remb: int = _setting(6_000_000, _bitrate, "bitrate that publishers are told to send", "BPS")
    egress: str = _setting(
        "gso", _choice("sendto", "sendmmsg", "gso"), "how datagrams are sent", "MODE"
    )
    engine: str = _setting(
        "auto",
        _choice("auto", "libsrtp", "ipsec-mb"),
        "what encrypts; auto takes the fastest here",
        "NAME",
    )
    start_pace: int = _setting(30_000_000, _bitrate, "rate of a viewer's start burst", "BPS")
    grace: float = _setting(
        10.0, _seconds(0, 3600), "time that viewers wait for a publisher to come back", "S"
    )

    # Limits (DESIGN: what bad input gets).
    max_streams: int = _setting(64, _integer(1, 4096), "streams at once")
    max_viewers: int = _setting(5000, _integer(1, 100_000), "viewers at once, all streams")
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


_FIELDS = {f.name: f for f in dataclasses.fields(Config)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one option per setting; values stay text until :func:`load` judges them."""
    parser.add_argument("--config", metavar="FILE.toml", help="settings file (TOML)")
    for name, item in _FIELDS.items():
        meta = item.metadata
        default = "" if item.default in ((), "") else f" (default {item.default})"
        many: dict[str, Any] = {"nargs": "+", "action": "extend"} if meta.get("many") else {}
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
            raise ConfigError(f"{source} = {value!r}: {error}") from None
    return Config(**values)


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
