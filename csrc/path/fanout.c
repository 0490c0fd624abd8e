/* Stage 6: viewer outer, packet inner. Each viewer's new packets, audio before video, are laid one
 * behind the other into the slab; egress finds the runs. A pass over a stream's viewers may stop at
 * the deadline or at a full socket; cursors say where each viewer stands, `resume` who is next. */
#include <stddef.h>
#include <stdlib.h>

#include "base/error.h"
#include "path/path.h"

enum { PACKETS_A_TURN = 16, AHEAD = 5 };

/* ---- who watches what ---- */

rf_sub *rf_sub_of(rf_ctx *x, const rf_stream *s) {
    for (uint32_t i = 0; i < x->sub_count; i++)
        if (x->subs[i].stream == s)
            return &x->subs[i];
    return NULL;
}

static rf_sub *sub_open(rf_ctx *x, rf_stream *s) {
    if (x->sub_count == x->config->max_streams)
        return NULL;
    rf_sub *sub = &x->subs[x->sub_count++];
    memset(sub, 0, sizeof *sub);
    sub->stream = s;
    atomic_fetch_or_explicit(&s->subscribers, 1ull << x->worker, memory_order_seq_cst);
    return sub;
}

static void sub_close(rf_ctx *x, rf_sub *sub) {
    atomic_fetch_and_explicit(&sub->stream->subscribers, ~(1ull << x->worker),
                              memory_order_seq_cst);
    free(sub->viewers);
    *sub = x->subs[--x->sub_count];
}

int rf_sub_add(rf_ctx *x, rf_peer *viewer) {
    rf_sub *sub = rf_sub_of(x, viewer->stream);
    if (!sub && !(sub = sub_open(x, viewer->stream)))
        return RF_EFULL;
    if (sub->count == sub->cap) {
        uint32_t cap = sub->cap ? sub->cap * 2 : 16;
        rf_seat *more = realloc(sub->viewers, cap * sizeof *more);
        if (!more) {
            if (!sub->count) /* opened for nothing: the stream may go away before anybody watches */
                sub_close(x, sub);
            return RF_ENOMEM;
        }
        sub->viewers = more;
        sub->cap = cap;
    }
    viewer->view->position = sub->count;
    sub->viewers[sub->count++] = (rf_seat){viewer, viewer->view, viewer->key.schedule};
    sub->pending = 1;
    atomic_fetch_add_explicit(&viewer->stream->viewers, 1, memory_order_relaxed);
    return RF_OK;
}

void rf_sub_remove(rf_ctx *x, rf_peer *viewer) {
    rf_sub *sub = rf_sub_of(x, viewer->stream);
    uint32_t at = viewer->view->position;
    if (!sub || at >= sub->count || sub->viewers[at].peer != viewer)
        return;
    sub->viewers[at] = sub->viewers[--sub->count];
    sub->viewers[at].peer->view->position = at;
    atomic_fetch_sub_explicit(&viewer->stream->viewers, 1, memory_order_relaxed);
    if (!sub->count)
        sub_close(x, sub);
}

/* ---- one packet ---- */

static rf_segment *segment_for(rf_view_track_state *s, const rf_slot *slot) {
    if (!s->jump) {
        rf_segment *g = &s->segment[s->segments - 1];
        while (slot->stream_seq < g->first_stream && g > s->segment)
            g--; /* late: in the segment in which a resend would find it, down to the cut */
        return g;
    }
    rf_segment *g = rf_segment_new(s);
    g->greets = s->cut == 0;
    g->delay = s->segments > 1 ? g[-1].delay : 0;
    g->log = s->log;
    g->ts_offset = s->ts_offset;
    g->first_out = s->next_out;
    /* jump_seq may be of a newer key frame than the index read with it (see rf_track_key). It must
     * never lie above the packet: numbers would go back over those already given. */
    g->first_stream =
        s->has_jump_seq && s->jump_seq < slot->stream_seq ? s->jump_seq : slot->stream_seq;
    s->cut = g->first_stream;
    s->jump = 0;
    s->has_jump_seq = 0;
    return g;
}

/* Before a jump all that was laid must have left: at a full socket packets come back to their
 * cursor, and must find the segment in which they were numbered. 1: so it is. */
static int settled(rf_ctx *x) {
    rf_egress_flush(x);
    return !x->blocked;
}

