"""Any bytes as an offer or a fragment: an answer, or SdpError; nothing else, and bounded work.

Random bytes, random SDP-like lines, and golden offers that were mutated: lines dropped, doubled,
swapped, stretched; bytes flipped; numbers made huge; NULs and non-UTF-8 put in.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from random import Random
from typing import TypeVar

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rtcfwd.forwarder.api import Kind
from rtcfwd.sdp import Fragment, MediaFormat, SdpError, StreamFormats, parse_fragment, sps_profile
from tests.unit.sdp_tools import OFFERS, publish, stream, strict, view

T = TypeVar("T")
ATTRIBUTES = """rtpmap fmtp rtcp-fb extmap ssrc ssrc-group msid mid group setup candidate
    ice-ufrag ice-pwd fingerprint rid simulcast""".split()  # noqa: SIM905
GOLDEN = {path.name: path.read_bytes() for path in sorted(OFFERS.glob("*.sdp"))}
bounded = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


def outcome(attempt: Callable[[bytes], T], body: bytes) -> T | SdpError:
    """What the call returns, or the one exception that it may raise, looked over."""
    try:
        return attempt(body)
    except SdpError as error:
        caught = error
    assert caught.status in (400, 422)
    assert caught.title
    assert caught.detail.isprintable()
    assert len(caught.detail) < 2000
    return caught


def fragment(body: bytes) -> None:
    """A fragment, or status 400."""
    found = outcome(parse_fragment, body)
    assert isinstance(found, Fragment) or found.status == 400


def negotiate(body: bytes) -> list[bytes]:
    """Both roles' answers, as far as there are any; every answer is well formed."""
    answers: list[bytes] = []
    for attempt in (publish, view, lambda body: view(body, StreamFormats(), {})):
        made = outcome(attempt, body)
        if isinstance(made, SdpError):
            continue
        session, sections = strict(made.sdp)
        assert "ice-lite" in session
        assert any(section.port for section in sections)
        assert b"actpass" not in made.sdp
        answers.append(made.sdp)
    return answers


def mutate(body: bytes, random: Random) -> bytes:
    lines = body.split(b"\n")
    for _ in range(random.choice([1, 1, 1, 2, 3, 6])):
        at = random.randrange(len(lines))
        other = random.randrange(len(lines))
        match random.randrange(12):
            case 0:
                lines[at] = b""
            case 1:
                lines.insert(other, lines[at])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] += b"x" * random.choice([100, 3000, 70000])
            case 4:
                number = random.choice([b"0", b"-1", b"9" * 30, b"4294967296", b"1_0", b"\xd9\xa1"])
                lines[at] = re.sub(rb"[0-9]+", number, lines[at], count=2)
            case 5:
                lines[at] += random.choice(
                    [b"\x00", b"\xff\xfe", b"\xe2\x80\xa8", b"\xc3\xa9", b"\x0b", b"\r"]
                )
            case 6:
                lines[at] = random.randbytes(random.randrange(30))
            case 7:
                lines[at] = lines[at][: random.randrange(len(lines[at]) + 1)]
            case 8:
                lines = lines[at:] or [b""]
            case 9:
                lines = [*lines[: at + 1], *lines]
            case 10 if lines[at]:
                spot = random.randrange(len(lines[at]))
                flipped = lines[at][spot] ^ (1 << random.randrange(8))
                lines[at] = lines[at][:spot] + bytes([flipped]) + lines[at][spot + 1 :]
            case _:
                lines[at] = lines[at].replace(b":", random.choice([b"", b" ", b"::", b"="]), 1)
    return b"\n".join(lines)


@bounded
@given(st.binary(max_size=2000))
@example(b"")
@example(b"v=0\nm=\n")
@example(b"v=0\nm=audio 9 UDP/TLS/RTP/SAVPF 8\n")
def test_random_bytes(body: bytes) -> None:
    negotiate(body)
    fragment(body)


line = st.one_of(
    st.sampled_from(sorted({bytes(x) for body in GOLDEN.values() for x in body.split(b"\n")})),
    st.builds(
        lambda name, value: b"a=" + name.encode() + b":" + value.encode(),
        st.sampled_from(ATTRIBUTES),
        st.text(alphabet=st.characters(blacklist_characters="\n", codec="utf-8"), max_size=60),
    ),
)


@bounded
@given(st.lists(line, max_size=80))
def test_random_lines(lines: list[bytes]) -> None:
    head = b"v=0\nm=audio 9 UDP/TLS/RTP/SAVPF 8 96\na=mid:0\na=rtcp-mux\n"
    body = head + b"\n".join(lines)
    negotiate(body)
    fragment(body)


@settings(bounded, max_examples=600)
@given(st.sampled_from(sorted(GOLDEN)), st.integers(0, 2**32))
def test_mutated_offers(name: str, seed: int) -> None:
    negotiate(mutate(GOLDEN[name], Random(seed)))


@bounded
@given(st.sampled_from(sorted(GOLDEN)), st.integers(0, 2**32))
def test_mutated_offers_as_fragments(name: str, seed: int) -> None:
    fragment(mutate(GOLDEN[name], Random(seed)))


@bounded
@given(st.sampled_from(sorted(GOLDEN)), st.randoms(use_true_random=False))
def test_the_order_of_attributes_does_not_matter(name: str, random: Random) -> None:
    blocks = GOLDEN[name].replace(b"\r", b"").split(b"\nm=")
    shuffled = []
    for block in blocks:
        lines = block.strip().split(b"\n")
        fixed = [x for x in lines if not x.startswith(b"a=")]
        # Extension ids and candidates keep their order: the first of equals counts.
        attributes = [x for x in lines if x.startswith(b"a=")]
        kept = [x for x in attributes if x.startswith((b"a=extmap:", b"a=candidate:", b"a=ssrc"))]
        rest = [x for x in attributes if x not in kept and not x.startswith(b"a=rtcp-fb")]
        kept += [x for x in attributes if x.startswith(b"a=rtcp-fb")]
        random.shuffle(rest)
        shuffled.append(b"\n".join([*fixed, *rest, *kept]))
    assert negotiate(b"\nm=".join(shuffled) + b"\n") == negotiate(GOLDEN[name])


@bounded
@given(st.binary(max_size=64))
def test_any_sps(nal: bytes) -> None:
    formats = stream()
    formats.set_sps(0, nal)
    assert formats.match(Kind.VIDEO, 0, []) is None
    with contextlib.suppress(ValueError):
        assert re.fullmatch("[0-9a-f]{6}", sps_profile(nal))


@bounded
@given(st.lists(st.tuples(st.sampled_from(["H264", "VP9", "AV1", "H265"]),
                          st.text(max_size=12)), max_size=40))  # fmt: skip
def test_an_index_once_given_stays(wanted: list[tuple[str, str]]) -> None:
    formats = StreamFormats()
    given_out: list[tuple[MediaFormat, int]] = []
    for codec, text in wanted:
        fmt = MediaFormat(codec, 90000, 1, {"profile-level-id": text, "profile-id": text,
                                            "profile": text})  # fmt: skip
        try:
            given_out.append((fmt, formats.index(Kind.VIDEO, fmt)))
        except SdpError:
            assert len(formats[Kind.VIDEO]) == 16
    assert all(formats.index(Kind.VIDEO, fmt) == index for fmt, index in given_out)
    assert sorted({index for _, index in given_out}) == list(range(len(formats[Kind.VIDEO])))
