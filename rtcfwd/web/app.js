/* The page: live streams, one watch panel, one publish panel.
 *
 * Links and automation: /?watch=NAME, and /?publish=NAME&source=pattern|camera|screen&video=H264&
 * audio=PCMA&size=640x360&b=2500&auto=1 (b: video kbit/s at most; auto: publish without a click).
 * &token=TOKEN where the server wants one; &relay=1 goes by TURN only; with watch, &playout=MIN-MAX
 * (ms; 0: least delay) is passed to the server.
 *
 * Test hook: window.rtcfwd.publisher and .viewer are null or the current session with
 *   .pc            the RTCPeerConnection (a new one after each reconnect)
 *   .state         idle connecting live waiting reconnecting ended failed
 *   .firstFrameMs  from asking to the first picture shown (viewer) or encoded (publisher), or null
 *   .figures()     a promise of the figures in figures.js
 */

import {access, withToken} from './access.js';
import {describe} from './figures.js';
import {showLink} from './link.js';
import {testPattern} from './pattern.js';
import {connectSelfTest} from './selftest.js';
import {Publisher, Viewer} from './session.js';

const $ = id => document.getElementById(id);
const query = new URLSearchParams(location.search);
const STATES = {
  idle: 'idle', connecting: 'connecting…', live: 'live', waiting: 'waiting for the publisher',
  reconnecting: 'reconnecting…', ended: 'stopped', failed: 'failed',
};
const hook = window.rtcfwd = {publisher: null, viewer: null};
const endpoint = (kind, name) => new URL(`${kind}/${encodeURIComponent(name)}`, document.baseURI).href.split('?')[0];

const NOBODY = $('live-empty').textContent;
let listRefused = false;  // the list of streams wants another token
let liveNow = [];  // the list of streams, as the server last gave it
let source = null;  // {stream, stop()} of the running publication

// -- what both panels share

function showState(panel, session) {
  const state = session ? session.state : 'idle';
  $(`${panel}-state`).dataset.state = state;
  $(`${panel}-state`).textContent = STATES[state];
  const running = Boolean(session) && !session.over;
  $(`${panel}-start`).hidden = running;
  $(`${panel}-stop`).hidden = !running;
  showMessage(panel, session ? session.message : '', state === 'failed');
  if (session && session.wantsToken) askToken();
}

function askToken() {
  $('token-form').hidden = false;
}

/** A new token: what failed for want of one is tried again. */
function setToken() {
  access.token = $('token').value.trim();
  listRefused = false;
  refreshStreams();
  if (hook.viewer && hook.viewer.wantsToken) watch(hook.viewer.name);
  if (hook.publisher && hook.publisher.wantsToken) publish();
}

function showMessage(panel, text, wrong = true) {
  const note = $(`${panel}-message`);
  note.textContent = text;
  note.hidden = !text;
  note.classList.toggle('note-info', !wrong);
}

function showFigures(panel, rows) {
  const list = $(`${panel}-figures`);
  list.hidden = false;
  if (list.childElementCount !== rows.length) {
    list.replaceChildren(...rows.map(() => {
      const tile = document.createElement('div');
      tile.append(document.createElement('dt'), document.createElement('dd'));
      return tile;
    }));
  }
  rows.forEach(([label, text, explanation], i) => {
    list.children[i].firstChild.textContent = label;
    list.children[i].lastChild.textContent = text;
    list.children[i].title = explanation || text;
  });
}

async function refreshFigures() {
  for (const [panel, session] of [['watch', hook.viewer], ['publish', hook.publisher]]) {
    if (!session || session.state !== 'live') continue;
    const figures = await session.figures();
    if (!figures || session.state !== 'live') continue;
    const listed = panel === 'watch' ? liveNow.find(stream => stream.name === session.name) : null;
    showFigures(panel, describe(figures, panel === 'watch', listed?.delay_ms));
    if (panel === 'watch') noteStill(session, figures);
  }
}

/** Say so when pictures stop while the connection stands: the server waits for the publisher. */
function noteStill(viewer, figures) {
  viewer.still = figures.frames > 0 && figures.fps === 0 ? (viewer.still || 0) + 1 : 0;
  if (viewer.still === 2) showMessage('watch', 'The publisher is away. The picture goes on when it is back.', false);
  if (viewer.still === 0 && viewer.wasStill) showMessage('watch', viewer.message, false);
  viewer.wasStill = viewer.still >= 2;
}

// -- watching

