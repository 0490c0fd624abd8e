/* A viewer asks again (RFC 4585 section 6.2.1): the packet is looked up in the log and sent anew,
 * as RTX (RFC 4588) where the viewer negotiated it, else byte for byte on its own SSRC.
 *
 * Bounded per packet (six tries, an RTT apart), per viewer (a share of its rate, larger where its
 * reports tell of loss) and per compound (the slab), so a viewer that asks for everything delays
 * nobody. During a start burst answers wait for the burst's own pace, which gives way: the viewer's
 * link is slower than it. */
#include "base/error.h"
#include "base/seq.h"
#include "feedback/estimate.h"
#include "feedback/feedback.h"
#include "path/path.h"

enum { TRIES = 6, MAX_ASKED = 256, FIRST_TRY = 4, COPIES = 2, MOST_PERCENT = 60 };

typedef struct request {
    rf_view_track_state *state;
    rf_stream *stream;
    int kind;
    int first, end; /* the logs that its packets may be from */
    int pinned;
    uint64_t low[RF_LOGS], head[RF_LOGS];
} request;

/* May this number be sent again now? The place to remember it in, or NULL. */
static rf_resend *gate(const rf_ctx *x, rf_view *v, int kind, uint64_t out) {
    uint64_t name = out << 1 | (uint64_t)kind;
    rf_resend *r = &v->resend[(out + (kind ? 64u : 0u)) & (RF_RESENDS - 1)];
    uint64_t apart = v->rtt_ns > 10000000u ? v->rtt_ns : 10000000u;
    if (r->out_seq != name || x->now_ns - r->at_ns > 10000000000u) {
        r->out_seq = name;
        r->tries = 0;
    } else if (r->tries >= TRIES || x->now_ns - r->at_ns < apart * 9 / 10) {
        return NULL;
    }
    return r;
}

/* Where losses are not our doing, and copies would not add to them. */
static int takes_copies(const rf_ctx *x, const rf_peer *p) {
    return rf_estimate_is_lossy(x, p->view) && !p->view->way.bps &&
           p->view->track[RF_VIDEO].thin == RF_THIN_ALL;
}

/* What is lost is lost again: copies, second tries and packets asked for in vain come to several
 * times the share that is lost. */
static uint64_t percent(const rf_ctx *x, const rf_peer *p) {
    uint64_t lost = p->view->way.percent;
    uint64_t most =
        x->config->resend_percent > MOST_PERCENT ? x->config->resend_percent : MOST_PERCENT;
    uint64_t wanted = x->config->resend_percent;
    if (takes_copies(x, p))
        wanted += (2u + COPIES) * (lost > 2 ? lost : 2);
    return wanted < most ? wanted : most;
}

/* A share of the stream's rate, never less than 30 kB/s, with room for what a start burst loses on
 * a link that is slower than it. Sending a packet for the first time again costs a quarter: most
 * repairs need no more, and where a link reorders, viewers ask for much that is only late. Without
 * that, needless answers starve the needed ones. */
static int afford(rf_ctx *x, rf_peer *p, const rf_track *t, size_t bytes, int copy) {
    uint64_t age_ms = (x->now_ns - p->started_ns) / 1000000u + 1000;
    uint64_t rate = rf_read(&p->view->track[t->kind].bytes) * 1000 / age_ms;
    rate = rate * percent(x, p) / 100;
    if (rate < 30000)
        rate = 30000;
    uint64_t burst = rate * 2 + 400000, way = p->view->way.bps / 8;
    if (way && way / 8 < rate) { /* too narrow for the stream: more of it would make it worse */
        if (t->kind == RF_VIDEO && x->now_ns < p->view->way.drain_ns)
            return 0;
        rate = way / 8;
        burst = way / 8 + 3000;
    }
    if (copy && p->view->resend_budget.tokens < burst / 2)
        return 0; /* answers first */
    return rf_bucket_take(&p->view->resend_budget, rate, burst, bytes, x->now_ns);
}

