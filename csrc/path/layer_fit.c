/* Simulcast: which layer a viewer gets that has chosen none: the largest that its way is believed
 * to carry (feedback/estimate.h), sound and resends beside it.
 *
 * Down at once; up one layer at a time, when that one has fitted for some seconds, and by trial:
 * what a way carries is known only from what is sent on it. A trial that fails within ten seconds
 * ends where it began, and makes the wait for the next one of that layer four times as long, unless
 * resends show that the way has become wider (layer_probe.c). The switch itself is path/layer.c's,
 * at a key frame. */
#include "feedback/estimate.h"
#include "feedback/feedback.h"
#include "path/path.h"

static const uint64_t HOLD_NS = 3000000000u, HOLD_MOST_NS = 60000000000u, FAILED_NS = 10000000000u;
enum {
    SOUND_BPS = 100000,
    HEADERS = 108,
    FAILURES = 3,
    MARGIN_UP = 125 /* percent of the payload */
};

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

/* How often the layer of this place was tried and did not hold, since it last did. */
static uint8_t *failures(const rf_stream *stream, rf_fit *f, int place) {
    int log = atomic_load_explicit(&stream->use[place], memory_order_relaxed);
    return &f->failed[log < RF_LOGS && log >= RF_VIDEO ? log - RF_VIDEO : 0];
}

/* For how long it is to fit: four times as long after each failure. */
static uint64_t hold(const rf_stream *stream, rf_fit *f, int place) {
    uint64_t ns = f->wider ? HOLD_NS : HOLD_NS << *failures(stream, f, place) * 2;
    return ns < HOLD_MOST_NS ? ns : HOLD_MOST_NS;
}

static void climb(const rf_ctx *x, rf_view *v, uint8_t place) {
    v->fit.up_ns = x->now_ns;
    v->fit.from = v->track[RF_VIDEO].fit;
    v->fit.wider = 0;
    v->fit.since_ns = 0;
    v->track[RF_VIDEO].fit = place;
}

/* From a layer of the rate `now`. One that was tried and did not hold is left for the one before
 * it, which did: what came through while too much was sent says less than it carries. */
static void sink(const rf_ctx *x, rf_peer *p, uint64_t now, uint8_t place, uint64_t sound) {
    rf_fit *f = &p->view->fit;
    uint8_t *fit = &p->view->track[RF_VIDEO].fit;
    uint8_t *failed = failures(p->stream, f, *fit);
    if (f->up_ns && x->now_ns - f->up_ns < FAILED_NS) {
        uint64_t held = rate_of(p->stream, f->from);
        *failed = (uint8_t)(*failed < FAILURES ? *failed + 1 : FAILURES);
        if (held && held < now && held > rate_of(p->stream, place)) {
            place = f->from;
            rf_estimate_at_least(p, held / 100 * MARGIN_UP + sound);
        }
    } else {
        *failed = 0;
    }
    f->up_ns = f->since_ns = 0;
    *fit = place;
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
    int high = now ? larger(stream, now, room) : -1,
        next = now ? larger(stream, now, UINT64_MAX) : -1;
    if (next >= 0 && *failures(stream, &v->fit, next) && !v->fit.wider)
        rf_layer_probe(x, p, rate_of(stream, (uint8_t)next) / 100 * HEADERS + sound);
    if (now && rate_of(stream, low) < now) {
        sink(x, p, now, low, sound);
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
        climb(x, v, (uint8_t)high);
    }
}
