/* In every tab of the quality benchmark: what the page itself sees, and when.
 *
 * probe.frames  [ms, number, width, height, RTP timestamp] of each picture of the first video track
 *               that is sent or received, read from the code strip (web/pattern.js) as the decoder or
 *               the source gives it: no compositor in between. number -1: the strip cannot be read.
 * probe.shown   [ms, RTP timestamp] at which each picture was given to the screen: the later one of
 *               requestVideoFrameCallback's two times; only if window.readScreen is set
 * probe.drawn   [ms, number] at which the page's test pattern began to draw each picture, by the
 *               clock of the worker that draws; only if window.readLens is set
 * probe.beeps   [ms] at which sound begins, to the sample: when it is taken for the sound card
 * probe.posts   [ms] of each POST, just before it is sent
 * probe.stats   getStats five times a second, the fields that are used
 * Times are performance.now(). window.linkPort: UDP port that answers are made to name.
 */
(() => {
  const probe = window.probe = {frames: [], shown: [], drawn: [], beeps: [], posts: [], stats: [], error: ''};
  const COLUMNS = 16;
  const STRIP = 9;
  const LOUD = 0.1;
  const QUIET_MS = 300;
  const tracks = new Set();

  const plainFetch = window.fetch;
  window.fetch = (url, options) => {
    if (options && options.method === 'POST') probe.posts.push(performance.now());
    return plainFetch(url, options);
  };

  const setRemote = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    let {type, sdp} = description;
    if (window.linkPort) sdp = sdp.replace(/ \d+ typ host/g, ` ${window.linkPort} typ host`);
    this.addEventListener('track', ({track}) => read(track));
    this.getSenders().forEach(sender => read(sender.track));
    return setRemote.call(this, {type, sdp});
  };

  function read(track) {
    if (!track || tracks.has(track)) return;
    tracks.add(track);
    const each = track.kind === 'video' ? readPicture : readSound;
    const reader = new MediaStreamTrackProcessor({track, maxBufferSize: 60}).readable.getReader();
    (async () => {
      for (;;) {
        const {done, value} = await reader.read();
        if (done) return;
        const now = performance.now();
        try {
          await each(value, now);
        } catch (error) {
          probe.error = String(error);
        }
        value.close();
      }
    })();
  }

  async function readPicture(frame, now) {
    const {width, height} = frame.visibleRect;
    const top = Math.floor(height - height / STRIP) & ~1;
    const rect = {x: 0, y: top, width: width & ~1, height: (height - top) & ~1};
    const bytes = new Uint8Array(frame.allocationSize({rect}));
    const [{offset, stride}] = await frame.copyTo(bytes, {rect});
    const step = /^[IN]/.test(frame.format) ? 1 : 4;  // luma, or the second of four colours: green
    const strip = height / STRIP;
    const number = decode((column, row) => {
      const y = Math.floor(height - strip + (row + 0.5) * strip / 2) - top;
      const x = Math.floor((column + 0.5) * width / COLUMNS);
      return bytes[offset + y * stride + x * step + (step === 4 ? 1 : 0)];
    });
    probe.frames.push([now, number, width, height, frame.metadata?.().rtpTimestamp ?? null]);
  }

  /** The number of a strip whose cells are as bright as `at(column, row)` says, or -1. */
  function decode(at) {
    let word = 0;
    for (let bit = 0; bit < 32; bit++)
      word = word * 2 + (at(bit % COLUMNS, Math.floor(bit / COLUMNS)) > 125 ? 1 : 0);
    const number = Math.floor(word / 256);
    const check = (number ^ number >> 8 ^ number >> 16 ^ 0xA5) & 0xFF;
    return check === word % 256 ? number : -1;
  }

  function watchScreen(element) {
    const shown = (_, {expectedDisplayTime, presentationTime, rtpTimestamp}) => {
      probe.shown.push([Math.max(expectedDisplayTime, presentationTime), rtpTimestamp]);
      element.requestVideoFrameCallback(shown);
    };
    element.requestVideoFrameCallback(shown);
  }

  /* The worker that draws the pattern says when it begins with a picture. */
  if (window.readLens) {
    const PlainWorker = window.Worker;
    window.Worker = class extends PlainWorker {
      constructor(url, options) {
        const code = `
          import {Painter} from '${new URL('pattern.js', url)}';
          import '${url}';
          const {paint} = Painter.prototype;
          Painter.prototype.paint = function (...values) {
            const at = performance.timeOrigin + performance.now();
            const number = paint.apply(this, values);
            postMessage([at, number]);
            return number;
          };`;
        super(URL.createObjectURL(new Blob([code], {type: 'text/javascript'})), options);
        this.addEventListener('message', ({data: [at, number]}) => {
          probe.drawn.push([at - performance.timeOrigin, number]);
        });
      }
    };
  }

  /* This task may come to read late; the sound's own stamps do not. The least difference of the
   * last second tells what they are worth here. */
  const lags = [];
  let heard = -1e9;
  function readSound(sound, now) {
    lags.push(now - sound.timestamp / 1000);
    if (lags.length > 100) lags.shift();
    const begin = sound.timestamp / 1000 + Math.min(...lags);
    const samples = new Float32Array(sound.numberOfFrames);
    sound.copyTo(samples, {planeIndex: 0, format: 'f32-planar'});
    for (let i = 0; i < samples.length; i++) {
      if (Math.abs(samples[i]) < LOUD) continue;
      const at = begin + 1000 * i / sound.sampleRate;
      if (at - heard > QUIET_MS) probe.beeps.push(at);
      heard = at;
    }
  }

  const FIELDS = {
    'inbound-rtp': ['packetsReceived', 'packetsLost', 'retransmittedPacketsReceived', 'nackCount',
      'pliCount', 'firCount', 'framesReceived', 'framesDecoded', 'framesDropped', 'keyFramesDecoded',
      'freezeCount', 'totalFreezesDuration', 'pauseCount', 'jitterBufferDelay', 'jitterBufferTargetDelay', 'jitterBufferMinimumDelay', 'jitterBufferEmittedCount',
      'bytesReceived', 'jitter', 'concealedSamples', 'silentConcealedSamples', 'totalSamplesReceived',
      'concealmentEvents', 'estimatedPlayoutTimestamp', 'frameWidth', 'totalProcessingDelay'],
    'outbound-rtp': ['packetsSent', 'bytesSent', 'retransmittedPacketsSent', 'nackCount', 'pliCount',
      'framesEncoded', 'keyFramesEncoded', 'targetBitrate', 'frameWidth', 'qualityLimitationReason'],
    'media-playout': ['totalPlayoutDelay', 'totalSamplesCount'],
    'candidate-pair': ['availableOutgoingBitrate', 'currentRoundTripTime'],
  };

  async function sample() {
    const hook = window.rtcfwd || {};
    const session = hook.viewer || hook.publisher;
    if (!session || !session.pc) return;
    const kept = {t: performance.now(), state: session.pc.connectionState};
    (await session.pc.getStats()).forEach(s => {
      if (!FIELDS[s.type] || (s.type === 'candidate-pair' && !s.nominated)) return;
      const name = s.type === 'media-playout' ? 'playout' : s.kind || 'pair';
      kept[name] = Object.fromEntries(FIELDS[s.type].filter(f => f in s).map(f => [f, s[f]]));
    });
    probe.stats.push(kept);
  }

  window.addEventListener('DOMContentLoaded', () => {
    setInterval(sample, 200);
    if (window.readScreen) watchScreen(document.getElementById('watch-video'));
  });
})();