static const rf_segment *segment_of(const rf_view_track_state *s, uint64_t out,
                                    uint64_t *stream_seq) {
    for (int i = s->segments - 1; i >= 0; i--) {
        if (s->segment[i].first_out > out)
            continue;
        *stream_seq = s->segment[i].first_stream + (out - s->segment[i].first_out);
        return &s->segment[i];
    }
    return NULL;
}

static void resend(rf_ctx *x, rf_peer *p, const request *r, uint64_t index, const rf_segment *g,
                   uint64_t out) {
    const rf_view_track *setup = &p->view->setup.track[r->kind];
    rf_track *track = &r->stream->track[g->log];
    const rf_slot *slot = rf_track_slot(track, index);
    uint8_t format = slot->format & (RF_MAX_FORMATS - 1);
    uint8_t pt = setup->pt_of_format[format], rtx_pt = setup->rtx_pt_of_format[format];
    const uint8_t *payload = rf_view_payload(p->view, track, index, slot);
    uint8_t *dst = rf_egress_room(x);
    if (!dst) {
        rf_egress_flush(x);
        dst = rf_egress_room(x);
    }
    if (!dst || x->blocked || pt == RF_NO_PT || !payload)
        return;
    uint64_t number = out;
    size_t len = slot->payload_len;
    rf_head head;
    if (setup->rtx_ssrc && rtx_pt != RF_NO_PT) {
        number = r->state->rtx_seq++;
        head = rf_rewrite_rtx(p, track, index, g, out, rtx_pt, number, dst);
        len -= slot->padding;
    } else {
        head = rf_rewrite(p, track, index, g, out, pt, dst);
    }
    rf_egress_add(x, p, r->kind, RF_NO_PIN, 0, head, number - RF_OUT_ORIGIN, payload, len);
    rf_count(&r->state->resent, 1);
    rf_count(&r->state->resent_bytes, head.total + len);
}

static int prepare(rf_peer *p, uint32_t ssrc, request *r) {
    for (r->kind = 0; r->kind < RF_KINDS; r->kind++) {
        const rf_view_track *setup = &p->view->setup.track[r->kind];
        if (setup->present && setup->nack && setup->ssrc == ssrc) {
            r->state = &p->view->track[r->kind];
            r->stream = p->stream;
            r->first = r->kind;
            r->end = r->kind == RF_AUDIO ? RF_AUDIO + 1 : rf_stream_logs(p->stream);
            return 1;
        }
    }
    return 0;
}

static void pin(rf_ctx *x, request *r) {
    r->pinned = r->stream->owner != x->worker;
    for (int i = r->first; i < r->end; i++) {
        rf_track *t = &r->stream->track[i];
        if (r->pinned) {
            r->low[i] = rf_track_pin(t, x->worker, &r->head[i]);
        } else {
            r->head[i] = atomic_load_explicit(&t->head, memory_order_relaxed);
            r->low[i] = rf_track_low(t, r->head[i]);
        }
    }
}

static void unpin(const rf_ctx *x, const request *r) {
    for (int i = r->first; r->pinned && i < r->end; i++)
        rf_track_unpin(&r->stream->track[i], x->worker);
}

/* The slot that went out under this number, or RF_NO_PIN. */
static uint64_t find(const request *r, uint64_t out, const rf_segment **of) {
    uint64_t stream_seq = 0, index = RF_NO_PIN;
    const rf_segment *g = *of = segment_of(r->state, out, &stream_seq);
    if (g && out < r->state->next_out)
        index =
            rf_track_find(&r->stream->track[g->log], stream_seq, r->low[g->log], r->head[g->log]);
    /* In the log that it has left everything may be sent: it will get no more from there. */
    if (index != RF_NO_PIN && g->log == r->state->log && index >= r->state->cursor)
        return RF_NO_PIN;
    return index;
}

/* What a start burst lost waits for its turn in the burst's pace, or it would be lost again. */
static int must_wait(rf_ctx *x, rf_peer *p, const request *r, size_t bytes) {
    return rf_view_is_catching_up(x, p->view, r->kind) && !rf_view_may_pace(x, p->view, bytes);
}

