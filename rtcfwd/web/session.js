/* One WHIP publication or WHEP viewing (RFC 9725, draft-ietf-wish-whep): offer without trickle,
 * DELETE at the end, and a new attempt with growing pauses when the connection is lost.
 *
 * States: idle, connecting, live, waiting (409: nobody publishes; asks again after Retry-After),
 * reconnecting, ended (stopped by us), failed (needs the user). A 'state' event tells each change;
 * `message` is what to tell the user, '' where nothing is wrong.
 *
 * Sessions are part of the page's test hook, see app.js.
 */

import {access, iceServers, withToken} from './access.js';
import {Meter} from './figures.js';
import {askForCaptureTime, Lens} from './lens.js';

const GATHER_MS = 500;
const DISCONNECTED_MS = 5000;
const CONNECT_MS = 10000;  // a browser without a candidate of its own never says that it failed
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const TAKEOVER_TRIES = 8;

/** A refusal that trying again does not change. `status`: of the reply, if there was one. */
class Refused extends Error {
  constructor(text, status = 0) {
    super(text);
    this.status = status;
  }
}

/** A refusal that may pass; `delay` in milliseconds or null. */
class NotNow extends Error {
  constructor(text, delay, status) {
    super(text);
    this.delay = delay;
    this.status = status;
  }
}

export class Session extends EventTarget {
  constructor(url) {
    super();
    this.url = url;
    this.pc = null;
    this.state = 'idle';
    this.message = '';
    this.firstFrameMs = null;
    this.location = null;
    this.meter = null;
    this.tries = 0;
    this.wasLive = false;
    this.wantsToken = false;  // it failed because of the token
    this.askServers = access.relay;  // STUN and TURN: only where it does not go without
    this.onPageHide = () => this.sendDelete(true);
  }

  start() {
    window.addEventListener('pagehide', this.onPageHide);
    this.attempt();
  }

  /** End it: DELETE, then close. */
  stop() {
    this.finish('ended', '');
  }

  /** Live figures for people and tests; see figures.js. */
  async figures() {
    return this.meter ? this.meter.read() : null;
  }

  // For the two kinds: `prepare(pc)` adds what is sent or received.

  setState(state, message = '') {
    this.state = state;
    this.message = message;
    this.dispatchEvent(new Event('state'));
  }

  finish(state, message) {
    window.removeEventListener('pagehide', this.onPageHide);
    clearTimeout(this.timer);
    this.sendDelete(false);
    this.dropConnection();
    this.setState(state, message);
  }

  dropConnection() {
    clearTimeout(this.lossTimer);
    clearTimeout(this.connectTimer);
    if (!this.pc) return;
    this.pc.onconnectionstatechange = null;
    this.pc.ontrack = null;
    this.pc.close();
  }

  sendDelete(keepalive) {
    if (!this.location) return;
    fetch(this.location, {method: 'DELETE', keepalive, headers: withToken()}).catch(() => {});
    this.location = null;
  }

  get over() {
    return this.state === 'ended' || this.state === 'failed';
  }

  async attempt() {
    this.dropConnection();
    this.firstFrameMs = null;
    this.askedAt = performance.now();
    if (this.state !== 'waiting') this.setState(this.wasLive ? 'reconnecting' : 'connecting', this.message);
    const configuration = {bundlePolicy: 'max-bundle', iceTransportPolicy: access.relay ? 'relay' : 'all'};
    if (this.askServers) configuration.iceServers = await iceServers(this.url).catch(() => []);
    if (this.over) return;
    const pc = this.pc = new RTCPeerConnection(configuration);
    this.meter = new Meter(pc, this);
    pc.onconnectionstatechange = () => this.connectionChanged(pc);
    try {
      await this.prepare(pc);
      await this.describe(pc);
      await gathered(pc);
      const answer = await this.post(pc.localDescription.sdp);
      if (this.over || this.pc !== pc) return this.sendDelete(false);
      await pc.setRemoteDescription({type: 'answer', sdp: answer});
      this.watchTransport(pc);
      this.connectTimer = setTimeout(() => this.lost(), CONNECT_MS);
      await this.negotiated(pc);
    } catch (error) {
      if (this.pc === pc && !this.over) this.failedAttempt(error);
    }
  }

