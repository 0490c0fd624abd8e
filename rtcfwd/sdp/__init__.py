"""SDP of WHIP and WHEP: pure functions, no I/O.

``parse_offer`` reads what a client sent, ``negotiate_publisher`` and ``negotiate_viewer`` answer
it and say to the data plane what was settled, ``parse_fragment`` reads trickle ICE. Whatever is
wrong with a body raises :class:`SdpError`.
"""

from .errors import SdpError
from .formats import CodecPolicy, MediaFormat, StreamFormats
from .fragment import Fragment, FragmentCandidate, parse_fragment, write_fragment
from .h264 import sps_profile
from .model import (
    HeaderExtension,
    LocalTransport,
    MediaSection,
    Offer,
    PayloadType,
    RemoteTransport,
)
from .offer import parse_offer
from .publisher_answer import PublisherAnswer, negotiate_publisher
from .viewer_answer import ViewerAnswer, negotiate_viewer
from .viewer_offer import write_offer
from .write import Ids

__all__ = [
    "CodecPolicy",
    "Fragment",
    "FragmentCandidate",
    "HeaderExtension",
    "Ids",
    "LocalTransport",
    "MediaFormat",
    "MediaSection",
    "Offer",
    "PayloadType",
    "PublisherAnswer",
    "RemoteTransport",
    "SdpError",
    "StreamFormats",
    "ViewerAnswer",
    "negotiate_publisher",
    "negotiate_viewer",
    "parse_fragment",
    "parse_offer",
    "sps_profile",
    "write_fragment",
    "write_offer",
]