function watch(name) {
  stopWatching();
  $('watch-name').value = name;
  const playout = query.get('playout');
  const url = endpoint('whep', name) + (playout ? `?playout=${encodeURIComponent(playout)}` : '');
  const viewer = hook.viewer = new Viewer(url, $('watch-video'));
  viewer.name = name;
  viewer.addEventListener('state', () => {
    if (viewer !== hook.viewer) return;
    showState('watch', viewer);
    showWatchStage(viewer);
  });
  viewer.addEventListener('frame', () => showWatchStage(viewer));
  viewer.start();
  remember('watch', name);
  showAddresses();
}

function showWatchStage(viewer) {
  const picture = viewer.firstFrameMs !== null && !viewer.over && viewer.state !== 'waiting';
  $('watch-hint').hidden = picture;
  $('watch-hint').textContent = {
    connecting: 'Connecting…', live: 'Connected; waiting for the first picture…',
    waiting: 'Waiting for the publisher…', reconnecting: 'Reconnecting…',
  }[viewer.state] || 'Choose a live stream, or give its name.';
  $('watch-unmute').hidden = !picture || !$('watch-video').muted;
  $('watch-full').hidden = !picture || !($('watch-video').requestFullscreen || $('watch-video').webkitEnterFullscreen);
  if (!picture && viewer.state !== 'reconnecting' && viewer.state !== 'live') $('watch-video').srcObject = null;
  if (viewer.over) $('watch-figures').hidden = true;
}

function stopWatching() {
  const viewer = hook.viewer;
  if (viewer && !viewer.over) viewer.stop();
}

// -- publishing

async function openSource(kind, wanted) {
  const [width, height] = wanted.size.split('x').map(Number);
  if (kind === 'pattern') return testPattern({width, height});
  if (!navigator.mediaDevices) throw new Error(insecureText());
  if (kind === 'screen') {
    const stream = await navigator.mediaDevices.getDisplayMedia({video: {frameRate: {ideal: 30}}, audio: true});
    return fromDevice(stream);
  }
  const video = {width: {ideal: width}, height: {ideal: height}, frameRate: {ideal: 30}};
  try {
    return fromDevice(await navigator.mediaDevices.getUserMedia({video, audio: true}));
  } catch (error) {
    if (error.name !== 'NotFoundError') throw error;
    // No microphone, or no camera: take what there is of the picture.
    return fromDevice(await navigator.mediaDevices.getUserMedia({video}));
  }
}

function fromDevice(stream) {
  // The user may end a capture in the browser's own bar.
  stream.getVideoTracks()[0].addEventListener('ended', stopPublishing);
  return {stream, stop: () => stream.getTracks().forEach(track => track.stop())};
}

function sourceError(error, kind) {
  const device = kind === 'screen' ? 'screen' : 'camera or microphone';
  return {
    NotAllowedError: `The browser did not allow the ${device}. Allow it in the address bar or the site's settings, then publish again.`,
    NotFoundError: 'There is no camera here. The test pattern works without one.',
    NotReadableError: `The ${device} is in use by another program.`,
    AbortError: `The ${device} could not be started.`,
  }[error.name] || error.message;
}

async function publish() {
  stopPublishing();
  const kind = new FormData($('publish-form')).get('source');
  const wanted = {
    name: $('publish-name').value.trim(), size: $('publish-size').value,
    video: $('publish-video').value, audio: $('publish-audio').value,
    bitrate: Number($('publish-bitrate').value) * 1000,
  };
  showMessage('publish', '');
  let opened;
  try {
    opened = await openSource(kind, wanted);
  } catch (error) {
    showMessage('publish', sourceError(error, kind));
    return;
  }
  source = opened;
  $('publish-preview').srcObject = source.stream;
  $('publish-preview').play().catch(() => {});
  $('publish-hint').hidden = true;
  const publisher = hook.publisher = new Publisher(endpoint('whip', wanted.name), {
    ...wanted, stream: source.stream, keepResolution: kind !== 'camera',
  });
  publisher.name = wanted.name;
  publisher.addEventListener('state', () => {
    if (publisher !== hook.publisher) return;
    showState('publish', publisher);
    setPublishFields(publisher.over);
    if (publisher.over) closeSource();
    if (publisher.state === 'live') noteFirstFrame(publisher);
  });
  publisher.start();
  showAddresses();
}

