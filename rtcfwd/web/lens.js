/* How old a picture is when it comes on the screen: from the publisher's lens to this screen.
 *
 * The publisher says with each picture when it was taken (header extension abs-capture-time, which
 * the server passes on); here the clock is looked at when the picture is to be shown. So it is
 * right where the clocks of both machines are, and not known where either browser does not take
 * part: Chromium does, if it is asked to (askForCaptureTime, on both sides).
 */

const URI = 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time';
const NTP_MS = 2208988800000;  // 1900 to 1970
const KEPT = 31;  // pictures, of which the middle one counts
const STALE_MS = 3000;
const ABSURD_MS = 60000;  // rather a clock that is wrong

/** Before the offer: this transceiver's media is to carry its capture time. */
export function askForCaptureTime(transceiver) {
  if (!transceiver.setHeaderExtensionsToNegotiate) return;
  const all = transceiver.getHeaderExtensionsToNegotiate();
  const wanted = all.find(extension => extension.uri === URI);
  if (!wanted) return;
  wanted.direction = 'sendrecv';
  transceiver.setHeaderExtensionsToNegotiate(all);
}

/** Watches what `element` shows of `pc` until that is closed. */
export class Lens {
  constructor(pc, element) {
    this.pc = pc;
    this.element = element;
    this.seen = [];
    this.seenAt = 0;
    this.next();
  }

  next() {
    this.element.requestVideoFrameCallback?.((_, picture) => {
      if (this.pc.connectionState === 'closed') return;
      this.look(picture);
      this.next();
    });
  }

  look(picture) {
    const receiver = this.pc.getReceivers().find(r => r.track.kind === 'video');
    // Newer packets may have come since: only those of this very picture tell of it.
    const source = receiver?.getSynchronizationSources().find(s => s.rtpTimestamp === picture.rtpTimestamp);
    if (!source?.captureTimestamp) return;
    const shown = Date.now() - performance.now() + picture.expectedDisplayTime;
    const ms = shown - (source.captureTimestamp - NTP_MS) - (source.senderCaptureTimeOffset ?? 0);
    if (ms < 0 || ms > ABSURD_MS) return;
    this.seen.push(ms);
    if (this.seen.length > KEPT) this.seen.shift();
    this.seenAt = performance.now();
  }

  /** Milliseconds, or null: not known. */
  ms() {
    if (!this.seen.length || performance.now() - this.seenAt > STALE_MS) return null;
    return [...this.seen].sort((a, b) => a - b)[this.seen.length >> 1];
  }
}
