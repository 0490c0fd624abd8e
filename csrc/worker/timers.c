/* What is due without a packet. A tick every 5 ms serves each publisher (NACKs, key-frame requests,
 * reports, silence) and a slice of all peers (sender reports, idle peers), so that a peer is looked
 * at about twice a second, and no tick is long. */
#include "feedback/estimate.h"
#include "feedback/feedback.h"
#include "path/path.h"
#include "worker/worker.h"

static const uint64_t TICK_NS = 5000000, SILENT_NS = 3000000000u, IDLE_NS = 30000000000u,
                      IDLE_AGAIN_NS = 10000000000u;
enum { TICKS_A_ROUND = 100 };

static void publisher(rf_ctx *x, rf_peer *p) {
    rf_pub *pub = p->pub;
    for (int i = 0; i < RF_LOGS; i++) {
        if (pub->source[i].gaps)
            rf_gaps_ask(x, p, i);
        if (pub->source[i].held)
            rf_keyframe_want(x, p->stream, i);
    }
    if (pub->setup.track[RF_VIDEO].layers > 1)
        rf_layers_rank(x, p);
    rf_keyframe_ask(x, p);
    rf_report_publisher(x, p);
    rf_twcc_report(x, p);
    rf_xr_answer(x, p);
    rf_clock_tick(x, p);
    if (pub->first_media_ns && !pub->silent && x->now_ns - pub->last_media_ns >= SILENT_NS) {
        pub->silent = 1;
        for (int i = 0; i < rf_stream_logs(p->stream); i++)
            atomic_store_explicit(&p->stream->track[i].active, 0, memory_order_relaxed);
        rf_notify(x, RF_EVENT_PUBLISHER_SILENT, 0, p, p->stream, NULL, 0, 0);
    }
}

/* A viewer that waits for a key frame, of a track on the air that has none for it. */
static int waits_in_vain(const rf_ctx *x, const rf_peer *p) {
    const rf_view_track_state *s = &p->view->track[RF_VIDEO];
    const rf_track *t = &p->stream->track[s->log];
    return s->state == RF_VIEW_WAIT && !rf_is_patient(x, p) &&
           atomic_load_explicit(&t->active, memory_order_relaxed) &&
           atomic_load_explicit(&t->key_start, memory_order_relaxed) <= s->wait_index;
}

static void look_after(rf_ctx *x, rf_peer *p) {
    if (p->view && p->view->position != UINT32_MAX) {
        rf_report_viewer(x, p);
        rf_view_retype(x, p);
        rf_xr_answer(x, p);
        rf_layer_fit(x, p);
        rf_playout_tick(x, p);
        rf_breaker_watch(x, p);
        rf_leg_watch(x, p);
        if (p->view->track[RF_VIDEO].state == RF_VIEW_THIN)
            rf_sub_of(x, p->stream)->pending = 1; /* no packet came that would give it a turn */
        if (waits_in_vain(x, p))
            rf_keyframe_want(x, p->stream, p->view->track[RF_VIDEO].log);
    }
    uint64_t since = p->idle_told_ns > p->last_heard_ns ? p->idle_told_ns : p->last_heard_ns;
    uint64_t allowed = p->idle_told_ns > p->last_heard_ns ? IDLE_AGAIN_NS : IDLE_NS;
    if (x->now_ns - since >= allowed) {
        p->idle_told_ns = x->now_ns;
        rf_notify(x, RF_EVENT_PEER_IDLE, 0, p, p->stream, NULL, 0, 0);
    }
}

void rf_timers(rf_ctx *x) {
    if (x->now_ns < x->next_tick_ns)
        return;
    x->next_tick_ns = x->now_ns + TICK_NS;
    for (uint32_t i = 0; i < x->pub_count; i++)
        publisher(x, x->pubs[i]);
    rf_again_now(x);
    uint32_t slice = (x->own_count + TICKS_A_ROUND - 1) / TICKS_A_ROUND;
    for (uint32_t i = 0; i < slice && x->own_count; i++) {
        if (x->own_next >= x->own_count)
            x->own_next = 0;
        look_after(x, x->own[x->own_next++]);
    }
}

uint64_t rf_timers_next(rf_ctx *x) {
    if (x->pacing)
        return 1000000;
    if (x->own_count == 0)
        return 1000000000u;
    return x->next_tick_ns > x->now_ns ? x->next_tick_ns - x->now_ns : 0;
}
