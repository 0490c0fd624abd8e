/* Simulcast (RFC 8853): which layer is whose, and how a viewer gets from one to another.
 *
 * The publisher's owner ranks the layers by the pictures' size (where it cannot be read, by
 * bitrate) and says for every choice which log serves it now: the chosen layer while it is on the
 * air, else the next lower one; who chose none gets what fits (layer_fit.c). A viewer follows at a
 * key frame of the other log, between two frames of its own, by a new segment; its numbers go on,
 * and its clock stays where the publisher's sender reports have put it, so lip sync does not move.
 */
#include "feedback/feedback.h"
#include "model/clock.h"
#include "path/path.h"

static const uint64_t SILENT_NS = 500000000, RANK_NS = 100000000, SETTLE_NS = 100000000,
                      SECOND = 1000000000;
enum {
    SAME_MOMENT = 90000 / 20, /* so far behind what was sent a key frame may be */
    STEP = 90                 /* a receiver wants another timestamp for another frame */
};

/* ---- the publisher's owner ---- */

static void set_use(rf_stream *s, int choice, int log) {
    atomic_store_explicit(&s->use[choice], (uint8_t)log, memory_order_relaxed);
}

void rf_layers_reset(rf_stream *s, int layers) {
    for (int i = 0; i <= RF_LAYERS; i++)
        set_use(s, i, layers > 1 ? RF_NO_LOG : RF_VIDEO);
}

static void measure(const rf_ctx *x, rf_track *t) {
    uint64_t bits = rf_read(&t->bytes) * 8;
    if (!t->bits_ns) {
        t->bits_ns = x->now_ns;
    } else if (x->now_ns - t->bits_ns >= SECOND) {
        rf_set(&t->bitrate, (bits - t->bits_seen) * 1000 / ((x->now_ns - t->bits_ns) / 1000000));
        t->bits_ns = x->now_ns;
        t->bits_seen = bits;
    }
}

/* What layers are compared by; pictures' sizes only if all are known. */
static uint64_t weight(const rf_track *t, int by_size) {
    uint32_t size = atomic_load_explicit(&t->size, memory_order_relaxed);
    if (by_size)
        return (uint64_t)(size >> 16) * (size & 0xffff);
    uint64_t rate = rf_read(&t->bitrate);
    return rate ? rate : rf_read(&t->bytes) * 8 - t->bits_seen;
}

void rf_layers_rank(rf_ctx *x, rf_peer *p) {
    rf_pub *pub = p->pub;
    int layers = pub->setup.track[RF_VIDEO].layers, on = 0, by_size = 1, best = 0;
    uint64_t rank[RF_LAYERS];
    uint8_t active[RF_LAYERS];
    if (x->now_ns < pub->next_rank_ns)
        return;
    pub->next_rank_ns = x->now_ns + RANK_NS;
    for (int i = 0; i < layers; i++) {
        const rf_source *s = &pub->source[RF_VIDEO + i];
        rf_track *t = &p->stream->track[RF_VIDEO + i];
        active[i] = s->started && x->now_ns - s->last_media_ns < SILENT_NS;
        on += active[i];
        atomic_store_explicit(&t->active, active[i], memory_order_relaxed);
        measure(x, t);
        if (active[i] && !atomic_load_explicit(&t->size, memory_order_relaxed))
            by_size = 0;
    }
    if (!on || (on < layers && x->now_ns - pub->first_media_ns < SETTLE_NS))
        return;
    for (int i = 0; i < layers; i++) {
        rank[i] = weight(&p->stream->track[RF_VIDEO + i], by_size);
        if (active[i] && (!active[best] || rank[i] > rank[best]))
            best = i;
    }
    set_use(p->stream, 0, RF_VIDEO + best);
    for (int i = 0; i < RF_LAYERS; i++) {
        int stand_in = best;
        for (int n = 0; n < layers && i < layers; n++) {
            if (!active[n])
                continue;
            int lower = rank[n] <= rank[i], held = rank[stand_in] <= rank[i];
            if (lower ? !held || rank[n] > rank[stand_in] : !held && rank[n] < rank[stand_in])
                stand_in = n;
        }
        set_use(p->stream, 1 + i, RF_VIDEO + (i < layers && active[i] ? i : stand_in));
    }
}

/* ---- viewers ---- */

/* The clock offset that a viewer would have in another log: such that a moment keeps its timestamp,
 * where the senders' reports tell which moment is which. */
static uint32_t offset_in(const rf_stream *stream, const rf_view_track_state *s, int log) {
    uint64_t old = atomic_load_explicit(&stream->track[s->log].clock_line, memory_order_relaxed);
    uint64_t new = atomic_load_explicit(&stream->track[log].clock_line, memory_order_relaxed);
    if (!(old & RF_CLOCK_VALID) || !(new &RF_CLOCK_VALID))
        return s->ts_offset;
    return s->ts_offset + (uint32_t)old - (uint32_t) new;
}

static void enter(rf_view_track_state *s, int log) {
    s->log = (uint8_t)log;
    s->open_frame = 0;
    atomic_store_explicit(&s->told_log, s->log, memory_order_relaxed);
}

int rf_layer_follow(rf_ctx *x, const rf_sub *sub, rf_peer *p) {
    rf_view_track_state *s = &p->view->track[RF_VIDEO];
    rf_stream *stream = sub->stream;
    int log =
        atomic_load_explicit(&stream->use[s->choice ? s->choice : s->fit], memory_order_relaxed);
    if (log == s->log)
        return 1;
    if (log >= sub->logs)
        return s->segments > 0;
    if (!s->segments) { /* nothing sent yet: begin there at once */
        enter(s, log);
        s->state = RF_VIEW_NEW;
        return 1;
    }
    rf_track *t = &stream->track[log];
    uint64_t index, seq;
    if (!rf_track_key(t, sub->low[log], &index, &seq) || index >= sub->head[log]) {
        rf_keyframe_want(x, stream, log);
        return 1;
    }
    uint32_t offset = offset_in(stream, s, log);
    int32_t ahead = (int32_t)(rf_track_slot(t, index)->ts + offset - s->last_ts);
    if (ahead < -SAME_MOMENT) {
        rf_keyframe_want(x, stream, log);
        return 1;
    }
    int going_on = atomic_load_explicit(&stream->track[s->log].active, memory_order_relaxed) != 0;
    if (s->open_frame && going_on)
        return 1; /* its frame first */
    rf_egress_flush(x);
    if (x->blocked)
        return 1; /* what comes back must find its log */
    s->ts_offset = ahead > 0 ? offset : offset + (uint32_t)(STEP - ahead);
    enter(s, log);
    rf_count(&p->view->fit.changes, 1);
    rf_count(&x->layer_changes, 1);
    atomic_fetch_add_explicit(&stream->layer_changes, 1, memory_order_relaxed);
    rf_view_from_key(x, p, t, sub->head[log], index, seq);
    return 1;
}
