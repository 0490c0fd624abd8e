/* Has the way of a viewer become wider, that did not carry a larger layer? Trying that layer would
 * tell, and would be seen each time that it has not. A few packets tell, too:
 *
 *   the newest video again as RTX, as much as the larger layer has in 60 ms, all at once
 *   a sender report right behind
 *
 * The round trip that the next receiver report tells is then longer by the time that the burst took
 * on the way: 60 ms where the layer would just fit. The viewer has those packets already and drops
 * them (RFC 4588); a queue that is too short for them loses nothing that is needed. Where the SR is
 * lost, or the viewer has no RTX, time alone lets the layer be tried again (layer_fit.c). */
#include "feedback/estimate.h"
#include "feedback/feedback.h"
#include "path/path.h"

static const uint64_t MS = 1000000, APART_NS = 5000000000u, REPORTED_NS = 333333333u;
enum { SPAN_MS = 60, MOST_BYTES = 32000, WIRE = 38 };

void rf_layer_probe(rf_ctx *x, rf_peer *p, uint64_t bps) {
    rf_fit *f = &p->view->fit;
    const rf_view_track_state *s = &p->view->track[RF_VIDEO];
    if (p->leg || s->state != RF_VIEW_LIVE || x->now_ns - f->probe_ns < APART_NS ||
        x->now_ns - s->sr_ns < REPORTED_NS)
        return;
    uint64_t bytes = bps / 8 * SPAN_MS / 1000;
    uint64_t before = rf_read(&s->resent);
    f->probe_ns = x->now_ns;
    f->probe_bytes = rf_nack_probe(x, p, bytes < MOST_BYTES ? bytes : MOST_BYTES);
    f->probe_bytes += (rf_read(&s->resent) - before) * WIRE;
    if (f->probe_bytes < bytes / 2 && f->probe_bytes < MOST_BYTES / 2)
        return; /* too little to measure by */
    rf_report_now(x, p);
    if (s->sr_ns != x->now_ns)
        return;
    f->probe_mid = p->view->way.sr_mid;
    f->probe_bps = bps;
    f->probing = 1;
}

int rf_layer_probed(rf_peer *p, uint32_t lsr, uint64_t rtt_ns) {
    rf_fit *f = &p->view->fit;
    if (!f->probe_mid || lsr != f->probe_mid)
        return 0;
    uint64_t ms = rf_estimate_excess(&p->view->way, rtt_ns) / MS;
    if (f->probing && ms * f->probe_bps <= f->probe_bytes * 8 * 1000) {
        f->wider = 1;
        rf_estimate_at_least(p, f->probe_bps / 100 * 130);
    }
    f->probing = 0;
    return 1;
}
