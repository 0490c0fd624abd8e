/* Key-frame requests: any number of wishes, from viewers on any worker, become at most one PLI (or
 * FIR, RFC 5104) every 500 ms to the publisher, and are forgotten when a key frame comes. */
#include "base/error.h"
#include "feedback/feedback.h"
#include "path/path.h"

static const uint64_t APART_NS = 500000000;

void rf_keyframe_want(rf_ctx *x, rf_stream *s) {
    atomic_store_explicit(&s->keyframe_wanted, 1, memory_order_seq_cst);
    if (s->owner != x->worker)
        rf_waker_ring(&x->shared->mailbox[s->owner].waker);
}

void rf_keyframe_ask(rf_ctx *x, rf_peer *p) {
    rf_pub *pub = p->pub;
    const rf_pub_track *setup = &pub->setup.track[RF_VIDEO];
    rf_source *s = &pub->source[RF_VIDEO];
    if (!setup->present || !s->ssrc ||
        !atomic_load_explicit(&p->stream->keyframe_wanted, memory_order_relaxed) ||
        (pub->keyframe_asked_ns && x->now_ns - pub->keyframe_asked_ns < APART_NS))
        return;
    atomic_store_explicit(&p->stream->keyframe_wanted, 0, memory_order_seq_cst);
    pub->keyframe_asked_ns = x->now_ns;
    uint8_t buffer[128 + RF_SRTP_TRAILER];
    rf_writer w = {buffer, 0, 128};
    uint32_t self = pub->setup.local_ssrc;
    int rc = rf_feedback_begin(&w, pub);
    if (rc == RF_OK)
        rc = setup->pli || !setup->fir ? rf_rtcp_write_pli(&w, self, s->ssrc)
                                       : rf_rtcp_write_fir(&w, self, s->ssrc, pub->fir_seq++);
    if (rc != RF_OK)
        return;
    rf_count(&p->stream->track[RF_VIDEO].keyframe_requests, 1);
    rf_egress_rtcp(x, p, buffer, w.at);
}