  /** The server ends a session by DTLS close_notify, which connectionState does not show at once. */
  watchTransport(pc) {
    const transport = pc.getTransceivers()[0]?.receiver.transport;
    transport?.addEventListener('statechange', () => {
      if (pc === this.pc && !this.over && transport.state === 'closed') this.lost();
    });
  }

  async describe(pc) {
    await pc.setLocalDescription();
  }

  async negotiated() {}

  async post(sdp) {
    const request = {method: 'POST', headers: withToken({'Content-Type': 'application/sdp'}), body: sdp};
    let reply;
    try {
      reply = await fetch(this.url, request);
      // A redirect to another origin loses the token on its way.
      if (reply.status === 401 && reply.redirected && access.token) reply = await fetch(reply.url, request);
    } catch {
      throw new NotNow('The server does not answer.', null, 0);
    }
    const body = await reply.text();
    if (reply.status === 201) {
      const location = reply.headers.get('Location');
      if (location) this.location = new URL(location, reply.url || this.url).href;
      return body;
    }
    const detail = problemDetail(reply, body);
    const seconds = parseInt(reply.headers.get('Retry-After'), 10);
    const delay = seconds > 0 ? Math.min(seconds, 60) * 1000 : null;
    if (reply.status === 409) throw new NotNow(this.conflict(detail), delay ?? 2000, 409);
    if (reply.status === 429 || reply.status >= 500)
      throw new NotNow(`The server is busy or in trouble (${reply.status}). ${detail}`, delay, reply.status);
    throw new Refused(`The server refused (${reply.status}). ${detail}`, reply.status);
  }

  failedAttempt(error) {
    if (!(error instanceof NotNow)) {
      this.wantsToken = error.status === 401 || error.status === 403;
      this.finish('failed', error instanceof Refused ? error.message : `${error.name}: ${error.message}`);
      return;
    }
    if (error.status === 409 && !this.mayWait()) {
      this.finish('failed', error.message);
      return;
    }
    const pause = error.delay ?? BACKOFF_MS[Math.min(this.tries, BACKOFF_MS.length - 1)];
    this.tries += 1;
    const state = error.status === 409 ? this.conflictState : 'reconnecting';
    this.dropConnection();
    this.setState(state, error.message);
    this.again(pause);
  }

  again(pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.attempt(), pause);
  }

  connectionChanged(pc) {
    if (pc !== this.pc || this.over) return;
    clearTimeout(this.lossTimer);
    const state = pc.connectionState;
    if (state === 'connected') {
      clearTimeout(this.connectTimer);
      this.tries = 0;
      this.wasLive = true;
      this.setState('live');
    } else if (state === 'disconnected') {
      this.setState('reconnecting', 'The connection is interrupted.');
      this.lossTimer = setTimeout(() => this.lost(), DISCONNECTED_MS);
    } else if (state === 'failed' || state === 'closed') {
      this.lost();
    }
  }

  lost() {
    this.sendDelete(false);
    this.dropConnection();
    if (this.tries > 0 || !this.wasLive) this.askServers = true;
    this.setState('reconnecting', this.wasLive ? 'The connection was lost.' : 'No media connection came about; is the server\'s UDP port reachable?');
    this.again(BACKOFF_MS[Math.min(this.tries++, BACKOFF_MS.length - 1)]);
  }
}

/** Sends `stream`. `video` and `audio` are codec names ('H264', 'PCMA', …), `bitrate` in bit/s. */
export class Publisher extends Session {
  constructor(url, {stream, video, audio, bitrate, keepResolution}) {
    super(url);
    Object.assign(this, {stream, video, audio, bitrate, keepResolution});
    this.conflictState = 'reconnecting';
  }

  conflict(detail) {
    return `Somebody else is publishing under this name. Choose another one, or wait until they stop. ${detail}`;
  }

  // After a lost connection the name may still be held by our own former session for some seconds.
  mayWait() {
    return this.wasLive && this.tries < TAKEOVER_TRIES;
  }

