/* Draws the test pattern off the page's thread and writes it as VideoFrames to a track's sink.
 * Given once: {width, height, fps, writable}. Runs until it is terminated. A picture is left out
 * when the sink has not taken the one before. */

import {Painter} from './pattern.js';

onmessage = ({data: {width, height, fps, writable}}) => {
  const canvas = new OffscreenCanvas(width, height);
  const painter = new Painter(canvas, width, height, new OffscreenCanvas(1, 1));
  const writer = writable.getWriter();
  const start = performance.now();
  let tick = 0;
  let busy = false;

  const draw = async () => {
    const now = performance.now();
    // Aim at the next tick of an even clock, so that delays of single timers do not add up.
    tick = Math.max(tick + 1, Math.floor((now - start) * fps / 1000) + 1);
    setTimeout(draw, Math.max(0, start + tick * 1000 / fps - now));
    if (busy) return;
    busy = true;
    painter.paint((now - start) / 1000, new Date());
    const frame = new VideoFrame(canvas, {timestamp: Math.round((now - start) * 1000)});
    try {
      await writer.write(frame);
    } catch {
      close();  // the track was stopped
    }
    busy = false;
  };
  draw();
};
