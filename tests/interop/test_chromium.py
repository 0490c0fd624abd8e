"""Chromium publishes through the server's page, other tabs of Chromium watch.

Everything is asserted from getStats of the browser itself: what it decoded, which codec it says it
got, and how long its viewers waited.
"""

from __future__ import annotations

import pytest

from tests.interop.interop_tools import Pages, Server, plays, rate

WORKERS = 2


@pytest.mark.client("Chromium")
@pytest.mark.parametrize(("video", "audio"), [("H264", "PCMA"), ("H264", "PCMU"), ("VP8", "opus")])
def test_publish_and_watch(server: Server, pages: Pages, record, video: str, audio: str) -> None:
    name = f"chromium-{video}-{audio}".lower()
    publisher = pages.publish(name, video=video, audio=audio)
    viewers = [pages.watch(name) for _ in range(2)]
    for viewer in viewers:
        viewer.wait(lambda s: s["video"].get("framesDecoded", 0) >= 40, "40 frames")

    # A third one joins in the middle of the GOP; Chromium makes a key frame only when asked, and
    # the veteran sees that none was made for the newcomer.
    before = viewers[0].samples()[-1]["video"]["keyFramesDecoded"]
    late = pages.watch(name)
    late_ms = late.first_frame_ms()
    after = viewers[0].samples()[-1]["video"]["keyFramesDecoded"]
    shown = [plays(viewer, video=video, audio=audio) for viewer in (*viewers, late)]
    round_trip = late.round_trip()

    stream = server.streams()[name]
    codecs = {track["kind"]: track["codec"].upper() for track in stream["tracks"]}
    assert codecs == {"video": video.upper(), "audio": audio.upper()}
    assert stream["viewers"] == 3
    record(
        viewers=shown,
        late_first_frame_ms=round(late_ms, 1),
        late_round_trip_ms=round(round_trip * 1000, 1),
        key_frames_made_for_it=after - before,
        publisher_kbit_s=[round(bits / 1000) for _, bits in rate(publisher.samples())[-1:]],
    )
    assert after == before
    assert 0 <= round_trip < 1
    publisher.close()


@pytest.mark.client("Chromium")
@pytest.mark.duty("H20")
@pytest.mark.parametrize(("law", "other"), [("PCMA", "PCMU"), ("PCMU", "PCMA")])
def test_a_viewer_of_the_other_law(
    server: Server, pages: Pages, record, law: str, other: str
) -> None:
    """A tab that offers one law alone hears the stream of the other, beside one that has both."""
    name = f"chromium-other-{law}".lower()
    publisher = pages.publish(name, video="H264", audio=law)
    only, both = pages.watch(name, audio=other), pages.watch(name)
    heard = {
        other: plays(only, video="H264", audio=other),
        law: plays(both, video="H264", audio=law),
    }
    record(heard=heard)
    publisher.close()


@pytest.mark.client("Chromium")
def test_bitrate_rises_at_once(server: Server, pages: Pages, record) -> None:
    """Transport-wide feedback: with receiver reports alone Chromium takes 27 s to reach 2.5 Mbit/s
    (ADR 15)."""
    publisher = pages.publish("remb", video="H264", audio="PCMA")
    publisher.wait(
        lambda _: any(bits > 1.5e6 for _, bits in rate(publisher.samples())), "1.5 Mbit/s sent"
    )
    samples = publisher.samples()
    reached = next(t for t, bits in rate(samples) if bits > 1.5e6)
    start = next(s["t"] for s in samples if s["video"].get("packetsSent", 0) > 0)
    allowed = [
        s["t"] - start
        for s in samples
        if s.get("pair", {}).get("availableOutgoingBitrate", 0) > 1.5e6
    ]
    record(
        seconds_to_1500_kbit_s=round(reached, 2),
        seconds_to_allowed_1500_kbit_s=round(allowed[0], 2) if allowed else None,
        kbit_s=[(round(t, 1), round(bits / 1000)) for t, bits in rate(samples)],
    )
    assert allowed
    assert allowed[0] <= 5.0
    publisher.close()
