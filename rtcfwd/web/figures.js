/* Live figures of one peer connection from getStats.
 *
 * Meter.read() returns a plain object; rates are over the time since the read before:
 *   width, height, fps, bitrate (bit/s, all media), lost (packets), lossShare (0..1, since the last
 *   read), rttMs, delayMs (viewer: mean time in the jitter buffer + RTT / 2), bufferMs (the former
 *   alone), lensMs (lens.js), videoCodec, audioCodec, frames, freezes, freezeSeconds, dropped,
 *   limitedBy (publisher), firstFrameMs.
 * What is not known is null.
 */

const LENS = 'From the picture\'s taking to its showing, by the clocks of the publisher and of this machine';
const NO_LENS = 'The publisher or this browser does not tell when pictures were taken, or a clock is wrong';

export class Meter {
  constructor(pc, session) {
    this.pc = pc;
    this.session = session;
    this.last = null;
    this.result = null;
  }

  async read() {
    const report = await this.pc.getStats();
    const now = performance.now();
    const found = collect(report);
    const viewing = found.video?.type === 'inbound-rtp' || found.audio?.type === 'inbound-rtp';
    const sum = totals(found, viewing);
    const last = this.last || sum;
    const seconds = this.last ? (now - this.lastAt) / 1000 : 0;
    // Two readers within one frame's time (the page and a test) share the result.
    if (this.result && seconds < 0.2) return this.result;
    this.last = sum;
    this.lastAt = now;

    const v = found.video || {};
    const rtt = found.pair?.currentRoundTripTime ?? found.remote?.roundTripTime ?? null;
    const rttMs = rtt === null ? null : rtt * 1000;
    const emitted = sum.emitted - last.emitted;
    const buffered = emitted > 0 ? (sum.buffered - last.buffered) / emitted * 1000 : null;
    const packets = sum.packets - last.packets;
    const lost = sum.lost - last.lost;
    this.result = {
      width: v.frameWidth ?? null,
      height: v.frameHeight ?? null,
      fps: seconds ? (sum.frames - last.frames) / seconds : v.framesPerSecond ?? null,
      bitrate: seconds ? Math.max(0, 8 * (sum.bytes - last.bytes) / seconds) : null,
      lost: sum.lost,
      lossShare: packets + lost > 0 ? Math.max(0, lost) / (packets + Math.max(0, lost)) : 0,
      rttMs,
      delayMs: viewing && buffered !== null ? buffered + (rttMs ?? 0) / 2 : null,
      bufferMs: viewing ? buffered : null,
      lensMs: this.session.lens?.ms() ?? null,
      videoCodec: found.videoCodec,
      audioCodec: found.audioCodec,
      frames: sum.frames,
      freezes: v.freezeCount ?? null,
      freezeSeconds: v.totalFreezesDuration ?? null,
      dropped: v.framesDropped ?? null,
      limitedBy: v.qualityLimitationReason ?? null,
      firstFrameMs: this.session.firstFrameMs,
    };
    return this.result;
  }
}

/** The statistics objects that matter, by role. */
function collect(report) {
  const found = {video: null, audio: null, pair: null, remote: null, remotes: [], videoCodec: null, audioCodec: null};
  for (const s of report.values()) {
    if (s.type === 'inbound-rtp' || s.type === 'outbound-rtp') found[s.kind] = s;
    if (s.type === 'candidate-pair' && s.nominated && s.state === 'succeeded') found.pair = s;
    if (s.type === 'remote-inbound-rtp') {
      found.remotes.push(s);
      if (s.kind === 'video' || !found.remote) found.remote = s;
    }
  }
  for (const kind of ['video', 'audio']) {
    const codec = found[kind]?.codecId && report.get(found[kind].codecId);
    if (codec) found[`${kind}Codec`] = codec.mimeType.split('/')[1];
  }
  return found;
}

function totals(found, viewing) {
  const both = [found.video, found.audio].filter(Boolean);
  const add = (list, field) => list.reduce((sum, s) => sum + (s[field] || 0), 0);
  return {
    bytes: add(both, viewing ? 'bytesReceived' : 'bytesSent'),
    packets: add(both, viewing ? 'packetsReceived' : 'packetsSent'),
    lost: add(viewing ? both : found.remotes, 'packetsLost'),
    frames: found.video?.[viewing ? 'framesDecoded' : 'framesEncoded'] || 0,
    emitted: found.video?.jitterBufferEmittedCount || 0,
    buffered: found.video?.jitterBufferDelay || 0,
  };
}

/** [label, text, explanation?] for the page. `server`: `delay_ms` of the stream, where it is known. */
export function describe(f, viewing, server = null) {
  const or = (value, text) => (value === null || value === undefined ? '–' : text(value));
  const codecs = [f.videoCodec, f.audioCodec].filter(Boolean).join(' · ') || '–';
  const rows = [
    ['Picture', f.width ? `${f.width} × ${f.height}` : '–'],
    ['Frames', or(f.fps, v => `${v.toFixed(0)} fps`)],
    ['Bitrate', or(f.bitrate, bits)],
    ['Codecs', codecs],
    ['Loss', `${(100 * f.lossShare).toFixed(1)} % · ${f.lost}`],
  ];
  if (viewing) {
    rows.push(
      ['Freezes', or(f.freezes, v => (v ? `${v} · ${f.freezeSeconds.toFixed(1)} s` : '0'))],
      ['Dropped', or(f.dropped, v => `${v} of ${v + f.frames}`), 'Pictures that came and were not shown'],
      ['First picture', or(f.firstFrameMs, v => `${v.toFixed(0)} ms`)],
      ['Lens to screen', f.lensMs === null ? 'not known' : `${f.lensMs.toFixed(0)} ms`, f.lensMs === null ? NO_LENS : LENS],
      ['In the server', or(server?.p50, v => `${v.toFixed(1)} ms · ${server.p99.toFixed(1)}`), 'From its network card to its network card: half of all packets, 99 of 100'],
      ['Buffer', or(f.bufferMs, v => `${v.toFixed(0)} ms`), 'How long this browser holds pictures back against jitter'],
      ['Round trip', or(f.rttMs, v => `${v.toFixed(v < 10 ? 1 : 0)} ms`)],
    );
  } else {
    rows.push(
      ['Round trip', or(f.rttMs, v => `${v.toFixed(v < 10 ? 1 : 0)} ms`)],
      ['Started in', or(f.firstFrameMs, v => `${v.toFixed(0)} ms`)],
      ['Held back by', f.limitedBy && f.limitedBy !== 'none' ? f.limitedBy : 'nothing'],
    );
  }
  return rows;
}

function bits(value) {
  return value >= 1e6 ? `${(value / 1e6).toFixed(2)} Mbit/s` : `${(value / 1000).toFixed(0)} kbit/s`;
}
