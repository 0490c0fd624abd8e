/* A peer's RTCP compound, item by item. Already authenticated; still parsed as if hostile. Items of
 * unknown type or format are passed over (RFC 3550 section 6.1). */
#include "base/error.h"
#include "feedback/estimate.h"
#include "feedback/feedback.h"
#include "model/clock.h"

static const uint64_t START_NS = 1000000000u, ARRIVAL_NS = 300000000u;

/* Which of the viewer's tracks sends under this SSRC; -1: none. */
static int track_of(const rf_view *v, uint32_t ssrc) {
    for (int k = 0; k < RF_KINDS; k++)
        if (v->setup.track[k].present && ssrc &&
            (v->setup.track[k].ssrc == ssrc || v->setup.track[k].rtx_ssrc == ssrc))
            return k;
    return -1;
}

/* The round trip that a report tells, which also goes into the smoothed one; 0: none. */
static uint64_t round_trip(rf_ctx *x, rf_peer *p, uint64_t *rtt_ns, const rf_report_block *b) {
    if (!b->lsr)
        return 0;
    uint32_t mid = (uint32_t)(rf_ntp(x->now_ns + x->config->wall_offset_ns) >> 16);
    uint32_t rtt = mid - b->lsr - b->dlsr; /* 1/65536 s */
    if (rtt > 10u << 16)
        return 0; /* a stamp of another clock, or nonsense */
    uint64_t ns = (uint64_t)rtt * 1000000000u >> 16;
    *rtt_ns = *rtt_ns ? (*rtt_ns * 7 + ns) / 8 : ns + 1;
    rf_set(&p->rtt_ns, *rtt_ns);
    return ns + 1;
}

static void reports(rf_ctx *x, rf_peer *p, const rf_rtcp_item *item) {
    rf_report_block b;
    for (int i = 0; i < item->count && rf_rtcp_report(item, i, &b) == RF_OK; i++) {
        if (p->role == RF_PUBLISHER) {
            round_trip(x, p, &p->pub->rtt_ns, &b);
            continue;
        }
        int k = track_of(p->view, b.ssrc);
        if (k < 0 || b.ssrc != p->view->setup.track[k].ssrc)
            continue;
        rf_view_track_state *s = &p->view->track[k];
        atomic_store_explicit(&s->fraction_lost, b.fraction_lost, memory_order_relaxed);
        atomic_store_explicit(&s->cumulative_lost, b.cumulative_lost, memory_order_relaxed);
        atomic_store_explicit(&s->jitter, b.jitter, memory_order_relaxed);
        rf_estimate_report(x, p, k, &b, round_trip(x, p, &p->view->rtt_ns, &b));
    }
}

/* A decoder that is fed from the log asks before it has read what is on its way; not believed until
 * the burst has had time to arrive, for a second at most. What comes later is meant: the start was
 * damaged. */
static int is_starting(const rf_ctx *x, const rf_peer *p) {
    const rf_view_track_state *s = &p->view->track[RF_VIDEO];
    uint64_t started = p->started_ns;
    if (!started || x->now_ns - started >= START_NS)
        return 0;
    return s->state != RF_VIEW_LIVE || x->now_ns - s->live_ns < ARRIVAL_NS;
}

static void key_frame_wish(rf_ctx *x, rf_peer *p, uint32_t ssrc) {
    int k = track_of(p->view, ssrc);
    if (k != RF_VIDEO)
        return;
    rf_count(&p->view->track[k].plis, 1);
    if (is_starting(x, p))
        return;
    rf_keyframe_want(x, p->stream, p->view->track[k].log);
    rf_keyframe_replay(x, p);
}

static void viewer_feedback(rf_ctx *x, rf_peer *p, const rf_rtcp_item *item) {
    uint32_t ssrc;
    uint8_t seq;
    uint64_t bps;
    if (item->type == RF_RTCP_RTPFB && item->count == 1) {
        rf_nack_answer(x, p, item);
    } else if (item->type == RF_RTCP_PSFB && item->count == 1) {
        if (rf_rtcp_pli(item, &ssrc) == RF_OK)
            key_frame_wish(x, p, ssrc);
    } else if (item->type == RF_RTCP_PSFB && item->count == 4) {
        for (int i = 0; rf_rtcp_fir(item, i, &ssrc, &seq) == RF_OK; i++)
            key_frame_wish(x, p, ssrc);
    } else if (item->type == RF_RTCP_PSFB && item->count == 15) {
        if (rf_rtcp_remb(item, &bps) == RF_OK)
            rf_estimate_remb(x, p, bps);
    }
}

void rf_rtcp_in(rf_ctx *x, rf_peer *p, const uint8_t *data, uint32_t len) {
    rf_rtcp_walk walk;
    rf_rtcp_item item;
    if ((p->role == RF_PUBLISHER && !p->pub) || (p->role == RF_VIEWER && !p->view) ||
        rf_rtcp_begin(&walk, data, len) != RF_OK) {
        rf_drop_peer(x, p, RF_DROP_rtcp_malformed);
        return;
    }
    while (rf_rtcp_next(&walk, &item)) {
        rf_sender_info sr;
        if (item.type == RF_RTCP_SR || item.type == RF_RTCP_RR)
            reports(x, p, &item);
        else if (item.type == RF_RTCP_XR)
            rf_xr_note(x, p, &item);
        if (p->role == RF_VIEWER)
            viewer_feedback(x, p, &item);
        else if (item.type == RF_RTCP_SR && rf_rtcp_sender_info(&item, &sr) == RF_OK)
            rf_clock_sr_in(x, p, &sr);
    }
    rf_xr_answer(x, p);
}
