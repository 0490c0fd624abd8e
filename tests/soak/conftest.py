"""The soak run uses the interop tests' server, clips and client processes."""

from tests.interop.conftest import clip, ffmpeg, processes, record, server

__all__ = ["clip", "ffmpeg", "processes", "record", "server"]
