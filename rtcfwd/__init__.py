"""rtcfwd: takes a live WebRTC publication in over WHIP and hands it to viewers over WHEP."""

__version__ = "0.1.0"