static void one(rf_ctx *x, rf_peer *p, const request *r, uint16_t seq) {
    rf_count(&r->state->nacks, 1);
    uint64_t out = rf_seq_unwrap(r->state->next_out, seq);
    const rf_segment *g;
    uint64_t index = find(r, out, &g);
    if (index == RF_NO_PIN) {
        rf_drop_peer(x, p, RF_DROP_nack_unknown);
        return;
    }
    const rf_track *track = &r->stream->track[g->log];
    size_t bytes = rf_track_slot(track, index)->payload_len + 40u;
    rf_resend *place = gate(x, p->view, r->kind, out);
    if (!place) {
        rf_drop_peer(x, p, RF_DROP_nack_gated);
        return;
    }
    if (!afford(x, p, track, place->tries ? bytes : bytes / FIRST_TRY, 0)) {
        rf_drop_peer(x, p, RF_DROP_nack_budget);
        return;
    }
    place->tries++;
    place->at_ns = x->now_ns;
    if (must_wait(x, p, r, bytes)) {
        rf_again_later(x, p, r->kind, out, 0);
        return;
    }
    resend(x, p, r, index, g, out);
    if (p->view->setup.track[r->kind].rtx_ssrc && takes_copies(x, p))
        rf_again_later(x, p, r->kind, out, COPIES);
}

void rf_nack_copy(rf_ctx *x, rf_peer *p, int kind, uint64_t out_seq, int copies) {
    request r;
    const rf_segment *g;
    if (!prepare(p, p->view->setup.track[kind].ssrc, &r))
        return;
    pin(x, &r);
    uint64_t index = find(&r, out_seq, &g);
    if (index != RF_NO_PIN) {
        const rf_track *track = &r.stream->track[g->log];
        size_t bytes = rf_track_slot(track, index)->payload_len + 40u;
        if (must_wait(x, p, &r, bytes)) {
            rf_again_later(x, p, kind, out_seq, copies);
        } else if (!copies || afford(x, p, track, bytes, 1)) {
            resend(x, p, &r, index, g, out_seq);
            if (copies > 1)
                rf_again_later(x, p, kind, out_seq, copies - 1);
        }
    }
    if (r.pinned)
        rf_egress_flush(x);
    unpin(x, &r);
}

size_t rf_nack_probe(rf_ctx *x, rf_peer *p, size_t bytes) {
    const rf_view_track *setup = &p->view->setup.track[RF_VIDEO];
    request r;
    size_t sent = 0;
    if (!setup->rtx_ssrc || !p->has_path || !prepare(p, setup->ssrc, &r))
        return 0;
    pin(x, &r);
    for (uint64_t back = 1; back <= RF_RESENDS && sent < bytes; back++) {
        const rf_segment *g;
        uint64_t before = rf_read(&r.state->resent_bytes), out = r.state->next_out - back;
        uint64_t index = find(&r, out, &g);
        if (index == RF_NO_PIN)
            continue;
        resend(x, p, &r, index, g, out);
        sent += rf_read(&r.state->resent_bytes) - before;
    }
    rf_egress_flush(x);
    unpin(x, &r);
    return sent;
}

void rf_nack_answer(rf_ctx *x, rf_peer *p, const rf_rtcp_item *item) {
    request r;
    uint32_t ssrc;
    int pairs;
    if (rf_rtcp_nack(item, &ssrc, &pairs) != RF_OK || !p->has_path || !prepare(p, ssrc, &r))
        return;
    pin(x, &r);
    int asked = 0;
    for (int i = 0; i < pairs && asked < MAX_ASKED; i++) {
        uint16_t pid, blp;
        rf_rtcp_nack_pair(item, i, &pid, &blp);
        one(x, p, &r, pid);
        asked++;
        for (int bit = 0; bit < 16; bit++) {
            if (!(blp >> bit & 1))
                continue;
            one(x, p, &r, (uint16_t)(pid + bit + 1));
            asked++;
        }
    }
    rf_egress_flush(x);
    unpin(x, &r);
    if (rf_view_is_catching_up(x, p->view, r.kind))
        rf_view_slow_down(x, p->view, asked);
}
