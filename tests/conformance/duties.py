"""The duties of a WHIP and WHEP server, by id: how binding each is, where it is written, and what
it says, in one line.

W endpoint, S session, P what WHEP adds, X its extensions (X0: the port's demultiplexing), M ICE,
C consent, D DTLS-SRTP, R RTP and RTCP, G payloads, T ICE-TCP, H H264 and forwarding.
"""

from __future__ import annotations

from typing import NamedTuple


class Duty(NamedTuple):
    """``level``: MUST, SHOULD, MAY, or "" where experience asks for it and no document."""

    level: str
    where: str
    text: str


LETTERS = {
    "W": "WHIP endpoint",
    "S": "Session",
    "P": "WHEP: what differs",
    "X": "Demultiplexing and WHEP extensions",
    "M": "ICE",
    "C": "Consent",
    "D": "DTLS-SRTP",
    "R": "RTP and RTCP",
    "G": "Payloads",
    "T": "ICE-TCP",
    "H": "H264 and forwarding",
}

_W = """
W1 | MUST | RFC 9725 4.2 | POST of an offer: 201, application/sdp, the answer, Location
W2 | MUST | RFC 9725 4.3.1 | the 201 carries a strong ETag, another for each ICE session
W3 | MUST | RFC 9725 4.2 | POST of another media type: 415; parameters and case do not matter
W4 | MUST | RFC 9725 4.2 | POST of malformed, empty or m-line-less SDP: 400
W5 | MUST | RFC 9725 4.2 | sendonly and sendrecv are answered recvonly
W6 |  | RFC 9725 4.2 | recvonly and inactive offers are refused
W7 | MUST | RFC 9725 4.1 | GET of endpoint and session: 2xx without content
W8 | MUST | RFC 9725 4.2 | OPTIONS: CORS, and Accept-Post
W9 | SHOULD NOT | RFC 9725 4.6 | a preflight's reply carries no ice-server Link
W10 | MAY | RFC 9725 4.6 | OPTIONS that is no preflight may carry ice-server Links
W11 | MAY | RFC 9725 4.6 | the 201 lists STUN and TURN servers, one Link line each
W12 | MUST | RFC 9725 4.4.2 | more tracks or streams than supported: 422 or 400
W13 | SHOULD NOT | RFC 9725 4.4.3 | no rejected m-section: the whole POST is refused
W14 | SHOULD | RFC 9725 4.4.4 | a=setup: actpass and active work, passive is answered active
W15 | MUST | RFC 9725 4.4.1 | one BUNDLE group over all accepted m-sections, rtcp-mux
W16 | MUST | RFC 9725 4.4.1 | rtcp-mux-only in every bundled m-section
W17 | SHALL | RFC 9725 4.3.2 | the answer has all candidates; the server never trickles
W18 | SHOULD | RFC 9725 4.4.5 | ice-lite, if used, stands before the first m-line
W19 | MUST NOT | RFC 9725 4.5 | redirects are 307 with Location, never 301 or 302
W20 | MAY | RFC 9725 4.5 | overload: 503 with Retry-After
W21 | MUST | RFC 9725 4.7 | bearer tokens; 401 with WWW-Authenticate; preflights pass
W22 | MAY | RFC 9725 4.7.1 | a token in the URL for clients that cannot set headers
W23 | MUST | RFC 9725 4.8 | simulcast, where accepted, is answered by RFC 8853
W24 | MUST | RFC 9725 4.9 | one Link for each protocol extension in the 201
W25 | SHOULD | RFC 9725 5 | floods of requests are limited: 429 or 503
W26 | SHOULD | RFC 9725 5 | session URLs cannot be guessed
W27 | SHALL | RFC 9725 5 | HTTPS
W28 | MAY | RFC 9457 | errors are application/problem+json that say what to change
W29 | MUST | RFC 9110 15.5.6 | other methods: 405 with Allow
1E | MUST | Fetch | the CORS headers that browser clients need, on every reply
"""

