/* The circuit breaker of RTP sessions (RFC 8083, required by RFC 8834 section 7): the last resort,
 * where a viewer's reports fail or tell that what we send goes nowhere. Judged twice a second, by
 * time for which media was sent:
 *
 *   RTCP timeout (4.2)   no report for 15 s (three of RFC 3550's 5 s), from one that has reported
 *   media timeout (4.1)  reports for 5 s, and the highest number in them stands still
 *   congestion (4.3)     ten windows running (RFC 8083's number for a round
 *                        trip of 1 s) with more than ten times what TCP would send
 *
 * First its video stops. After 30 s, once reports come and the estimate has room, it goes again, at
 * what the estimate allows. Where sound alone fares no better, or there is no video to stop, the
 * control plane is told to close it. A viewer that never reports at all is the business of consent
 * (RFC 7675), as every sender of STUN is; TCP has its own congestion control. */
#include "feedback/estimate.h"

static const uint64_t SECOND = 1000000000u, WATCH_NS = 400000000;
enum { SILENT_S = 15, STUCK_S = 5, REST_S = 30, HEAVY = 10 };

int rf_breaker_is_closed(const rf_ctx *x, const rf_peer *p) {
    const rf_way *w = &p->view->way;
    return !w->tripped_ns || x->now_ns - w->tripped_ns > REST_S * SECOND;
}

static void trip(rf_ctx *x, rf_peer *p) {
    const rf_view_track_state *s = &p->view->track[RF_VIDEO];
    rf_way *w = &p->view->way;
    int again = !s->present || (s->thin == RF_THIN_PAUSED && w->tripped_ns);
    rf_drop_peer(x, p, RF_DROP_viewer_broken);
    w->silent_ns = w->stuck_ns = 0;
    w->heavy = 0;
    w->tripped_ns = x->now_ns;
    rf_estimate_slow(x, p, again ? RF_SLOW_BROKEN : RF_SLOW_PAUSED);
}

void rf_breaker_watch(rf_ctx *x, rf_peer *p) {
    rf_way *w = &p->view->way;
    if (w->watched_ns && x->now_ns - w->watched_ns < WATCH_NS)
        return; /* where few peers are, they are looked at more often */
    uint64_t video = rf_read(&p->view->track[RF_VIDEO].bytes);
    uint64_t all = video + rf_read(&p->view->track[RF_AUDIO].bytes);
    uint64_t since = w->watched_ns ? x->now_ns - w->watched_ns : 0;
    if (w->reported && !p->leg) {
        w->silent_ns += all != w->watched_all ? since : 0;
        w->stuck_ns += video != w->watched_video ? since : 0;
    }
    w->watched_ns = x->now_ns;
    w->watched_all = all;
    w->watched_video = video;
    if (w->silent_ns > SILENT_S * SECOND || w->heavy >= HEAVY ||
        (w->stuck_ns > STUCK_S * SECOND && w->silent_ns < 2 * SECOND))
        trip(x, p);
    else
        rf_estimate_retry(x, p);
}