/* 1: laid into the slab; 0: passed over; RF_ENOSPC: the slab is full, or the socket. */
static int lay(rf_ctx *x, rf_peer *p, rf_track *t, uint64_t index) {
    rf_view_track_state *s = &p->view->track[t->kind];
    const rf_slot *slot = rf_track_slot(t, index);
    uint8_t pt = s->pt_of_format[slot->format & (RF_MAX_FORMATS - 1)];
    const uint8_t *payload = rf_view_payload(p->view, t, index, slot);
    if (pt == RF_NO_PT || !payload) {
        if (!s->jump && !settled(x))
            return RF_ENOSPC;
        rf_drop_peer(x, p, RF_DROP_viewer_no_format);
        rf_count(&s->skipped, 1);
        s->jump = 1;
        s->has_jump_seq = 0;
        return 0;
    }
    if (!s->jump && slot->stream_seq < s->cut) {
        rf_count(&s->skipped, 1);
        return 0;
    }
    uint8_t *dst = rf_egress_room(x);
    if (!dst)
        return RF_ENOSPC;
    const rf_segment *g = segment_for(s, slot);
    uint64_t out = g->first_out + (slot->stream_seq - g->first_stream);
    if (out >= s->next_out) {
        s->next_out = out + 1;
        s->last_ts = slot->ts + g->ts_offset;
        s->open_frame = !slot->marker;
    }
    rf_head head = rf_rewrite(p, t, index, g, out, pt, dst);
    uint64_t arrival_ns = s->state == RF_VIEW_LIVE ? slot->arrival_ns : 0;
    rf_egress_add(x, p, t->kind, index, arrival_ns, head, out - RF_OUT_ORIGIN, payload,
                  slot->payload_len);
    rf_count(&s->packets, 1);
    rf_count(&s->bytes, head.total + slot->payload_len);
    rf_count(&s->octets, (uint64_t)slot->payload_len - slot->padding);
    return 1;
}

/* ---- one viewer ---- */

/* 1 when the viewer has more to get, 0 when it is at the head, RF_ENOSPC when the slab is full. */
static int feed(rf_ctx *x, rf_sub *sub, rf_peer *p, int kind, int *quota) {
    rf_view_track_state *s = &p->view->track[kind];
    if (sub->logs > RF_KINDS && kind == RF_VIDEO && !rf_layer_follow(x, sub, p))
        return 0;
    rf_track *t = &sub->stream->track[s->log];
    uint64_t head = sub->head[s->log];
    if (s->state == RF_VIEW_LIVE && s->cursor == head)
        return 0;
    if (!rf_view_begin(x, p, t, kind, sub->low[s->log], head))
        return 0;
    if (p->leg)
        rf_leg_resumed(p, kind);
    while (s->cursor < head) {
        const rf_slot *slot = rf_track_slot(t, s->cursor);
        int late = !s->jump && slot->stream_seq < s->cut; /* of an older frame: passed over */
        if (s->state == RF_VIEW_POSTER && slot->ts != s->poster_ts && !late) {
            if (!settled(x))
                return RF_ENOSPC;
            s->state = RF_VIEW_WAIT;
            s->wait_index = s->cursor;
            s->jump = 1;
            return 0;
        }
        if (*quota == 0)
            return 1;
        if (s->state == RF_VIEW_BURST && !rf_view_may_pace(x, p->view, slot->payload_len)) {
            x->pacing = 1;
            return 1;
        }
        enum rf_admission may = p->leg                     ? rf_leg_admit(x, p, kind, slot)
                                : s->state == RF_VIEW_THIN ? rf_thin_admit(x, p, t, slot, head)
                                                           : RF_LEG_GO;
        if (may != RF_LEG_GO) {
            if (may == RF_LEG_WAIT)
                return 0;
            if (!settled(x))
                return RF_ENOSPC;
            if (may == RF_LEG_SKIP) {
                if (p->leg)
                    rf_leg_skip(x, p, kind, head);
                else
                    rf_thin_skip(x, p);
                return 1;
            }
            rf_thin_pass(p, slot);
            s->cursor++;
            continue;
        }
        int rc = lay(x, p, t, s->cursor);
        if (rc == RF_ENOSPC)
            return rc;
        s->cursor++;
        *quota -= rc;
    }
    if (s->state == RF_VIEW_BURST) {
        s->state = RF_VIEW_LIVE;
        s->live_ns = x->now_ns;
    }
    return 0;
}

