// WHIP and WHEP libraries behind one face each: `clients.publish[library](url)` and
// `clients.play[library](url)` start and resolve once asked for, `clients.stop()` ends as the
// library's own user ends, `clients.restart()` does its ICE restart, `clients.figures()` are those
// of the browser's getStats. Bundled by esbuild; the libraries run as they are.

import { WebRTCPlayer } from '@eyevinn/webrtc-player';
import { WHIPClient as EyevinnClient } from '@eyevinn/whip-web-client';
import { WHEPClient } from 'whip-whep/whep.js';
import { WHIPClient } from 'whip-whep/whip.js';

// Every peer connection that a library makes, the newest last.
const made = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...settings) {
    super(...settings);
    made.push(this);
  }
};

let stop;
let restart;

/** A moving picture of 640x360 at 25/s and a tone of 440 Hz. */
function source() {
  const canvas = document.createElement('canvas');
  canvas.width = 640;
  canvas.height = 360;
  const ink = canvas.getContext('2d');
  let n = 0;
  setInterval(() => {
    ink.fillStyle = `hsl(${n++ % 360} 80% 50%)`;
    ink.fillRect((n * 7) % 640, (n * 5) % 360, 120, 80);
  }, 40);
  const audio = new AudioContext();
  const tone = new OscillatorNode(audio);
  const out = audio.createMediaStreamDestination();
  tone.connect(out);
  tone.start();
  return new MediaStream([...canvas.captureStream(25).getTracks(), ...out.stream.getTracks()]);
}

const publish = {
  async 'whip-whep'(url, token) {
    const pc = new RTCPeerConnection();
    for (const track of source().getTracks()) pc.addTransceiver(track, { direction: 'sendonly' });
    const client = new WHIPClient();
    await client.publish(pc, url, token);
    stop = () => client.stop();
    restart = () => client.restart();
  },
  async '@eyevinn/whip-web-client'(url, token) {
    const client = new EyevinnClient({ endpoint: url, opts: { iceServers: [], authkey: token } });
    await client.ingest(source());
    stop = () => client.destroy();
  },
};

const play = {
  async 'whip-whep'(url, token) {
    const pc = new RTCPeerConnection();
    pc.addTransceiver('audio', { direction: 'recvonly' });
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.ontrack = (event) => {
      const video = document.querySelector('video');
      video.srcObject ??= new MediaStream();
      video.srcObject.addTrack(event.track);
    };
    const client = new WHEPClient();
    await client.view(pc, url, token);
    stop = () => client.stop();
    restart = () => client.restart();
  },
  async '@eyevinn/webrtc-player'(url, token) {
    const video = document.querySelector('video');
    const player = new WebRTCPlayer({ video, type: 'whep', iceServers: [] });
    await player.load(new URL(url), token);
    stop = () => player.unload();
  },
};

/** State and RTP figures of the newest peer connection, and what is on screen. */
async function figures() {
  const pc = made.at(-1);
  const video = document.querySelector('video');
  const found = { state: pc?.connectionState, width: video.videoWidth, connections: made.length };
  const codecs = {};
  const report = (await pc?.getStats()) ?? new Map();
  report.forEach((s) => {
    if (s.type === 'codec') codecs[s.id] = s.mimeType;
  });
  report.forEach((s) => {
    if (s.type === 'outbound-rtp' || s.type === 'inbound-rtp')
      found[s.kind] = { codec: codecs[s.codecId], ...s };
  });
  return found;
}

window.clients = { publish, play, figures, stop: () => stop(), restart: () => restart() };