  async prepare(pc) {
    for (const track of this.stream.getTracks()) {
      const transceiver = pc.addTransceiver(track, {direction: 'sendonly', streams: [this.stream]});
      preferCodec(transceiver, track.kind, this[track.kind]);
      askForCaptureTime(transceiver);
    }
  }

  async negotiated(pc) {
    const sender = pc.getSenders().find(s => s.track && s.track.kind === 'video');
    if (!sender) return;
    const parameters = sender.getParameters();
    if (!parameters.encodings || !parameters.encodings.length) return;
    if (this.bitrate) parameters.encodings[0].maxBitrate = this.bitrate;
    if (this.keepResolution) parameters.degradationPreference = 'maintain-resolution';
    await sender.setParameters(parameters).catch(() => {});
  }
}

/** Receives into a video element. */
export class Viewer extends Session {
  constructor(url, element) {
    super(url);
    this.element = element;
    this.conflictState = 'waiting';
  }

  conflict() {
    return 'Nobody is publishing this stream now. It starts by itself when somebody does.';
  }

  mayWait() {
    return true;
  }

  async prepare(pc) {
    for (const kind of ['video', 'audio']) askForCaptureTime(pc.addTransceiver(kind, {direction: 'recvonly'}));
    this.lens = new Lens(pc, this.element);
    const stream = new MediaStream();
    pc.ontrack = ({track}) => {
      stream.addTrack(track);
      if (this.element.srcObject !== stream) {
        this.element.srcObject = stream;
        this.watchFirstFrame(pc);
      }
      this.element.play().catch(() => {});
    };
  }

  async describe(pc) {
    const {type, sdp} = await pc.createOffer();
    await pc.setLocalDescription({type, sdp: withRoundTrip(sdp)}).catch(() => pc.setLocalDescription());
  }

  watchFirstFrame(pc) {
    const seen = () => this.sawFrame(pc);
    if (this.element.requestVideoFrameCallback) this.element.requestVideoFrameCallback(seen);
    this.element.addEventListener('loadeddata', seen, {once: true});
  }

  sawFrame(pc) {
    if (pc !== this.pc || this.firstFrameMs !== null || !this.element.videoWidth) return;
    this.firstFrameMs = performance.now() - this.askedAt;
    this.dispatchEvent(new Event('frame'));
  }
}

/** Offer one codec only (with its repair format), the most widely decodable H264 profile first. */
function preferCodec(transceiver, kind, name) {
  if (!name || !transceiver.setCodecPreferences) return;
  const all = RTCRtpSender.getCapabilities(kind).codecs;
  const wanted = `${kind}/${name}`.toLowerCase();
  const chosen = all.filter(codec => codec.mimeType.toLowerCase() === wanted);
  if (!chosen.length) throw new Refused(`This browser cannot send ${name}. Choose another codec.`);
  const rank = ({sdpFmtpLine: line = ''}) =>
    (line.includes('packetization-mode=1') ? 0 : 4) +
    (line.includes('profile-level-id=42e0') ? 0 : line.includes('profile-level-id=4200') ? 1 : 2);
  chosen.sort((a, b) => rank(a) - rank(b));
  transceiver.setCodecPreferences([...chosen, ...all.filter(codec => /\/rtx$/i.test(codec.mimeType))]);
}

/** The offer with receivers' reference times (RFC 3611) for what NACK repairs. A browser that only
 * receives learns its round trip by them, and repeats a lost NACK after that instead of 100 ms. */
function withRoundTrip(sdp) {
  return sdp.replace(/^a=rtcp-fb:(\S+) nack\r\n/gm, (nack, type) => `${nack}a=rtcp-fb:${type} rrtr\r\n`);
}

/** Until all candidates are gathered, but no longer than GATHER_MS: host candidates come at once. */
function gathered(pc) {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise(resolve => {
    const timer = setTimeout(resolve, GATHER_MS);
    pc.addEventListener('icegatheringstatechange', () => {
      if (pc.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    });
  });
}

function problemDetail(reply, body) {
  if (!/json/.test(reply.headers.get('Content-Type') || '')) return '';
  try {
    const problem = JSON.parse(body);
    return String(problem.detail || problem.title || '');
  } catch {
    return '';
  }
}