_S = """
S1 | SHALL | RFC 9725 4.2 | DELETE: 200, ICE and DTLS are torn down
S2 | MUST | RFC 9725 4.3.1 | DELETE ignores If-Match
S3 | MUST | RFC 7675 5.2 | the server's own end of a session is a DTLS close
S4 | MUST | RFC 9725 4.3.1 | PATCH of another media type: 415 with Accept-Patch
S5 | MUST | RFC 9725 4.3.1 | PATCH of a malformed fragment: 400
S6 | MUST | RFC 9725 4.3.1 | the one of trickle and restart that is unsupported: 422
S7 | MUST | RFC 9725 4.3.1 | trickle without If-Match: 428
S8 | MUST | RFC 9110 13.1.1 | a stale If-Match: 412
S9 | MUST | RFC 9725 4.3.2 | trickle: 204, no content, no ETag
S10 | MUST | RFC 9725 4.3.2 | candidates that cannot be used are left out silently
S11 | MUST | RFC 9725 4.3.3 | ICE restart: 200, a fragment with new credentials, a new ETag
S12 | MUST | RFC 9725 4.3.3 | after a restart the old tag is stale and media goes on meanwhile
S13 | MUST NOT | RFC 9725 4.3.3 | a restart that fails leaves the session as it was
S14 |  | RFC 9725 4.3.3 | changed credentials make a restart, not If-Match: *
S15 | MUST | RFC 8840 4.4 | the fragment's grammar: levels, pseudo m-lines, repetitions
S16 |  | RFC 9110 | PATCH and DELETE of an unknown session: 404
S17 | MUST | RFC 9110 15.5.6 | PUT and POST of a session: 405 with Allow
S18 |  | RFC 9725 4.5 | PATCH and DELETE are not redirected
S19 |  | RFC 9725 figures | the RFC's own figures: same ufrag, another password
S20 |  | RFC 9110 13.1.1 | If-Match as *, "*", an unquoted tag, a list
"""

_P = """
P1 | MUST | WHEP 4.3 | recvonly and sendrecv are answered sendonly; other offers refused
P2 | MUST | WHEP 4.6.2 | one MediaStream: the same msid in every m-section, not "-"
P3 | SHALL | WHEP 4.3.8 | nothing published: 409 with Retry-After
P4 | MAY | WHEP 4.3.2 | a counter-offer: 406 with an SDP offer and Location
P5 | MUST | WHEP 4.3.2 | the answer to a counter-offer by PATCH: 204
P6 | SHOULD | WHEP 4.2 | HEAD of the endpoint: 200, application/sdp, no content
P7 | MUST | WHEP 4.1 | GET: 2xx without content; HEAD shows GET's headers
P8 | MUST | WHEP 4.5 | PATCH as for WHIP
P9 | MUST | WHEP 4.10 | extensions are named by Link, below urn:ietf:params:whep:ext
P10 | SHALL | WHEP 4.4 | DELETE: 200; If-Match ignored
P11 |  | WHEP 3 | a server may answer every offer by 201 or 4xx
"""

_X = """
X0 | MUST | RFC 7983 7 | STUN, DTLS, RTP and RTCP on one port, by their first bytes
X1 | MUST | WHEP ext. | the 201 links the server-sent events
X2 | MUST | WHEP ext. | POST of event names: 201 with the stream's Location
X3 | MUST | WHEP ext. | an unknown event name: 400, no stream
X4 | MUST | WHEP ext. | GET: text/event-stream, one data line of JSON an event
X5 | MUST | WHEP ext. | active, inactive, viewercount, layers, reconnect
X6 | MUST | WHEP ext. | DELETE ends the stream of events, later GETs give 404
X7 | MUST | WHEP ext. | the 201 links the layer selection, events with it
X8 | MUST | WHEP ext. | POST of a layer's rid or encodingId
X9 | MUST | WHEP ext. | the payload of layers
X10 |  | WHEP ext. | the stream's URL is a capability: EventSource sends no header
"""

_M = """
M1 | MUST | RFC 8445 6.1.1 | a lite agent is controlled; ice-lite stands at session level
M2 | MUST | RFC 8445 5.2 | host candidates only, one an address, component 1, unique
M3 | MUST | RFC 8445 7.3 | checks are answered on every candidate, before remote ones are known
M4 | MUST | RFC 8445 7.3.2 | USE-CANDIDATE selects; a later nomination replaces it
M5 | MUST NOT | RFC 8445 12 | no data before a valid pair; DTLS may come before a nomination
M6 |  | | checks without PRIORITY and ICE-CONTROLLING are taken (FFmpeg 8.0)
M7 | MUST | RFC 8445 11 | keepalives: media counts, and idle pairs stay open
M8 | MUST | RFC 8445 9 | after a restart data stays on the old pair until checks succeed
M9 |  | RFC 8445 7.3.1.1 | a peer that says it is controlled: 487, or nothing
M10 |  | | unsigned checks create nothing; DTLS and SRTP may precede the nomination
"""

_C = """
C1 |  | RFC 7675 5.1 | a lite server need not check consent itself
C2 |  | RFC 7675 5.1 | any authenticated packet keeps a session, not STUN alone
C3 | MUST | RFC 7675 5.1 | Binding requests are answered as long as the session lives
C4 | MUST | RFC 7675 5.2 | an RTCP BYE ends no consent, a DTLS close does
"""

