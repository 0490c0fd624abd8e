"""What is wrong with a published stream, in words, from the figures of its tracks.

Given: ``stream_stats`` of the data plane. Promises: a list of typed warnings; an empty one for a
stream that every browser can show. Pure; nothing is remembered here (the data plane's counters
begin anew with each publication).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MANY_B_FRAMES = 3  # one packet may be read wrongly, three are not


@dataclass(frozen=True, slots=True)
class StreamWarning:
    """``type``: a fixed word for programs; ``text``: for people, with what to change."""

    type: str
    text: str


def warnings_of(stats: Mapping[str, Any]) -> list[StreamWarning]:
    """The warnings that a stream's figures give rise to, the worst first."""
    found: list[StreamWarning] = []
    tracks = stats.get("tracks")
    video = tracks.get("video", {}) if isinstance(tracks, Mapping) else {}
    if video.get("parameters_missing", 0):
        found.append(
            StreamWarning(
                "parameter_sets_missing",
                f"{video['parameters_missing']} H264 key frames came without SPS and PPS, and none "
                "were known: nobody can decode them. Let the encoder repeat its headers "
                "(x264: repeat-headers=1), or offer sprop-parameter-sets.",
            )
        )
    if video.get("b_frames", 0) >= _MANY_B_FRAMES:
        found.append(
            StreamWarning(
                "b_frames",
                "The video has B-frames, which browsers show in the wrong order (it jerks). Switch "
                "them off in the encoder (x264: bframes=0, tune=zerolatency).",
            )
        )
    return found