static int feed_viewer(rf_ctx *x, rf_sub *sub, rf_peer *p) {
    int quota = PACKETS_A_TURN, more = 0;
    rf_view *v = p->view;
    for (int kind = RF_AUDIO; kind < RF_KINDS; kind++) {
        if (!v->track[kind].present)
            continue;
        int rc = feed(x, sub, p, kind, &quota);
        rf_set(&v->track[kind].told_cursor, v->track[kind].cursor);
        if (rc < 0)
            return rc;
        more |= rc;
    }
    if (quota < PACKETS_A_TURN && !p->started_ns) {
        p->started_ns = x->now_ns;
        rf_set(&p->first_media_ns, x->now_ns);
        atomic_fetch_or_explicit(&p->stat_flags, 4, memory_order_relaxed);
    }
    return more;
}

/* ---- one stream ---- */

static int nothing_new(rf_ctx *x, rf_sub *sub) {
    int fresh = sub->pending;
    int pin = sub->stream->owner != x->worker;
    sub->logs = rf_stream_logs(sub->stream);
    for (int k = 0; k < sub->logs && !fresh; k++)
        fresh =
            atomic_load_explicit(&sub->stream->track[k].head, memory_order_acquire) != sub->seen[k];
    if (!fresh)
        return 1;
    for (int k = 0; k < sub->logs; k++) {
        rf_track *t = &sub->stream->track[k];
        if (pin) {
            sub->low[k] = rf_track_pin(t, x->worker, &sub->head[k]);
        } else {
            sub->head[k] = atomic_load_explicit(&t->head, memory_order_relaxed);
            sub->low[k] = rf_track_low(t, sub->head[k]);
        }
    }
    return 0;
}

static void pass_end(rf_ctx *x, rf_sub *sub) {
    rf_egress_flush(x);
    if (sub->stream->owner != x->worker)
        for (int k = 0; k < sub->logs; k++)
            rf_track_unpin(&sub->stream->track[k], x->worker);
    for (int k = 0; k < sub->logs; k++)
        sub->seen[k] = sub->head[k];
}

/* The viewers' states lie all over the heap, further away than the work on one viewer lasts: those
 * of a viewer some places on are asked for while this one is served. */
static void ask_ahead(const rf_ctx *x, const rf_sub *sub, uint32_t at) {
    uint32_t next = at + AHEAD;
    if (next >= sub->count) {
        next -= sub->count;
        if (next >= sub->count)
            return; /* so few that all of them stay near */
    }
    const rf_seat *seat = &sub->viewers[next];
    const char *peer = (const char *)seat->peer;
    __builtin_prefetch(peer);
    __builtin_prefetch(peer + 64);
    for (int k = 0; k < RF_KINDS; k++) {
        const char *track = (const char *)&seat->view->track[k];
        __builtin_prefetch(track, 1);
        __builtin_prefetch(track + 64, 1);
    }
    if (seat->schedule)
        x->srtp.ask(seat->schedule, sub->head[RF_VIDEO] != sub->seen[RF_VIDEO]);
}

/* 1: stopped before every viewer was served. */
static int pass(rf_ctx *x, rf_sub *sub, uint64_t deadline_ns) {
    if (nothing_new(x, sub))
        return 0;
    uint32_t at = sub->resume < sub->count ? sub->resume : 0;
    int more = 0, stopped = 0;
    x->stalled = 0;
    for (uint32_t served = 0; served < sub->count && !stopped;) {
        ask_ahead(x, sub, at);
        int rc = feed_viewer(x, sub, sub->viewers[at].peer);
        if (rc == RF_ENOSPC) { /* flush, and let the same viewer go on */
            rf_egress_flush(x);
            stopped = x->blocked || rf_clock_now(x) >= deadline_ns;
            continue;
        }
        more |= rc;
        at = at + 1 == sub->count ? 0 : at + 1;
        served++;
    }
    sub->resume = at;
    pass_end(x, sub);
    sub->pending = (uint8_t)(more || stopped || x->blocked || x->stalled);
    return stopped || (more && !x->pacing);
}

int rf_fanout(rf_ctx *x, uint64_t deadline_ns) {
    int more = 0;
    x->pacing = 0;
    if (x->blocked)
        return 0;
    for (uint32_t i = 0; i < x->sub_count && !x->blocked; i++) {
        rf_sub *sub = &x->subs[(x->sub_resume + i) % x->sub_count];
        if (pass(x, sub, deadline_ns)) {
            more = 1;
            if (x->blocked || rf_clock_now(x) >= deadline_ns) {
                x->sub_resume = (x->sub_resume + i + 1) % x->sub_count; /* the next one's turn */
                break;
            }
        }
    }
    return more && !x->blocked;
}
