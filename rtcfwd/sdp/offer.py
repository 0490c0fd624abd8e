"""Parsing of WHIP and WHEP offers (RFC 8866, RFC 9725 section 4.2).

Given: an untrusted body. Promises: an ``Offer`` or SdpError, within limits (``lines.py``), for
any bytes. Tolerant where clients are known to be loose: names in any case, ice-options with
commas, static payload types without rtpmap, session-level fingerprint and direction, a BUNDLE
group that names a mid without a section, junk fmtp. What cannot be used and need not be
(candidates, extensions, SSRCs) is left out; what the session needs (ICE credentials, a
fingerprint) must be there.

Policy is not here: directions, codecs and the number of sections are judged by the answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import aioice

from rtcfwd.forwarder.api import Kind

from . import lines
from .errors import malformed, refused
from .model import HeaderExtension, MediaSection, Offer, PayloadType, RemoteTransport

_KINDS = {"audio": Kind.AUDIO, "video": Kind.VIDEO}
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_PROTOCOLS = ("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP")  # RFC 8829 5.1.2
_STATIC = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000", "13": "CN/8000"}  # RFC 3551
_MAX_MID = 16  # what the data plane holds, and a one-byte header extension carries


@dataclass(slots=True)
class _Block:
    """The attributes of the session or of one m-section, not yet judged."""

    media: str = ""
    port: int = 0
    proto: str = ""
    formats: tuple[str, ...] = ()
    values: dict[str, list[str]] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        found = self.values.get(name)
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def direction(self, default: str) -> str:
        return next((name for name in _DIRECTIONS if name in self.values), default)


def parse_offer(body: bytes) -> Offer:
    """Parse an offer. Raises SdpError: 400 for malformed text, 422 for transports that are not
    served (no BUNDLE, no rtcp-mux, no usable fingerprint)."""
    session, blocks = _split_blocks(lines.split_lines(body))
    media = tuple(_section(index, block, session) for index, block in enumerate(blocks))
    _check_mids(media)
    bundle = _bundle(session, media)
    live = [section for section in media if section.offered]
    if not live:
        raise refused("Every m-line has port 0; offer at least one audio or video m-line.")
    rtp = [section for section in live if section.kind is not None]
    if rtp and not any(section.rtcp_mux for section in rtp):
        raise refused("RTP and RTCP share one port here; add a=rtcp-mux to every m-line.")
    by_mid = {section.mid: section.index for section in live}
    order = [by_mid[mid] for mid in bundle if mid in by_mid]
    order += [section.index for section in live if section.index not in order]
    return Offer(
        remote=_remote(session, [blocks[index] for index in order]),
        media=media,
        bundle=bundle,
        allow_mixed="extmap-allow-mixed" in session.values,
    )


def _split_blocks(text: list[str]) -> tuple[_Block, list[_Block]]:
    if not text:
        raise malformed("The body is empty; send an SDP offer.")
    if text[0] != "v=0":
        raise malformed("The first line must be v=0.")
    session = _Block()
    current = session
    blocks: list[_Block] = []
    for line in text:
        value = line[2:]
        if line[0] == "m":
            if len(blocks) == lines.MAX_MEDIA:
                raise refused(f"The offer has more than {lines.MAX_MEDIA} m-lines.")
            current = _media_line(value, len(blocks))
            blocks.append(current)
        elif line[0] == "a":
            name, _, rest = value.partition(":")
            current.values.setdefault(name.strip().lower(), []).append(rest.strip())
    if not blocks:
        raise malformed("The offer has no m-lines; add tracks or transceivers before offering.")
    return session, blocks


def _media_line(value: str, index: int) -> _Block:
    words = value.split()
    if len(words) < 4:
        raise malformed(f"m-line {index} must be: m=<media> <port> <proto> <formats>.")
    port = lines.number(words[1].partition("/")[0], 65535)
    if port is None:
        raise malformed(f"The port of m-line {index} must be a number from 0 to 65535.")
    if not lines.is_token(words[0]) or not all(map(lines.is_token, words[2].split("/"))):
        raise malformed(f"The media or protocol of m-line {index} is not a token.")
    if not all(map(lines.is_token, words[3:])):
        raise malformed(f"A format of m-line {index} is not a token.")
    if len(words) - 3 > lines.MAX_PAYLOAD_TYPES:
        raise refused(f"m-line {index} has more than {lines.MAX_PAYLOAD_TYPES} formats.")
    return _Block(media=words[0].lower(), port=port, proto=words[2], formats=tuple(words[3:]))


def _section(index: int, block: _Block, session: _Block) -> MediaSection:
    kind = _KINDS.get(block.media) if block.proto.upper() in _PROTOCOLS else None
    mid = block.first("mid") or ""
    if mid and (not lines.is_token(mid) or len(mid) > _MAX_MID):
        raise malformed(f"The mid of m-line {index} must be a token of 1 to {_MAX_MID} characters.")
    if kind is None:
        return MediaSection(
            index, block.media, None, block.port, block.proto, block.formats, mid, "inactive",
            bundle_only="bundle-only" in block.values,
        )  # fmt: skip
    return MediaSection(
        index=index,
        media=block.media,
        kind=kind,
        port=block.port,
        proto=block.proto,
        formats=block.formats,
        mid=mid,
        direction=block.direction(session.direction("sendrecv")),
        payload_types=_payload_types(index, block),
        extensions=_extensions(session.all("extmap") + block.all("extmap")),
        ssrcs=_ssrcs(block),
        stream_ids=_stream_ids(block),
        bundle_only="bundle-only" in block.values,
        rtcp_mux="rtcp-mux" in block.values or "rtcp-mux-only" in block.values,
        rtcp_rsize="rtcp-rsize" in block.values,
        allow_mixed="extmap-allow-mixed" in block.values,
        rids=_simulcast(block),
    )


def _simulcast(block: _Block) -> tuple[str, ...]:
    """The rids of ``a=simulcast:send`` (RFC 8853 section 5.1): of alternatives the first, a
    leading ``~`` (paused at first) left out; only those that an ``a=rid … send`` line defines
    (RFC 8851)."""
    defined = {words[0] for words in (value.split() for value in block.all("rid"))
               if len(words) > 1 and words[1].lower() == "send"}  # fmt: skip
    words = (block.first("simulcast") or "").split()
    found: dict[str, None] = {}
    for direction, streams in zip(words[::2], words[1::2], strict=False):
        if direction.lower() == "send":
            for alternatives in streams.split(";"):
                names = [name.removeprefix("~") for name in alternatives.split(",")]
                rid = next((name for name in names if name in defined), None)
                if rid is not None and lines.is_token(rid) and len(rid) <= _MAX_MID:
                    found[rid] = None
    return tuple(found) if len(found) > 1 else ()


def _payload_types(index: int, block: _Block) -> tuple[PayloadType, ...]:
    rtpmaps = _by_format(block.all("rtpmap"))
    fmtps = _by_format(block.all("fmtp"))
    feedback = _by_format(block.all("rtcp-fb"))
    found: dict[int, PayloadType] = {}
    for word in block.formats:
        pt = lines.number(word, 127)
        if pt is None:
            raise malformed(f"m-line {index} names payload type {word[:20]!r}; use 0 to 127.")
        # 64 to 95 look like RTCP on a shared port (RFC 5761 section 4): never to be used.
        if pt in found or 64 <= pt <= 95:
            continue
        rtpmap = rtpmaps.get(word, [_STATIC.get(word, "")])[0]
        parts = rtpmap.split("/")
        clock_rate = lines.number(parts[1].strip(), 0x7FFFFFFF) if len(parts) > 1 else None
        channels = lines.number(parts[2].strip(), 255) if len(parts) > 2 else 1
        fmtp = _ascii_parameters(";".join(fmtps.get(word, ())))
        if not lines.is_token(parts[0]) or not clock_rate or not channels or len(parts) > 3:
            continue
        if len(fmtp) > lines.MAX_FMTP:
            raise refused(f"The fmtp of payload type {pt} is over {lines.MAX_FMTP} characters.")
        found[pt] = PayloadType(
            pt=pt,
            name=parts[0].upper(),
            clock_rate=clock_rate,
            channels=channels,
            rtpmap="/".join(part.strip() for part in parts),
            fmtp=fmtp,
            parameters=parameters(fmtp),
            feedback=tuple(
                dict.fromkeys(
                    " ".join(value.lower().split())
                    for value in feedback.get(word, []) + feedback.get("*", [])
                )
            ),
        )
    return tuple(found.values())


def _ascii_parameters(fmtp: str) -> str:
    """Without the parameters that are not ASCII, which no format defines."""
    return fmtp if fmtp.isascii() else ";".join(p for p in fmtp.split(";") if p.isascii())


def _by_format(values: Iterable[str]) -> dict[str, list[str]]:
    """``<format> <rest>`` lines, the rests by format."""
    found: dict[str, list[str]] = {}
    for value in values:
        word, _, rest = value.partition(" ")
        found.setdefault(word, []).append(rest.strip())
    return found


def parameters(fmtp: str) -> dict[str, str]:
    """``a=1; B=2`` as {"a": "1", "b": "2"}; of a repeated name the first counts."""
    found: dict[str, str] = {}
    for part in fmtp.split(";"):
        name, _, value = part.partition("=")
        if name.strip():
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _extensions(values: list[str]) -> tuple[HeaderExtension, ...]:
    found: list[HeaderExtension] = []
    for value in values[: lines.MAX_EXTENSIONS]:
        words = value.split()
        if len(words) < 2:
            continue
        text, _, direction = words[0].partition("/")
        identifier = lines.number(text, 255)
        if not identifier or identifier == 15 or (direction and direction not in _DIRECTIONS):
            continue
        found.append(HeaderExtension(identifier, direction, words[1]))
    return tuple(found)


def _ssrcs(block: _Block) -> tuple[tuple[int, int], ...]:
    primaries: dict[int, int] = {}
    repairs: set[int] = set()
    for value in block.all("ssrc-group")[: lines.MAX_SSRCS]:
        words = value.split()
        members = [lines.number(word, 0xFFFFFFFF) for word in words[1:3]]
        if len(words) == 3 and all(members) and words[0].upper() in ("FID", "FEC-FR"):
            main, repair = int(members[0] or 0), int(members[1] or 0)
            repairs.add(repair)
            if words[0].upper() == "FID":
                primaries.setdefault(main, repair)
    for value in block.all("ssrc"):
        ssrc = lines.number(value.split(" ", 1)[0], 0xFFFFFFFF)
        if ssrc and ssrc not in repairs and len(primaries) < lines.MAX_SSRCS:
            primaries.setdefault(ssrc, 0)
    return tuple((main, repair) for main, repair in primaries.items() if main not in repairs)


def _stream_ids(block: _Block) -> frozenset[str]:
    values = list(block.all("msid"))
    for value in block.all("ssrc"):
        _, _, attribute = value.partition(" ")
        if attribute.startswith("msid:"):
            values.append(attribute[5:])
    found = {words[0] for words in (value.split() for value in values) if words}
    return frozenset(found - {"-"})


def _check_mids(media: tuple[MediaSection, ...]) -> None:
    mids = [section.mid for section in media if section.mid]
    if len(set(mids)) != len(mids):
        raise malformed("Two m-lines have the same mid.")
    if len(media) > 1:
        for section in media:
            if section.offered and not section.mid:
                raise malformed(f"{section.name} has no a=mid line.")


def _bundle(session: _Block, media: tuple[MediaSection, ...]) -> tuple[str, ...]:
    """The group that all sections which are on belong to (RFC 9143); none for a lone section."""
    groups = [words[1:] for words in (value.split() for value in session.all("group"))
              if words and words[0].upper() == "BUNDLE"]  # fmt: skip
    known = {section.mid for section in media if section.mid}
    needed = {section.mid for section in media if section.offered and section.kind is not None}
    for group in groups:
        if needed <= set(group):
            return tuple(dict.fromkeys(mid for mid in group if mid in known))
    if len(needed) > 1:
        raise refused("One transport serves all media; put every m-line into one BUNDLE group.")
    return ()


def _remote(session: _Block, blocks: list[_Block]) -> RemoteTransport:
    """The transport of the BUNDLE tag, the first of ``blocks``; what it lacks is taken from the
    session level and then from the other sections (RFC 9143 section 7.2)."""
    sources = [blocks[0], session, *blocks[1:]]
    ufrag, pwd = _credentials(sources)
    fingerprints: list[tuple[str, str]] = []
    for source in sources:
        read = map(lines.read_fingerprint, source.all("fingerprint")[: lines.MAX_FINGERPRINTS])
        fingerprints = [value for value in read if value is not None]
        if fingerprints:
            break
    if not fingerprints:
        raise refused("The offer has no usable fingerprint; add a=fingerprint:sha-256 <value>.")
    setup = next((v.lower() for v in (s.first("setup") for s in sources) if v), "active")
    if setup not in ("actpass", "active", "passive"):
        raise refused(f"a=setup:{setup[:20]} is not served; offer a=setup:actpass.")
    candidates: dict[tuple[str, int], aioice.Candidate] = {}
    for value in next((s.all("candidate") for s in sources if s.all("candidate")), []):
        candidate = lines.read_candidate(value)
        if candidate is not None and len(candidates) < lines.MAX_CANDIDATES:
            candidates.setdefault((candidate.host, candidate.port), candidate)
    return RemoteTransport(
        ufrag, pwd, tuple(dict.fromkeys(fingerprints)), setup, tuple(candidates.values())
    )


def _credentials(sources: list[_Block]) -> tuple[str, str]:
    for source in sources:
        ufrag, pwd = source.first("ice-ufrag"), source.first("ice-pwd")
        if ufrag is None or pwd is None:
            continue
        if not lines.is_ufrag(ufrag):
            raise malformed("a=ice-ufrag must have 4 to 256 visible characters without a colon.")
        if not lines.is_pwd(pwd):
            raise malformed("a=ice-pwd must have 22 to 256 visible characters without a colon.")
        return ufrag, pwd
    raise malformed("The offer has no ICE credentials; add a=ice-ufrag and a=ice-pwd.")
