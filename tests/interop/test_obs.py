"""OBS Studio's WHIP output, replayed from its source (obs.py), with Chromium and a decoding viewer
at the other end."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rtcfwd.client.probe import Probe
from tests.interop.interop_tools import Pages, Server, serving, wait_until
from tests.interop.obs import SIZES, VIDEO_PT, Obs
from tests.interop.scripted import (
    Screen,
    exchange,
    go_live,
    golden,
    in_order,
    payload_types,
    run,
    sections,
)

WORKERS = 1
TOKEN = "obs-token-0000001"
Start = Callable[..., Obs]
Watch = Callable[[str], Screen]
SDP = [("Content-Type", "application/sdp")]


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Server]:
    options = ("--auth-tokens", f"publish:*:{TOKEN}", "--auth-delay", "0")
    with serving(tmp_path / "server.log", workers=1, options=options) as running:
        yield running


@pytest.fixture
def closing() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def obs(closing: contextlib.ExitStack) -> Callable[..., Obs]:
    def make(*settings: Any, **more: Any) -> Obs:
        made = Obs(*settings, **more)
        closing.callback(made.close)
        return made

    return make


@pytest.fixture
def watch(closing: contextlib.ExitStack) -> Callable[[str], Screen]:
    """A connected viewer with a browser's offer."""

    def view(url: str) -> Screen:
        return watch_at(url, closing)

    return view


def watch_at(url: str, closing: contextlib.ExitStack) -> Screen:
    probe = Probe(publish=False)
    closing.callback(probe.close)
    reply = exchange(url, "POST", SDP, golden("chromium156-recvonly-default", probe))
    assert reply.status == 201, reply.body
    probe.answer(reply.text)
    probe.connect()
    audio, video = sorted(sections(reply.text))
    return Screen(probe, payload_types(video, "H264"), payload_types(audio, "opus"))


@pytest.mark.client("OBS Studio")
@pytest.mark.parametrize("profile", ["baseline", "high"])
def test_stream_with_losses(
    server: Server, obs: Start, watch: Watch, record: Any, profile: str
) -> None:
    """42e01f whatever is encoded, no candidates, mid and rid on every video packet, one NAL unit a
    packet or FU-A of 1200 bytes, no answer to PLI; lost packets come again under their own number.
    Every picture arrives, in order, and every Opus packet is one that was sent."""
    output = obs(server.url(f"/whip/obs-{profile}"), profile=profile)
    output.start()
    go_live(output, server, f"obs-{profile}")
    # Video only: OBS offers no NACK for its audio.
    output.sender.lose = lambda packet: packet.pt == VIDEO_PT and packet.seq % 20 == 7
    run([output], lambda: output.sender.video[0].frames > 5, "pictures sent")
    viewer = watch(server.url(f"/whep/obs-{profile}"))
    run([output, viewer], lambda: viewer.frames() >= 80, "80 pictures")
    output.sender.lose = lambda packet: False
    run([output, viewer], lambda: viewer.frames() >= 90, "the last repairs")
    shown = viewer.pictures()
    record(
        pictures=len(shown),
        lost=output.sender.lost,
        repeated=output.sender.repeated,
        key_frames_asked_for=output.sender.asked_for_key,
    )
    assert len(shown) >= 70
    assert in_order(shown)
    assert shown[0][0] == 0  # from the GOP's key frame in the log, though OBS never makes one
    assert {(width, height) for _, width, height in shown} == {SIZES[0]}
    assert output.sender.lost > 0
    assert output.sender.repeated >= output.sender.lost
    assert set(viewer.sounds) <= output.sender.sent
    output.stop()
    server.wait_gone(f"obs-{profile}")


@pytest.mark.client("OBS Studio")
def test_simulcast(server: Server, obs: Start, watch: Watch, record: Any) -> None:
    """Three layers by rid alone (no a=ssrc), 0 the largest: all are received, and a viewer is sent
    one of them whole."""
    output = obs(server.url("/whip/obs-layers"), layers=3)
    output.start()
    assert "a=simulcast:recv 0;1;2\r\n" in output.answer
    go_live(output, server, "obs-layers")

    def layers() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = server.streams()["obs-layers"]["layers"]
        return found

    run(
        [output],
        lambda: len(layers()) == 3 and all(x["active"] and x["width"] for x in layers()),
        "three layers on the air",
    )
    assert [(x["rid"], x["width"], x["height"]) for x in layers()] == [
        (str(i), *size) for i, size in enumerate(SIZES)
    ]
    viewer = watch(server.url("/whep/obs-layers"))
    run([output, viewer], lambda: viewer.frames() >= 60, "60 pictures")
    shown = viewer.pictures()
    record(layers=layers(), pictures=len(shown))
    assert len(shown) >= 50
    assert (shown[-1][1], shown[-1][2]) == SIZES[0]
    output.stop()


