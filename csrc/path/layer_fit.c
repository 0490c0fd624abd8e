/* Simulcast: which layer a viewer gets that has chosen none: the largest that its way is believed
 * to carry (feedback/estimate.h), sound and resends beside it.
 *
 * Down at once; up when the larger one has fitted for some seconds, and by trial: what a way
 * carries is known only from what is sent on it. A trial that fails within ten seconds makes the
 * wait for the next one twice as long. The switch itself is path/layer.c's, at a key frame. */
#include "feedback/estimate.h"
#include "feedback/feedback.h"
#include "path/path.h"

static const uint64_t HOLD_NS = 3000000000u, HOLD_MOST_NS = 60000000000u, FAILED_NS = 10000000000u;
enum { SOUND_BPS = 100000, HEADERS = 108, MARGIN_UP = 125 /* percent of the payload */ };

/* The best layer that fits into bps: its place in rf_stream.use; the smallest where none does. */
static uint8_t largest(const rf_stream *stream, uint64_t bps, int percent) {
    uint64_t most = 0, least = UINT64_MAX;
    int fits = -1, smallest = -1;
    for (int i = 0; i < RF_LAYERS && RF_VIDEO + i < rf_stream_logs(stream); i++) {
        const rf_track *t = &stream->track[RF_VIDEO + i];
        uint64_t rate = rf_read(&t->bitrate);
        if (!rate || !atomic_load_explicit(&t->active, memory_order_relaxed))
            continue;
        if (rate < least) {
            least = rate;
            smallest = i;
        }
        if (rate > most && rate / 100 * (uint64_t)percent <= bps) {
            most = rate;
            fits = i;
        }
    }
    return (uint8_t)(1 + (fits >= 0 ? fits : smallest)); /* 0, the best, where nothing is known */
}

static uint64_t rate_of(const rf_stream *stream, uint8_t place) {
    int log = atomic_load_explicit(&stream->use[place], memory_order_relaxed);
    return log < rf_stream_logs(stream) ? rf_read(&stream->track[log].bitrate) : 0;
}

static void go(const rf_ctx *x, rf_view *v, uint8_t place, int up) {
    rf_fit *f = &v->fit;
    if (up) {
        f->up_ns = x->now_ns;
    } else if (f->up_ns && x->now_ns - f->up_ns < FAILED_NS) {
        f->hold_ns = f->hold_ns * 2 < HOLD_MOST_NS ? f->hold_ns * 2 : HOLD_MOST_NS;
    } else {
        f->hold_ns = HOLD_NS;
    }
    f->since_ns = 0;
    f->changes++;
    v->track[RF_VIDEO].fit = place;
}

void rf_layer_fit(rf_ctx *x, rf_peer *p) {
    rf_view *v = p->view;
    rf_view_track_state *s = &v->track[RF_VIDEO];
    const rf_stream *stream = p->stream;
    if (rf_stream_logs(stream) <= RF_KINDS || s->choice || !s->segments)
        return;
    uint64_t bps = rf_estimate_bps(p), sound = v->track[RF_AUDIO].present ? SOUND_BPS : 0;
    uint64_t room = bps > sound ? bps - sound : 0, now = rate_of(stream, s->fit);
    if (!v->fit.hold_ns)
        v->fit.hold_ns = HOLD_NS;
    uint8_t low = bps == UINT64_MAX ? 0 : largest(stream, room, HEADERS);
    uint8_t high = bps == UINT64_MAX ? 0 : largest(stream, room, MARGIN_UP);
    if (now && rate_of(stream, low) < now) {
        go(x, v, low, 0);
    } else if (rate_of(stream, high) <= now) {
        v->fit.since_ns = 0;
        if (s->thin && s->state == RF_VIEW_LIVE) { /* the smallest, and still too much */
            int level = s->thin;
            s->thin = RF_THIN_ALL;
            rf_thin_set(x, p, level);
        }
    } else if (!v->fit.since_ns) {
        v->fit.since_ns = x->now_ns;
    } else if (x->now_ns - v->fit.since_ns >= v->fit.hold_ns) {
        go(x, v, high, 1);
    }
}
