"""Trickle fragments: RFC 9725's figures, what real clients PATCH, and refusals (RFC 8840)."""

from __future__ import annotations

import pytest

from rtcfwd.sdp import SdpError, parse_fragment, write_fragment

from .sdp_tools import LOCAL

HOSTS = [
    "1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1",
    "3471623853 1 udp 2122194687 198.51.100.2 61765 typ host generation 0 ufrag EsAw network-id 2",
    "473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw",
    "2154773085 1 tcp 1518214911 198.51.100.2 9 typ host tcptype active generation 0 ufrag EsAw",
]
CANDIDATES = "".join(f"a=candidate:{value}\r\n" for value in HOSTS)
HEAD = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
TRICKLE = (
    f"{HEAD}a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
    f"{CANDIDATES}a=end-of-candidates\r\n"
)
RESTART = (
    f"a=ice-options:trickle ice2\r\n{HEAD}"
    f"a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n{CANDIDATES}"
)


def found(text: str) -> list[tuple[str, str, int]]:
    candidates = parse_fragment(text.encode()).candidates
    return [(item.mid, item.candidate.host, item.candidate.port) for item in candidates]


def test_the_figure_of_trickle_ice() -> None:
    fragment = parse_fragment(TRICKLE.encode())
    assert (fragment.ufrag, fragment.pwd) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert found(TRICKLE) == [("0", "192.0.2.1", 61764), ("0", "198.51.100.2", 61765)]
    assert fragment.end_of_candidates


def test_the_figure_of_an_ice_restart() -> None:
    fragment = parse_fragment(RESTART.encode())
    assert (fragment.ufrag, fragment.pwd) == ("ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k")
    assert len(fragment.candidates) == 2  # though they carry the old ufrag
    assert not fragment.end_of_candidates


@pytest.mark.parametrize("proto", ["RTP/AVP 0", "UDP/TLS/RTP/SAVPF 0", "UDP/TLS/RTP/SAVPF 111 8"])
@pytest.mark.parametrize("media", ["audio", "video", "application"])
def test_credentials_at_session_level_and_any_pseudo_m_line(proto: str, media: str) -> None:
    text = (
        "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n"
        f"m={media} 9 {proto}\na=mid:video1\na=candidate:{HOSTS[0]}\na=end-of-candidates\n"
    )
    fragment = parse_fragment(text.encode())
    assert fragment.ufrag == "EsAw"
    assert found(text) == [("video1", "192.0.2.1", 61764)]


def test_credentials_alone() -> None:
    fragment = parse_fragment(b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n")
    assert fragment.candidates == ()
    assert not fragment.end_of_candidates


def test_end_of_candidates_alone() -> None:
    fragment = parse_fragment(b"a=end-of-candidates\r\n")
    assert (fragment.ufrag, fragment.pwd, fragment.end_of_candidates) == (None, None, True)


def test_repeated_and_unusable_candidates_are_ignored() -> None:
    text = (
        f"m=audio 9 RTP/AVP 0\na=mid:0\na=candidate:{HOSTS[0]}\na=candidate:{HOSTS[0]}\n"
        "a=candidate:1 1 udp 5 name.local 5000 typ host\n"
        "a=candidate:1 0 udp 5 192.0.2.1 5 typ host\n"
        f"a=candidate:1 1 udp 5 192.0.2.1 5000 typ something\na=candidate:{HOSTS[2]}\n"
        f"m=video 9 RTP/AVP 0\na=mid:1\na=candidate:{HOSTS[0]}\n"
    )
    assert found(text) == [("0", "192.0.2.1", 61764), ("1", "192.0.2.1", 61764)]


def test_a_whole_session_description_is_taken() -> None:
    text = "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n" + TRICKLE
    assert len(parse_fragment(text.encode()).candidates) == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "neither ICE credentials nor candidates"),
        (b"a=group:BUNDLE 0\r\n", "neither ICE credentials nor candidates"),
        (b'{"candidate": ""}', "Line 1"),
        (b"hello", "Line 1"),
        (b"a=ice-ufrag:abc\r\n", "a=ice-ufrag"),
        (b"a=ice-pwd:short\r\n", "a=ice-pwd"),
        (b"a=candidate:\r\n", "a=candidate"),
        (b"a=candidate:1 1 udp many 192.0.2.1 5000 typ host\r\n", "a=candidate"),
        (b"a=candidate:1 1 udp 1 192.0.2.1 5000 type host\r\n", "a=candidate"),
        (b"a=mid:\r\na=end-of-candidates\r\n", "a=mid"),
        (b"a=end-of-candidates\x00\r\n", "control character"),
        (b"a=\xff\r\n", "UTF-8"),
        (b"a=x\r\n" * 20000, "bytes"),
    ],
)
def test_malformed(body: bytes, says: str) -> None:
    with pytest.raises(SdpError) as caught:
        parse_fragment(body)
    assert caught.value.status == 400
    assert says in caught.value.detail


def test_the_restarts_answer_reads_back() -> None:
    body = write_fragment(LOCAL, "video0")
    assert body.startswith(b"a=ice-lite\r\na=ice-options:trickle ice2\r\n")
    assert body.count(b"a=candidate:") == 1
    fragment = parse_fragment(body)
    assert (fragment.ufrag, fragment.pwd) == (LOCAL.ufrag, LOCAL.pwd)
    assert found(body.decode()) == [("video0", "192.0.2.10", 8189)]
    assert fragment.end_of_candidates
    assert write_fragment(LOCAL, "", limit=9).count(b"a=candidate:") == 2