@pytest.mark.client("OBS Studio")
def test_token_and_delete_after_close(secured: Server, obs: Start) -> None:
    """The bearer token goes with POST and DELETE; DELETE comes after the DTLS close and gives 200.
    Without the token: 401, which OBS shows as an invalid stream."""
    refused = obs(secured.url("/whip/obs-token"))
    with pytest.raises(AssertionError, match="response code 401"):
        refused.start()
    output = obs(secured.url("/whip/obs-token"), TOKEN)
    output.start()
    run([output], lambda: output.sender.video[0].frames >= 25, "a second sent")
    output.stop()
    again = obs(secured.url("/whip/obs-token"), TOKEN)  # Start Streaming, right away
    again.start()
    run([again], lambda: again.sender.video[0].frames >= 5, "pictures sent")
    again.stop()


@pytest.mark.client("OBS Studio")
def test_reconnects_after_a_drain(tmp_path: Path, obs: Start, watch: Watch, record: Any) -> None:
    """SIGTERM: close_notify, which is what makes libobs try again; its DELETE and its next attempts
    may fail until the new server is up. (libobs' pause of 2 s, then 1.5 times it, is left out.)"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    logs = [tmp_path / f"{i}.log" for i in range(2)]
    first = Server(workers=1, log=logs[0], options=("--port", port, "--drain", "0.5"))
    second = None
    try:
        first.wait_ready()
        output = obs(first.url("/whip/obs"))
        output.start()
        run([output], lambda: output.sender.video[0].frames >= 25, "a second sent")
        first.process.send_signal(signal.SIGTERM)
        run([output], output.disconnected, "close_notify")
        with contextlib.suppress(OSError):  # the server may have gone by now; OBS logs a warning
            output.stop()
        first.process.wait(15)

        attempts = 0

        def reconnected() -> bool:
            nonlocal attempts, second
            attempts += 1
            try:
                output.start()
            except (OSError, AssertionError):
                if attempts == 2:
                    second = Server(
                        workers=1, log=logs[1], options=("--port", port, "--drain", "0")
                    )
                return False
            return True

        wait_until(reconnected, "a session with the new server", 30)
        assert second is not None
        second.port = int(port)
        viewer = watch(second.url("/whep/obs"))
        run([output, viewer], lambda: viewer.frames() >= 30, "pictures")
        assert in_order(viewer.pictures())
        record(attempts=attempts)
        output.stop()
    finally:
        for running in (first, second):
            if running is not None:
                running.stop()
    first.assert_clean_exit()


@pytest.mark.client("OBS Studio")
@pytest.mark.full
def test_chromium_watches_simulcast(server: Server, pages: Pages, obs: Start, record: Any) -> None:
    """High profile announced as 42e01f, three layers: the browser shows the largest one."""
    output = obs(server.url("/whip/obs-chromium"), layers=3)
    output.start()
    go_live(output, server, "obs-chromium")
    tab = pages.watch("obs-chromium")

    def video() -> dict[str, Any]:
        found: dict[str, Any] = tab.page.evaluate("(samples.at(-1) || {}).video || {}")
        return found

    run(
        [output],
        lambda: video().get("framesDecoded", 0) >= 75 and video().get("frameWidth") == SIZES[0][0],
        "75 frames in Chromium",
        30,
    )
    sample = tab.samples()[-1]
    assert sample["video"]["codec"] == "video/H264"
    assert sample["audio"]["codec"] == "audio/opus"
    assert sample["audio"]["packetsReceived"] > 50
    record(
        first_frame_ms=sample["firstFrameMs"],
        frames=sample["video"]["framesDecoded"],
        freezes=sample["video"]["freezeCount"],
        lost=sample["video"]["packetsLost"],
    )
    output.stop()