async function noteFirstFrame(publisher) {
  while (publisher.state === 'live' && publisher.firstFrameMs === null) {
    const report = await publisher.pc.getStats();
    for (const s of report.values()) {
      if (s.type === 'outbound-rtp' && s.kind === 'video' && s.framesSent > 0 && publisher.firstFrameMs === null)
        publisher.firstFrameMs = performance.now() - publisher.askedAt;
    }
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}

function setPublishFields(enabled) {
  for (const field of $('publish-form').querySelectorAll('input, select')) {
    const needsDevice = field.value === 'camera' || field.value === 'screen';
    field.disabled = !enabled || (needsDevice && !available(field.value));
  }
}

function closeSource() {
  if (source) source.stop();
  source = null;
  $('publish-preview').srcObject = null;
  $('publish-hint').hidden = false;
  $('publish-figures').hidden = true;
}

function stopPublishing() {
  if (hook.publisher && !hook.publisher.over) hook.publisher.stop();
}

// -- live streams

async function refreshStreams() {
  if (listRefused) return;  // asking again with the same token is of no use
  let streams = null;
  try {
    const reply = await fetch('api/v1/streams', {cache: 'no-store', headers: withToken()});
    if (reply.status === 401 || reply.status === 403) return hideStreams();
    if (reply.ok) streams = (await reply.json()).streams;
  } catch {
    // shown below
  }
  const state = $('server-state');
  state.dataset.state = streams ? 'up' : 'down';
  if (!streams) {
    state.textContent = 'The server does not answer.';
    return;
  }
  liveNow = streams;
  const live = streams.filter(stream => stream.state === 'live' || stream.state === 'interrupted');
  const viewers = live.reduce((sum, stream) => sum + (stream.viewers || 0), 0);
  state.textContent = live.length ? `${count(live.length, 'stream')}, ${count(viewers, 'viewer')}` : '';
  $('live-empty').hidden = live.length > 0;
  $('live-empty').textContent = NOBODY;
  showStreams(live.sort((a, b) => a.name.localeCompare(b.name)));
  $('watch-name').placeholder = live.length ? live[0].name : 'name';
  $('watch-name').required = !live.length;
  showWarnings('watch', hook.viewer, live);
  showWarnings('publish', hook.publisher, live);
}

/** What the server finds wrong with the stream that is watched or published here. */
function showWarnings(panel, session, streams) {
  const name = session && !session.over ? session.name : null;
  const found = (streams.find(stream => stream.name === name) || {}).warnings || [];
  const list = $(`${panel}-warnings`);
  list.hidden = found.length === 0;
  list.replaceChildren(...found.map(warning => {
    const item = document.createElement('li');
    item.dataset.type = warning.type;
    item.textContent = warning.text;
    return item;
  }));
}

function hideStreams() {
  listRefused = true;
  askToken();
  $('server-state').dataset.state = 'up';
  $('server-state').textContent = '';
  $('live-empty').hidden = false;
  $('live-empty').textContent = 'The list of streams wants an admin token. Watching and publishing need one for the stream only.';
  showStreams([]);
}

const count = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;

/** Cards are kept by name, so that a click or the focus is not lost by a refresh. */
function showStreams(streams) {
  const list = $('live-list');
  const cards = new Map([...list.children].map(item => [item.dataset.name, item]));
  streams.forEach((stream, i) => {
    const item = cards.get(stream.name) || newCard(stream.name);
    cards.delete(stream.name);
    const button = item.firstChild;
    button.dataset.state = stream.state;
    button.setAttribute('aria-current', String(Boolean(hook.viewer) && !hook.viewer.over && hook.viewer.name === stream.name));
    button.querySelector('.viewers').textContent = count(stream.viewers || 0, 'viewer');
    const codecs = (stream.tracks || []).map(track => track.codec).join(' · ');
    button.querySelector('.codecs').textContent = stream.state === 'live' ? codecs : 'interrupted';
    if (list.children[i] !== item) list.insertBefore(item, list.children[i] || null);
  });
  for (const item of cards.values()) item.remove();
}

function newCard(name) {
  const item = document.createElement('li');
  item.dataset.name = name;
  const button = document.createElement('button');
  button.type = 'button';
  button.title = `Watch ${name}`;
  for (const part of ['dot', 'name', 'viewers', 'codecs']) {
    const span = document.createElement('span');
    span.className = part;
    button.append(span);
  }
  button.querySelector('.name').textContent = name;
  button.addEventListener('click', () => {
    watch(name);
    $('watch-panel').scrollIntoView({block: 'nearest', behavior: 'smooth'});
  });
  item.append(button);
  return item;
}

// -- set-up

/** Offer what this browser can send, in our order of preference. */
function fillCodecs() {
  const choices = {video: ['H264', 'VP8', 'VP9', 'AV1', 'H265'], audio: ['PCMA', 'PCMU', 'opus']};
  for (const [kind, names] of Object.entries(choices)) {
    const known = window.RTCRtpSender?.getCapabilities?.(kind)?.codecs.map(c => c.mimeType.toLowerCase());
    const usable = known ? names.filter(name => known.includes(`${kind}/${name}`.toLowerCase())) : names;
    $(`publish-${kind}`).replaceChildren(...usable.map(name => new Option(name === 'opus' ? 'Opus' : name, name)));
  }
}

const available = kind => Boolean(navigator.mediaDevices?.[kind === 'screen' ? 'getDisplayMedia' : 'getUserMedia']);

function insecureText() {
  return `Browsers give the camera and the screen only to secure pages, and this one came over plain HTTP. Open it as https://${location.host}/, or on the server's own machine as http://localhost:${location.port || 80}/. The test pattern and watching work here too.`;
}

function explainDevices() {
  if (!navigator.mediaDevices) {
    $('insecure-note').textContent = insecureText();
    $('insecure-note').hidden = false;
  }
  setPublishFields(true);
}

function setSelect(select, value) {
  if (!value) return;
  const option = [...select.options].find(o => o.value.toLowerCase() === value.toLowerCase());
  if (option) select.value = option.value;
  else {  // what a link asks for is shown as it is; the attempt then says what is wrong
    select.add(new Option(value, value));
    select.value = value;
  }
}

function readQuery() {
  access.relay = query.get('relay') === '1';
  access.token = query.get('token') || '';
  $('token').value = access.token;
  if (access.token) askToken();
  if (query.get('publish')) $('publish-name').value = query.get('publish');
  const radio = document.querySelector(`input[name=source][value="${CSS.escape(query.get('source') || '')}"]`);
  if (radio && !radio.disabled) radio.checked = true;
  setSelect($('publish-video'), query.get('video'));
  setSelect($('publish-audio'), query.get('audio'));
  if (/^\d{3,4}x\d{2,4}$/.test(query.get('size') || '')) setSelect($('publish-size'), query.get('size'));
  const kbits = Number(query.get('b'));
  if (kbits >= 30 && kbits <= 100000) {
    const value = String(kbits);
    if (![...$('publish-bitrate').options].some(o => o.value === value))
      $('publish-bitrate').add(new Option(String(kbits / 1000), value));
    $('publish-bitrate').value = value;
  }
}

function remember(key, value) {
  const url = new URL(location.href);
  url.searchParams.set(key, value);
  history.replaceState(null, '', url);
}

function showAddresses() {
  const name = $('publish-name').value.trim() || 'demo';
  const watched = $('watch-name').value.trim() || name;
  $('whip-url').textContent = endpoint('whip', name);
  $('whep-url').textContent = endpoint('whep', watched);
  showLink(watched);
}

async function copy(button) {
  const code = $(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {  // no clipboard on insecure pages: select it for the user's own copy
    getSelection().selectAllChildren(code);
    if (!document.execCommand('copy')) return;
  }
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

function connect() {
  $('token-form').addEventListener('submit', event => {
    event.preventDefault();
    setToken();
  });
  $('watch-form').addEventListener('submit', event => {
    event.preventDefault();
    const input = $('watch-name');  // left empty: the stream that it shows
    const name = input.value.trim() || (input.required ? '' : input.placeholder);
    if (name) watch(name);
  });
  $('watch-stop').addEventListener('click', stopWatching);
  $('watch-unmute').addEventListener('click', () => {
    $('watch-video').muted = false;
    $('watch-video').play().catch(() => {});
    $('watch-unmute').hidden = true;
  });
  $('watch-full').addEventListener('click', () => {
    const video = $('watch-video');
    if (video.requestFullscreen) video.requestFullscreen().catch(() => {});
    else video.webkitEnterFullscreen();
  });
  $('publish-form').addEventListener('submit', event => {
    event.preventDefault();
    publish();
  });
  $('publish-stop').addEventListener('click', stopPublishing);
  $('publish-name').addEventListener('input', showAddresses);
  $('watch-name').addEventListener('input', showAddresses);
  for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', () => copy(button));
  document.addEventListener('visibilitychange', () => { if (!document.hidden) refreshStreams(); });
}

function main() {
  if (!window.RTCPeerConnection) {
    showMessage('watch', 'This browser has no WebRTC.');
    showMessage('publish', 'This browser has no WebRTC.');
    return;
  }
  connectSelfTest();
  fillCodecs();
  explainDevices();
  readQuery();
  connect();
  showAddresses();
  if (query.get('watch')) watch(query.get('watch'));
  if (query.get('publish') && query.get('auto') === '1') publish();
  refreshStreams();
  setInterval(() => { if (!document.hidden) refreshStreams(); }, 2000);
  setInterval(refreshFigures, 1000);
}

main();
