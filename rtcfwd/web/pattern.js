/* The test pattern: a clock, a sweep, a patch of grain, and a code strip that programs can read.
 *
 * The strip is the lowest ninth of the picture, two rows of 16 cells, white for 1 and black for 0,
 * most significant bit first: the 24-bit picture number, then the check byte n0 ^ n1 ^ n2 ^ 0xA5.
 * `rtcfwd play` reads it (client/pattern.py). The grain is there to give the encoder real work:
 * without it the pattern would never need more than some 100 kbit/s.
 *
 * Painter draws on any 2D canvas. In a secure context it runs in a worker (pattern-worker.js),
 * which browsers do not slow down in a hidden tab; else on a canvas of the page.
 */

const COLUMNS = 16;
const STRIP = 9;
const BARS = ['#c9d1cf', '#c8b25a', '#58aeb0', '#62a768', '#a56bb0', '#bd5d54', '#4f62b5'];

export class Painter {
  constructor(canvas, width, height, grain) {
    canvas.width = width;
    canvas.height = height;
    this.context = canvas.getContext('2d', {alpha: false, desynchronized: true});
    this.width = width;
    this.height = height;
    this.number = 0;
    this.grain = grain;
    const tile = grain.getContext('2d');
    const side = grain.width = grain.height = Math.round(height * 0.6);
    const pixels = tile.createImageData(side, side);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const value = 60 + 130 * Math.random();
      pixels.data[i] = value * 0.8;
      pixels.data[i + 1] = value;
      pixels.data[i + 2] = value * 0.95;
      pixels.data[i + 3] = 255;
    }
    tile.putImageData(pixels, 0, 0);
  }

  /** Draw the next picture; `seconds` since the start, `date` for the clock. Returns its number. */
  paint(seconds, date) {
    const {context: c, width: w, height: h} = this;
    const number = this.number++ % (1 << 24);
    const strip = h / STRIP;
    BARS.forEach((colour, i) => {
      c.fillStyle = colour;
      c.fillRect(Math.floor(i * w / 7), 0, Math.ceil(w / 7), h);
    });
    c.fillStyle = '#16211e';
    c.fillRect(0, h * 0.28, w, h * 0.36);
    this.paintGrain(w * 0.66, h * 0.64, w * 0.34, h - strip - h * 0.64);
    c.fillStyle = '#223430';
    c.fillRect(0, h * 0.64, w * 0.66, h - strip - h * 0.64);
    this.paintSweep(seconds, w * 0.14, h * 0.46, h * 0.14);
    this.paintText(number, date, h);
    // One bright bar that crosses the lower field in two seconds shows motion and dropped pictures.
    c.fillStyle = '#e9fffb';
    c.fillRect((seconds / 2 % 1) * (w * 0.66 - w / 64), h * 0.66, w / 64, h * 0.2);
    this.paintStrip(number, strip);
    return number;
  }

  paintGrain(x, y, width, height) {
    const side = this.grain.width;
    const left = Math.random() * Math.max(0, side - width);
    const top = Math.random() * Math.max(0, side - height);
    this.context.drawImage(this.grain, left, top, Math.min(width, side), Math.min(height, side), x, y, width, height);
  }

  paintSweep(seconds, x, y, radius) {
    const c = this.context;
    const turn = (seconds % 1) * 2 * Math.PI - Math.PI / 2;
    c.lineWidth = radius / 7;
    c.strokeStyle = '#3d5750';
    c.beginPath();
    c.arc(x, y, radius, 0, 2 * Math.PI);
    c.stroke();
    c.strokeStyle = '#5eead4';
    c.beginPath();
    c.arc(x, y, radius, turn - 1.2, turn);
    c.stroke();
  }

  paintText(number, date, h) {
    const c = this.context;
    const time = new Date(date.getTime() - 60000 * date.getTimezoneOffset()).toISOString().slice(11, 22);
    c.fillStyle = '#f2fbf9';
    c.textBaseline = 'middle';
    c.font = `600 ${Math.round(h * 0.15)}px ui-monospace, Menlo, Consolas, monospace`;
    c.fillText(time, this.width * 0.27, h * 0.42);
    c.fillStyle = '#9db8b1';
    c.font = `${Math.round(h * 0.065)}px ui-monospace, Menlo, Consolas, monospace`;
    c.fillText(`picture ${number}`, this.width * 0.275, h * 0.56);
  }

  paintStrip(number, strip) {
    const {context: c, width: w, height: h} = this;
    const check = (number ^ number >> 8 ^ number >> 16 ^ 0xA5) & 0xFF;
    for (let bit = 0; bit < 32; bit++) {
      const on = bit < 24 ? number >> (23 - bit) & 1 : check >> (31 - bit) & 1;
      const x = bit % COLUMNS;
      const left = Math.round(x * w / COLUMNS);
      const top = Math.round(h - strip + (bit < COLUMNS ? 0 : strip / 2));
      c.fillStyle = on ? '#fff' : '#000';
      c.fillRect(left, top, Math.ceil(w / COLUMNS), Math.ceil(strip / 2));
    }
  }
}

/** A video track of the pattern, with `stop()` to end it: {track, stop}. */
function videoOf(width, height, fps) {
  if (window.isSecureContext && window.MediaStreamTrackGenerator && window.OffscreenCanvas) {
    const track = new window.MediaStreamTrackGenerator({kind: 'video'});
    const worker = new Worker(new URL('pattern-worker.js', import.meta.url), {type: 'module'});
    worker.postMessage({width, height, fps, writable: track.writable}, [track.writable]);
    return {track, stop: () => worker.terminate()};
  }
  const canvas = document.createElement('canvas');
  const painter = new Painter(canvas, width, height, document.createElement('canvas'));
  const start = performance.now();
  const draw = () => painter.paint((performance.now() - start) / 1000, new Date());
  draw();
  const timer = setInterval(draw, 1000 / fps);
  const track = canvas.captureStream(fps).getVideoTracks()[0];
  return {track, stop: () => clearInterval(timer)};
}

/** A 440 Hz tone. Browsers keep it silent until the page was touched, unless told otherwise. */
function toneOf() {
  const context = new AudioContext();
  const oscillator = new OscillatorNode(context, {frequency: 440});
  const gain = new GainNode(context, {gain: 0.2});
  const out = new MediaStreamAudioDestinationNode(context);
  oscillator.connect(gain).connect(out);
  oscillator.start();
  const resume = () => context.resume();
  if (context.state === 'suspended') window.addEventListener('pointerdown', resume, {once: true});
  return {
    track: out.stream.getAudioTracks()[0],
    stop: () => {
      window.removeEventListener('pointerdown', resume);
      context.close();
    },
  };
}

/** The pattern as {stream, stop()}; `audio` false leaves the tone out. */
export function testPattern({width, height, fps = 30, audio = true}) {
  const parts = [videoOf(width, height, fps)];
  if (audio) parts.push(toneOf());
  return {
    stream: new MediaStream(parts.map(part => part.track)),
    stop: () => parts.forEach(part => { part.stop(); part.track.stop(); }),
  };
}
