/* What a viewer is told to wait for before it shows a picture (playout-delay, an experimental
 * extension of WebRTC): none at the start, so that the backlog is shown at once; then no more than
 * its own jitter buffer wants, and no limit upwards: with a limit of 0 a browser cannot hold the
 * picture back for a sound that comes later (lip sync).
 *
 * A viewer that loses packets is told a minimum: most browsers do not learn the round trip of a
 * session that only receives and ask again 100 ms later, so a packet whose repair is lost, too,
 * comes RETRIES later than its neighbours. Who waits that long from the beginning shows no gap. In
 * steps, half a second apart: one large one would be the very freeze that it is to prevent.
 *
 * Told in the first packets of a segment of its own with the numbers of the one before it, so that
 * a packet stays a function of its slot and segment. */
#include "feedback/estimate.h"
#include "feedback/feedback.h"
#include "wire/hdrext.h"

static const uint64_t SETTLED_NS = 1000000000u, STEP_NS = 500000000u;
/* units of the extension: 10 ms */
enum { RETRIES = 30, MOST = 60, STEP_UP = 10, STEP_DOWN = 5, SAME = 5 };

/* A segment that goes on with the newest one's numbers. 0: not now. */
static int tell(rf_view_track_state *s, uint16_t delay) {
    const rf_segment *last = &s->segment[s->segments - 1];
    if (s->jump || (last->greets && s->next_out - last->first_out < RF_GREETING))
        return 0;
    rf_segment next = *last;
    next.first_out = s->next_out;
    next.first_stream = last->first_stream + (s->next_out - last->first_out);
    next.greets = 1;
    next.delay = delay | RF_DELAY_FREE;
    *rf_segment_new(s) = next;
    return 1;
}

/* The minimum that it should come to. */
static uint16_t wanted(const rf_ctx *x, const rf_view *v) {
    uint64_t all = v->rtt_ns / 10000000u + RETRIES;
    return !rf_estimate_is_lossy(x, v) ? 0 : all < MOST ? (uint16_t)all : MOST;
}

void rf_playout_tick(rf_ctx *x, rf_peer *p) {
    rf_view *v = p->view;
    rf_view_track_state *s = &v->track[RF_VIDEO];
    if (!v->setup.start_playout_delay || v->setup.playout_fixed ||
        !v->setup.ext_id_of[RF_EXT_PLAYOUT_DELAY] ||
        (s->state != RF_VIEW_LIVE && s->state != RF_VIEW_THIN) || !s->segments ||
        x->now_ns - s->live_ns < SETTLED_NS)
        return;
    uint16_t told = s->segment[s->segments - 1].delay;
    uint16_t now = told & (uint16_t)~RF_DELAY_FREE;
    uint16_t want = wanted(x, v);
    int differs = want > now ? want - now : now - want;
    int same = want == now || (want && differs < SAME); /* the round trip breathes */
    if (told & RF_DELAY_FREE && (same || x->now_ns - v->delay_told_ns < STEP_NS))
        return;
    uint16_t up = now + STEP_UP, down = now > STEP_DOWN ? (uint16_t)(now - STEP_DOWN) : 0;
    if (tell(s, want > up ? up : want < down ? down : want))
        v->delay_told_ns = x->now_ns;
}
