"""The boundary to the data plane: the stub tells the truth, numbers agree on both sides, every
argument is checked, and a handle of something gone says so.

All of it without threads: the in-memory forwarder, in virtual time.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any, cast

import pytest

from rtcfwd.forwarder import _forwarder, api, libsrtp
from rtcfwd.forwarder._forwarder import CompiledForwarder, MemoryForwarder
from rtcfwd.forwarder.api import Codec, Kind, Path, PeerHandle, Role, SrtpProfile, StreamHandle

ROOT = FilePath(__file__).parents[2]
VIEWER_PATH = Path(("192.0.2.1", 4000), "192.0.2.254")


def as_protocol(forwarder: CompiledForwarder) -> api.Forwarder:
    """mypy checks here that the compiled class is a Forwarder."""
    return forwarder


@pytest.fixture
def forwarder() -> Iterator[MemoryForwarder]:
    f = MemoryForwarder(workers=2, max_peers=8, max_streams=4, video_slots=64, audio_slots=64)
    yield f
    f.close()


def settle(f: MemoryForwarder, now_ns: int = 1_000_000_000) -> list[api.Event]:
    """Lets every worker carry out its commands; the events that come of it."""
    for worker in range(f.workers):
        while f.turn(worker, now_ns):
            pass
    return f.poll()


def publication(**changes: Any) -> api.Publication:
    track: dict[str, Any] = {
        "kind": Kind.VIDEO,
        "clock_rate": 90000,
        "mid": "0",
        "formats": [api.PublishedFormat(96, Codec.H264, 0, 97)],
        "ssrcs": [1],
        "rtx_ssrcs": [2],
    }
    whole: dict[str, Any] = {"extensions": {}, "local_ssrc": 7, "cname": "c"}
    for key, value in changes.items():
        (track if key in track else whole)[key] = value
    whole.setdefault("tracks", [api.PublishedTrack(**track)])
    return api.Publication(**whole)


def subscription(**changes: Any) -> api.Subscription:
    track: dict[str, Any] = {
        "kind": Kind.VIDEO,
        "mid": "0",
        "ssrc": 11,
        "rtx_ssrc": 12,
        "payload_types": {0: (96, 97)},
    }
    whole: dict[str, Any] = {"extensions": {}, "cname": "c"}
    for key, value in changes.items():
        (track if key in track else whole)[key] = value
    whole.setdefault("tracks", [api.ViewedTrack(**track)])
    return api.Subscription(**whole)


# ---- the stub and the numbers -------------------------------------------------------------------


def stub_names() -> tuple[set[str], dict[str, dict[str, list[str]]]]:
    """Top-level names, and per class its methods with their parameters, as the stub has them."""
    tree = ast.parse((ROOT / "rtcfwd/forwarder/_forwarder.pyi").read_text())
    names: set[str] = set()
    classes: dict[str, dict[str, list[str]]] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
            classes[node.name] = {
                m.name: [a.arg for a in (*m.args.args, *m.args.kwonlyargs)]
                for m in node.body
                if isinstance(m, ast.FunctionDef)
            }
    return names, classes


def test_stub_has_the_names_of_the_module() -> None:
    names, classes = stub_names()
    exported = {
        name
        for name, value in vars(_forwarder).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert exported == names
    for cls, methods in classes.items():
        real = {
            name
            for name in vars(getattr(_forwarder, cls))
            if not name.startswith("__") or name == "__init__"
        }
        declared = set(methods) | {"__init__"} if cls == "CompiledForwarder" else set(methods)
        inherited = {"start", "__init__"} if cls == "MemoryForwarder" else set()
        assert real - inherited == declared - inherited


def test_protocol_is_implemented_with_the_same_parameters() -> None:
    _, classes = stub_names()
    for name, member in vars(api.Forwarder).items():
        if name.startswith("_") or not inspect.isfunction(member):
            continue
        assert classes["CompiledForwarder"][name] == list(inspect.signature(member).parameters)


@pytest.mark.parametrize(
    ("name", "enum"), [("rf_kind", Kind), ("rf_role", Role)], ids=["kind", "role"]
)
def test_enums_equal_those_of_the_boundary(name: str, enum: Any) -> None:
    assert _forwarder.ENUMS[name] == {member.name: int(member) for member in enum}


def test_codecs_equal_the_c_enum() -> None:
    header = (ROOT / "csrc/wire/keyframe.h").read_text()
    body = re.search(r"enum rf_codec \{(.*?)\}", header, re.S)
    assert body is not None
    assert re.findall(r"RF_CODEC_(\w+)", body[1]) == [c.name for c in sorted(Codec)]


def test_profiles_equal_the_c_enum() -> None:
    header = (ROOT / "csrc/srtp/engine.h").read_text()
    found = [int(n) for n in re.findall(r"RF_PROFILE_\w+ = (\d+)", header)]
    assert sorted(found) == sorted(int(p) for p in SrtpProfile)


def test_error_codes_equal_the_header() -> None:
    header = (ROOT / "csrc/base/error.h").read_text()
    codes = {name: int(value) for name, value in re.findall(r"X\((RF_E\w+), (-\d+)", header)}
    assert _forwarder.ERRORS.items() <= codes.items()


def test_every_drop_reason_and_extension_has_its_name() -> None:
    header = (ROOT / "csrc/base/drop.h").read_text()
    assert list(_forwarder.DROPS) == re.findall(r'X\((\w+),[\s\\]*"', header)
    assert set(_forwarder.DROP_TEXTS) == set(_forwarder.DROPS)
    assert all(_forwarder.DROP_TEXTS.values())
    uris = re.findall(r'X\(\w+,[\s\\]*"([^"]+)"', (ROOT / "csrc/wire/hdrext.h").read_text())
    assert list(_forwarder.EXTENSIONS) == uris


# ---- life and handles ---------------------------------------------------------------------------


def test_is_a_forwarder(forwarder: MemoryForwarder) -> None:
    f = as_protocol(forwarder)
    assert (f.workers, f.gso) == (2, True)
    assert f.engine in ("libsrtp", "ipsec-mb")
    assert f.fileno() >= 0
    f.start()
    assert f.poll() == []


def test_life_of_a_peer_and_its_sessions(forwarder: MemoryForwarder) -> None:
    stream = forwarder.open_stream()
    peer = forwarder.open_peer(stream, Role.VIEWER)
    forwarder.view(peer, subscription())
    forwarder.add_ufrag(peer, "abcd")
    forwarder.add_path(peer, VIEWER_PATH)
    forwarder.set_keys(peer, SrtpProfile.AEAD_AES_128_GCM, bytes(28), bytes(28))
    assert settle(forwarder) == []

    stats = forwarder.peer_stats(peer)
    assert stats["path"] == VIEWER_PATH
    assert stats["role"] is Role.VIEWER
    assert stats["profile"] is SrtpProfile.AEAD_AES_128_GCM
    assert (stats["has_keys"], stats["has_path"]) == (True, True)
    assert stats["tracks"]["video"]["ssrc"] == 11
    assert set(forwarder.worker_stats()[0]["drops"]) == set(_forwarder.DROPS)

    forwarder.close_peer(peer)
    assert api.PeerGone(peer) in settle(forwarder)
    forwarder.close_stream(stream)
    assert settle(forwarder) == [api.StreamGone(stream)]


def test_handles_of_what_is_gone(forwarder: MemoryForwarder) -> None:
    stream = forwarder.open_stream()
    peer = forwarder.open_peer(stream, Role.PUBLISHER)
    forwarder.close_peer(peer, bye=False)
    settle(forwarder)
    calls: list[Callable[[], object]] = [
        lambda: forwarder.close_peer(peer),
        lambda: forwarder.add_ufrag(peer, "abcd"),
        lambda: forwarder.add_path(peer, VIEWER_PATH),
        lambda: forwarder.select_path(peer, VIEWER_PATH),
        lambda: forwarder.publish(peer, publication()),
        lambda: forwarder.view(peer, subscription()),
        lambda: forwarder.set_format(peer, Kind.VIDEO, 0, 96, None),
        lambda: forwarder.peer_stats(peer),
        lambda: forwarder.open_peer(StreamHandle(0), Role.VIEWER),
        lambda: forwarder.stream_stats(StreamHandle(99 << 32 | 1)),
        lambda: forwarder.close_stream(StreamHandle(-1)),
        lambda: forwarder.close_peer(cast(PeerHandle, "x")),
    ]
    for call in calls:
        with pytest.raises(api.StaleHandle):
            call()

    again = forwarder.open_peer(stream, Role.PUBLISHER)
    assert again != peer


def test_full_tables_are_busy(forwarder: MemoryForwarder) -> None:
    stream = forwarder.open_stream()
    for _ in range(8):
        forwarder.open_peer(stream, Role.VIEWER)
    with pytest.raises(api.ForwarderBusy):
        forwarder.open_peer(stream, Role.VIEWER)


def test_closed_forwarder_says_so() -> None:
    f = MemoryForwarder()
    f.close()
    f.close()
    with pytest.raises(api.ForwarderError, match="closed"):
        f.open_stream()


def test_threads_and_socket_start_and_end() -> None:
    f = CompiledForwarder(host="127.0.0.1", workers=2)
    assert f.port > 0
    f.start()
    with pytest.raises(api.ForwarderError):
        f.start()
    f.close()


def test_address_in_use_names_the_system_error() -> None:
    with pytest.raises(api.ForwarderError) as caught:
        CompiledForwarder(host="192.0.2.77")  # not an address of this machine
    assert isinstance(caught.value.__cause__, OSError)


# ---- validation ---------------------------------------------------------------------------------

FMT = api.PublishedFormat(96, Codec.H264, 0)
BAD_PUBLICATIONS: list[dict[str, Any]] = [
    {"kind": 2},
    {"clock_rate": 0},
    {"clock_rate": 1 << 32},
    {"mid": "m" * 17},
    {"mid": "a\0b"},
    {"formats": []},
    {"formats": [api.PublishedFormat(i, Codec.VP8, 0) for i in range(17)]},
    {"formats": [FMT, FMT]},
    {"formats": [dataclasses.replace(FMT, pt=128)]},
    {"formats": [dataclasses.replace(FMT, pt=-1)]},
    {"formats": [dataclasses.replace(FMT, format=16)]},
    {"formats": [dataclasses.replace(FMT, rtx_pt=255)]},
    {"formats": [dataclasses.replace(FMT, rtx_pt=96)]},
    {"formats": [dataclasses.replace(FMT, codec=cast(Codec, 99))]},
    {"ssrcs": [1, 2, 3, 4, 5]},
    {"ssrcs": [1 << 32], "rtx_ssrcs": []},
    {"ssrcs": [], "rtx_ssrcs": [1]},
    {"extensions": {0: "urn:ietf:params:rtp-hdrext:sdes:mid"}},
    {"extensions": {256: "urn:ietf:params:rtp-hdrext:sdes:mid"}},
    {"local_ssrc": 0},
    {"cname": "c" * 32},
    {"tracks": list(publication().tracks) * 2},
]
BAD_SUBSCRIPTIONS: list[dict[str, Any]] = [
    {"tracks": []},
    {"ssrc": 0},
    {"ssrc": 12},
    {"rtx_ssrc": -1},
    {"mid": "m" * 17},
    {"payload_types": {16: (96, None)}},
    {"payload_types": {0: (128, None)}},
    {"payload_types": {0: (96, 300)}},
    {"extensions": {"urn:3gpp:video-orientation": 0}},
    {"extensions": {"urn:3gpp:video-orientation": 256}},
    {"cname": "é" * 16},
    {"tracks": list(subscription().tracks) * 2},
]


@pytest.mark.parametrize("changes", BAD_PUBLICATIONS, ids=lambda c: str(c)[:60])
def test_unsound_publication_is_refused(
    forwarder: MemoryForwarder, changes: dict[str, Any]
) -> None:
    peer = forwarder.open_peer(forwarder.open_stream(), Role.PUBLISHER)
    with pytest.raises(ValueError):
        forwarder.publish(peer, publication(**changes))


@pytest.mark.parametrize("changes", BAD_SUBSCRIPTIONS, ids=lambda c: str(c)[:60])
def test_unsound_subscription_is_refused(
    forwarder: MemoryForwarder, changes: dict[str, Any]
) -> None:
    peer = forwarder.open_peer(forwarder.open_stream(), Role.VIEWER)
    with pytest.raises(ValueError):
        forwarder.view(peer, subscription(**changes))


@pytest.mark.parametrize(
    "settings",
    [
        {"workers": 0},
        {"workers": 65},
        {"port": 65536},
        {"host": "localhost"},
        {"video_slots": 100},
        {"egress": "pigeon"},
        {"max_peers": 0},
        {"resend_percent": 101},
        {"keyframe_percent": 0},
    ],
    ids=str,
)
def test_unsound_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        MemoryForwarder(**settings)


def test_unsound_arguments_are_refused(forwarder: MemoryForwarder) -> None:
    peer = forwarder.open_peer(forwarder.open_stream(), Role.VIEWER)
    profile = SrtpProfile.AEAD_AES_128_GCM
    with pytest.raises(api.ForwarderError, match="before"):
        forwarder.set_keys(peer, profile, bytes(28), bytes(28))
    forwarder.view(peer, subscription())
    calls: list[Callable[[], object]] = [
        lambda: forwarder.set_keys(peer, profile, bytes(27), bytes(28)),
        lambda: forwarder.set_keys(peer, cast(SrtpProfile, 2), bytes(30), bytes(30)),
        lambda: forwarder.add_ufrag(peer, ""),
        lambda: forwarder.add_path(peer, Path(("::1", 0), "::1")),
        lambda: forwarder.add_path(peer, Path(("nowhere", 1), "::1")),
        lambda: forwarder.set_format(peer, Kind.VIDEO, 16, 96, None),
        lambda: forwarder.set_format(peer, cast(Kind, 5), 0, 96, None),
        lambda: forwarder.send(0, VIEWER_PATH, b""),
        lambda: forwarder.send(0, VIEWER_PATH, bytes(1601)),
        lambda: forwarder.open_peer(forwarder.open_stream(), cast(Role, 9)),
    ]
    for call in calls:
        with pytest.raises(ValueError):
            call()


def test_publisher_and_viewer_are_not_mixed_up(forwarder: MemoryForwarder) -> None:
    stream = forwarder.open_stream()
    with pytest.raises(api.ForwarderError):
        forwarder.view(forwarder.open_peer(stream, Role.PUBLISHER), subscription())
    with pytest.raises(api.ForwarderError):
        forwarder.publish(forwarder.open_peer(stream, Role.VIEWER), publication())


# ---- datagrams ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [VIEWER_PATH, Path(("2001:db8::1", 65535), "2001:db8::2"), Path(("127.0.0.1", 1), "127.0.0.1")],
    ids=["v4", "v6", "loopback"],
)
def test_a_datagram_leaves_by_its_worker_and_path(forwarder: MemoryForwarder, path: Path) -> None:
    forwarder.send(1, path, b"\x16hello")
    assert forwarder.take_sent(0) is None
    assert forwarder.take_sent(1) == (path, b"\x16hello")
    assert forwarder.take_sent(1) is None


def test_dtls_from_a_validated_path_is_punted(forwarder: MemoryForwarder) -> None:
    peer = forwarder.open_peer(forwarder.open_stream(), Role.VIEWER)
    hello = bytes([22, 254, 255]) + bytes(60)
    forwarder.inject(0, VIEWER_PATH, hello, 1_000_000_000)
    assert settle(forwarder) == []
    assert forwarder.worker_stats()[0]["drops"]["dtls_unknown_tuple"] == 1

    forwarder.add_path(peer, VIEWER_PATH)
    settle(forwarder)
    forwarder.inject(0, VIEWER_PATH, hello, 1_000_000_000)
    assert settle(forwarder) == [api.Punt("dtls", 0, VIEWER_PATH, peer, hello)]


# ---- libsrtp ------------------------------------------------------------------------------------


def test_sessions_need_whole_keys_and_an_ssrc() -> None:
    profile = SrtpProfile.AES128_CM_HMAC_SHA1_80
    sessions = libsrtp.make_sessions(profile, bytes(30), bytes(30), [5, 5])
    assert sessions.rx
    assert sessions.tx
    with pytest.raises(ValueError, match="30 bytes"):
        libsrtp.make_sessions(profile, bytes(28), bytes(30), [5])
    with pytest.raises(ValueError, match="ssrcs"):
        libsrtp.make_sessions(profile, bytes(30), bytes(30), [])


@pytest.mark.parametrize(
    ("name", "value"), [("__version__", "2.0.0"), ("_binding", None)], ids=["major", "layout"]
)
def test_another_pylibsrtp_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    import sys

    import pylibsrtp

    if name == "_binding":
        monkeypatch.setitem(sys.modules, "pylibsrtp._binding", cast(Any, object()))
    else:
        monkeypatch.setattr(pylibsrtp, name, value)
    with pytest.raises(ImportError):
        libsrtp._load()
