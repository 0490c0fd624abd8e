/* Where a viewer begins, and where it goes on after it fell behind.
 *
 * Video starts at the newest key frame in the log, with original timestamps (receivers catch up by
 * themselves), paced; so a publisher that never answers a key-frame request still gives every
 * viewer a picture at once. Where that backlog is too long, the key frame alone is sent as a poster
 * and the viewer goes on from the next one. Audio starts at the live edge. */
#include "feedback/feedback.h"
#include "path/path.h"

enum { PACE_BURST = 16 * 1024, SLOWEST = 3, MANY = 8 };
static const uint64_t REPAIRS_NS = 300000000, SLOWING_NS = 50000000, TRUST_NS = 10000000000u;

int rf_view_is_catching_up(const rf_ctx *x, const rf_view *v, int kind) {
    const rf_view_track_state *s = &v->track[kind];
    if (v->way.bps)
        return 0; /* what it gets is bounded by its way already */
    return s->state == RF_VIEW_BURST || (s->live_ns && x->now_ns - s->live_ns < REPAIRS_NS);
}

int rf_view_may_pace(const rf_ctx *x, rf_view *v, size_t bytes) {
    uint64_t rate = (x->config->start_pace_bps / 8) >> v->slower;
    return rf_bucket_take(&v->pace, rate, PACE_BURST, bytes, x->now_ns);
}

void rf_view_slow_down(const rf_ctx *x, rf_view *v, int lost) {
    uint64_t apart = v->rtt_ns > SLOWING_NS ? v->rtt_ns : SLOWING_NS;
    if (v->slower == SLOWEST || x->now_ns - v->slowed_ns < apart)
        return; /* what was lost since then was sent before */
    v->slower = (uint8_t)(v->slower + (lost >= MANY ? 2 : 1));
    if (v->slower > SLOWEST)
        v->slower = SLOWEST;
    v->slowed_ns = x->now_ns;
}

static void wait_for_key(rf_ctx *x, rf_view_track_state *s, rf_stream *stream, uint64_t index) {
    s->state = RF_VIEW_WAIT;
    s->wait_index = index;
    s->jump = 1;
    s->has_jump_seq = 0;
    rf_keyframe_want(x, stream, s->log);
}

int rf_view_is_far(const rf_ctx *x, const rf_track *t, uint64_t index, uint64_t head) {
    const rf_slot *key = rf_track_slot(t, index);
    uint64_t bytes = rf_track_slot(t, head - 1)->total_bytes - key->total_bytes;
    uint64_t age = x->now_ns > key->arrival_ns ? x->now_ns - key->arrival_ns : 0;
    uint64_t interval = atomic_load_explicit(&t->key_interval_ns, memory_order_relaxed);
    uint64_t burst_ns = bytes * 8000 / (x->config->start_pace_bps / 1000000 + 1);
    return bytes > x->config->start_max_bytes || age > x->config->start_max_ns ||
           (interval > age && interval - age < burst_ns);
}

void rf_view_from_key(rf_ctx *x, rf_peer *p, rf_track *t, uint64_t head, uint64_t index,
                      uint64_t seq) {
    rf_view_track_state *s = &p->view->track[t->kind];
    const rf_slot *key = rf_track_slot(t, index);
    if (x->now_ns - p->view->slowed_ns > TRUST_NS)
        p->view->slower = 0;
    s->cursor = index;
    s->jump = 1;
    s->has_jump_seq = 1;
    s->jump_seq = seq;
    s->state = RF_VIEW_BURST;
    if (s->thin) {
        rf_thin_resumed(x, p, index);
        s->poster_ts = key->ts;
        s->state = RF_VIEW_THIN;
    } else if (rf_view_is_far(x, t, index, head)) {
        s->state = RF_VIEW_POSTER;
        s->poster_ts = key->ts;
        if (!rf_is_patient(x, p))
            rf_keyframe_want(x, p->stream, t->log);
    }
}

int rf_view_anew(rf_ctx *x, rf_peer *p) {
    rf_view_track_state *s = &p->view->track[RF_VIDEO];
    rf_egress_flush(x);
    if (x->blocked)
        return 0; /* what comes back must find its segment */
    s->state = RF_VIEW_NEW;
    s->jump = 1;
    s->has_jump_seq = 0;
    rf_sub *sub = rf_sub_of(x, p->stream);
    if (sub)
        sub->pending = 1;
    return 1;
}

/* No segment is left, so that no packet is sent again under another type than it had. */
void rf_view_retype(rf_ctx *x, rf_peer *p) {
    rf_retype *r = &p->view->retype;
    rf_view_track_state *s = &p->view->track[RF_VIDEO];
    rf_view_track *setup = &p->view->setup.track[RF_VIDEO];
    if (!r->wanted || (s->segments && !rf_view_anew(x, p)))
        return;
    r->wanted = 0;
    setup->pt_of_format[r->format] = s->pt_of_format[r->format] = r->pt;
    setup->rtx_pt_of_format[r->format] = r->rtx_pt;
    s->segments = 0;
    s->cut = 0;
}

static int begin_video(rf_ctx *x, rf_peer *p, rf_track *t, uint64_t low, uint64_t head) {
    rf_view_track_state *s = &p->view->track[t->kind];
    uint64_t index, seq;
    if (s->state == RF_VIEW_WAIT && s->thin == RF_THIN_PAUSED)
        return 0;
    uint64_t from = s->state == RF_VIEW_WAIT && s->wait_index > low ? s->wait_index : low;
    if (head > 0 && rf_track_key(t, from, &index, &seq) && index < head) {
        rf_view_from_key(x, p, t, head, index, seq);
        return 1;
    }
    uint32_t codec = atomic_load_explicit(&t->codec, memory_order_relaxed);
    if (head > 0 && codec == 0) { /* a codec whose key frames we cannot see: the live edge */
        s->cursor = s->state == RF_VIEW_WAIT ? from : head;
        s->jump = 1;
        s->state = RF_VIEW_LIVE; /* never thinned: where it could go on is not known */
        return 1;
    }
    if (s->state == RF_VIEW_WAIT)
        return 0;
    wait_for_key(x, s, p->stream, head);
    return 0;
}

int rf_view_begin(rf_ctx *x, rf_peer *p, rf_track *t, int kind, uint64_t low, uint64_t head) {
    rf_view_track_state *s = &p->view->track[kind];
    switch (s->state) {
    case RF_VIEW_NEW:
        if (kind == RF_VIDEO)
            return begin_video(x, p, t, low, head);
        s->cursor = head;
        s->jump = 1;
        s->state = RF_VIEW_LIVE;
        return 1;
    case RF_VIEW_WAIT:
        return begin_video(x, p, t, low, head);
    default:
        break;
    }
    if (s->cursor >= low)
        return 1;
    rf_drop_peer(x, p, RF_DROP_viewer_lapped);
    rf_count(&s->skipped, head - s->cursor);
    s->jump = 1;
    if (kind == RF_VIDEO) {
        s->state = RF_VIEW_NEW;
        return begin_video(x, p, t, low, head);
    }
    s->cursor = head;
    return 1;
}
