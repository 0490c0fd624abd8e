/* Simulcast: which layer a viewer gets that has chosen none: the largest that its way is believed
 * to carry (feedback/estimate.h), sound and resends beside it.
 *
 * Down at once; up one layer at a time, when that one has fitted for some seconds, and by trial:
 * what a way carries is known only from what is sent on it. A trial that fails within ten seconds
 * makes the wait for the next one of that layer twice as long. The switch itself is path/layer.c's,
 * at a key frame. */
#include "feedback/estimate.h"
#include "feedback/feedback.h"
#include "path/path.h"

static const uint64_t HOLD_NS = 3000000000u, HOLD_MOST_NS = 60000000000u, FAILED_NS = 10000000000u;
enum { SOUND_BPS = 100000, HEADERS = 108, MARGIN_UP = 125 /* percent of the payload */ };

/* The best layer that fits into bps: its place in rf_stream.use; the smallest where none does. */
static uint8_t largest(const rf_stream *stream, uint64_t bps) {
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
        if (rate > most && rate / 100 * HEADERS <= bps) {
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

/* The next larger one than what has the rate `now`, up to the best: its place, or -1 where there is
 * none or it does not fit into bps. */
static int larger(const rf_stream *stream, uint64_t now, uint64_t bps) {
    uint64_t most = rate_of(stream, 0), least = UINT64_MAX;
    int next = -1;
    for (int i = 0; i < RF_LAYERS && RF_VIDEO + i < rf_stream_logs(stream); i++) {
        const rf_track *t = &stream->track[RF_VIDEO + i];
        uint64_t rate = rf_read(&t->bitrate);
        if (rate <= now || rate > most || rate >= least ||
            !atomic_load_explicit(&t->active, memory_order_relaxed))
            continue;
        least = rate;
        next = rate == most ? 0 : 1 + i;
    }
    return next >= 0 && least / 100 * MARGIN_UP <= bps ? next : -1;
}

/* For how long it is to fit: longer for the layer that was tried last and did not hold. */
static uint64_t hold(const rf_stream *stream, const rf_fit *f, int place) {
    int log = atomic_load_explicit(&stream->use[place], memory_order_relaxed);
    return log == f->failed ? f->hold_ns : HOLD_NS;
}

static void go(const rf_ctx *x, const rf_stream *stream, rf_view *v, uint8_t place, int up) {
    rf_fit *f = &v->fit;
    int log = atomic_load_explicit(&stream->use[v->track[RF_VIDEO].fit], memory_order_relaxed);
    if (up) {
        f->up_ns = x->now_ns;
    } else if (f->up_ns && x->now_ns - f->up_ns < FAILED_NS) {
        uint64_t before = log == f->failed ? f->hold_ns : HOLD_NS;
        f->hold_ns = before * 2 < HOLD_MOST_NS ? before * 2 : HOLD_MOST_NS;
        f->failed = (uint8_t)log;
    } else {
        f->failed = 0;
    }
    f->since_ns = 0;
    v->track[RF_VIDEO].fit = place;
}

/* Not where it changes: so nobody is told more than twice a second, whatever a viewer chooses. */
static void tell(rf_ctx *x, const rf_peer *p) {
    rf_view *v = p->view;
    uint8_t log = v->track[RF_VIDEO].log, layer = (uint8_t)(log - RF_VIDEO);
    if (log != v->fit.told &&
        rf_notify(x, RF_EVENT_VIEWER_LAYER, RF_VIDEO, p, p->stream, &layer, 1, 0))
        v->fit.told = log;
}

void rf_layer_fit(rf_ctx *x, rf_peer *p) {
    rf_view *v = p->view;
    rf_view_track_state *s = &v->track[RF_VIDEO];
    const rf_stream *stream = p->stream;
    if (rf_stream_logs(stream) <= RF_KINDS || !s->segments)
        return;
    tell(x, p);
    if (s->choice)
        return;
    uint64_t bps = rf_estimate_bps(p), sound = v->track[RF_AUDIO].present ? SOUND_BPS : 0;
    uint64_t room = bps > sound ? bps - sound : 0, now = rate_of(stream, s->fit);
    uint8_t low = bps == UINT64_MAX ? 0 : largest(stream, room);
    int high = now ? larger(stream, now, room) : -1;
    if (now && rate_of(stream, low) < now) {
        go(x, stream, v, low, 0);
    } else if (high < 0) {
        v->fit.since_ns = 0;
        if (s->thin && s->state == RF_VIEW_LIVE) { /* the smallest, and still too much */
            int level = s->thin;
            s->thin = RF_THIN_ALL;
            rf_thin_set(x, p, level);
        }
    } else if (!v->fit.since_ns) {
        v->fit.since_ns = x->now_ns;
    } else if (x->now_ns - v->fit.since_ns >= hold(stream, &v->fit, high)) {
        go(x, stream, v, (uint8_t)high, 1);
    }
}
