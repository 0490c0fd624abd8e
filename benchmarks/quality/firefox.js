/* What Firefox lacks and probe.js needs: MediaStreamTrackProcessor, by way of the screen. The
 * pictures are those that the page's video element shows, when requestVideoFrameCallback tells of
 * them: up to a turn of the screen (1/60 s) after the decoder gave them, and none that was never
 * shown. Sound is not read. */
window.MediaStreamTrackProcessor ??= class {
  constructor({track}) {
    const element = document.getElementById('watch-video');
    this.readable = new ReadableStream({
      start(controller) {
        if (track.kind !== 'video') return;
        const shown = (now, {mediaTime}) => {
          controller.enqueue(new VideoFrame(element, {timestamp: Math.round(mediaTime * 1e6)}));
          element.requestVideoFrameCallback(shown);
        };
        element.requestVideoFrameCallback(shown);
      },
    });
  }
};