_D = """
D1 | MUST | RFC 8827 6.5 | DTLS 1.2, ECDHE-ECDSA-AES128-GCM-SHA256, P-256
D2 | MUST | RFC 8827 6.5 | SRTP_AES128_CM_HMAC_SHA1_80
D3 |  | RFC 8834 | no MKI
D4 | MUST | RFC 8122 5.1 | a certificate that no fingerprint matches: no association
D5 | MUST | RFC 8842 5.3 | setup is active or passive; where active, the server sends ClientHello
D6 | MUST NOT | RFC 8842 5.3 | no tls-id in the answer to an offer without
D7 | MUST | RFC 8827 6.5 | no renegotiation
D8 | MUST | RFC 5764 4.2 | keys by EXTRACTOR-dtls_srtp, in the RFC's order
D9 | MUST | RFC 6347 4.2.4 | lost, doubled, late and damaged flights, in both roles
"""

_R = """
R1 | MUST | RFC 8834 4.5 | RTP and RTCP on one transport
R2 | MUST | RFC 5506 | compound RTCP always, reduced size only where negotiated
R3 | MUST | RFC 3550 6 | SR and SDES with one CNAME to viewers, RR to the publisher
R4 | MUST | RFC 8834 5.1 | NACK, PLI and FIR of viewers are understood
R5 | MUST | RFC 4588 | retransmission on an SSRC of its own
R6 | MUST | RFC 9143 9.2 | routing by MID, SSRC, then payload type
R7 | MUST | RFC 8834 5.1.6 | TMMBR
R8 | MUST | RFC 8834 7 | congestion or a circuit breaker
R9 | MUST NOT | RFC 8285 | header extensions only where negotiated, never the publisher's TWCC
R10 |  | transport-cc 3 | a publisher's transport-wide numbers, where answered, get feedback
"""

_G = """
G1 | MUST | RFC 3551 | G.711 by its static types, with and without rtpmap
G2 | MUST | RFC 7587 | Opus is opus/48000/2; its parameters are the receiver's
G3 |  | RFC 3264 | CN, telephone-event and red are not in the answer
"""

_T = """
T1 | MUST | RFC 6544 4.5 | the server's TCP candidate is passive; active ones are ignored
T2 | MUST | RFC 4571 2 | two bytes of length before each packet, however TCP cuts them
T3 | MUST | RFC 8842 5 | a=setup says nothing of the direction of TCP
T4 | MUST | RFC 7675 | consent over TCP too
T5 |  | | TCP candidates stand after those of UDP
"""

_H = """
H1 | MUST | RFC 6184 8.2.2 | profile and packetization-mode are kept, the level may be lower
H2 | MUST | RFC 6184 8.1 | profiles are compared by their bit patterns
H3 |  | | a profile-level-id that cannot be read is passed over (FFmpeg 8.0)
H4 |  | | the SPS is believed, not the publisher's SDP
H5 |  | | before any SPS the publisher's word counts; an SPS that says other is followed
H6 | MUST NOT | RFC 6184 6.2 | aggregates and fragments never go to a mode-0 payload type
H7 |  | | a viewer starts at the first packet of a key frame's access unit
H8 |  | | parameter sets that were sent once stand before every key frame
H9 |  | | a late joiner does not wait for the next key frame
H10 |  | | nothing is decided by the NRI of an aggregate
H11 |  | | timestamps that go backwards (B-frames) pass
H12 |  | | after a new publisher SSRC, type and MID stay, numbers go on
H13 | MUST | RFC 3550 6.4 | sender reports pair NTP with the viewer's own RTP time
H14 | MUST | RFC 4588 | RTX to viewers: SSRC, type by apt, original number first
H15 |  | | RTX and plain repetitions from publishers
H16 | MUST | RFC 8285 | header extensions: other ids on each leg
H17 | MUST | RFC 9143 9.2 | ingest by MID, then SSRC, then a unique payload type
H18 |  | | padding-only packets get no number of the viewer's
H19 |  | | one video and one audio format in a WHIP answer
H20 |  | RFC 3551 | G.711 keeps its static types on both legs
"""


def _read() -> dict[str, Duty]:
    duties = {}
    for line in (_W + _S + _P + _X + _M + _C + _D + _R + _G + _T + _H).splitlines():
        if line:
            id, level, where, text = (part.strip() for part in line.split("|", 3))
            duties[id] = Duty(level, where, text)
    return duties


DUTIES = _read()
"""In the order of the tables above."""
