/* Key-frame requests: any number of wishes, from viewers on any worker, become at most one PLI (or
 * FIR, RFC 5104) every 500 ms for each layer of the publisher's video, and are forgotten when a key
 * frame of it comes. */
#include "base/error.h"
#include "feedback/feedback.h"
#include "path/path.h"

static const uint64_t APART_NS = 500000000, PROMPT_NS = 1500000000;

void rf_keyframe_want(rf_ctx *x, rf_stream *s, int log) {
    uint32_t bit = 1u << log;
    if (atomic_load_explicit(&s->keyframe_wanted, memory_order_relaxed) & bit)
        return; /* its owner knows */
    atomic_fetch_or_explicit(&s->keyframe_wanted, bit, memory_order_seq_cst);
    if (s->owner != x->worker)
        rf_waker_ring(&x->shared->mailbox[s->owner].waker);
}

void rf_keyframe_have(rf_stream *s, int log) {
    uint32_t bit = 1u << log;
    if (atomic_load_explicit(&s->keyframe_wanted, memory_order_relaxed) & bit)
        atomic_fetch_and_explicit(&s->keyframe_wanted, ~bit, memory_order_seq_cst);
}

void rf_keyframe_came(const rf_ctx *x, rf_source *s, rf_track *t) {
    if (!s->keyframe_since_ns)
        return;
    rf_count(x->now_ns - s->keyframe_since_ns <= PROMPT_NS ? &t->keys_prompt : &t->keys_late, 1);
    rf_set(&t->plis_unanswered, 0);
    s->keyframe_since_ns = 0;
}

static void ask(rf_ctx *x, rf_peer *p, rf_source *s) {
    const rf_pub *pub = p->pub;
    const rf_pub_track *setup = &pub->setup.track[RF_VIDEO];
    uint8_t buffer[128 + RF_SRTP_TRAILER];
    rf_writer w = {buffer, 0, 128};
    uint32_t self = pub->setup.local_ssrc;
    int rc = rf_feedback_begin(&w, pub);
    if (rc == RF_OK)
        rc = setup->pli || !setup->fir ? rf_rtcp_write_pli(&w, self, s->ssrc)
                                       : rf_rtcp_write_fir(&w, self, s->ssrc, s->fir_seq++);
    if (rc != RF_OK)
        return;
    rf_track *t = &p->stream->track[RF_VIDEO + (s - &pub->source[RF_VIDEO])];
    rf_count(&t->keyframe_requests, 1);
    rf_count(&t->plis_unanswered, 1);
    if (!s->keyframe_since_ns)
        s->keyframe_since_ns = x->now_ns;
    rf_egress_rtcp(x, p, buffer, w.at);
}

void rf_keyframe_ask(rf_ctx *x, rf_peer *p) {
    rf_pub *pub = p->pub;
    uint32_t wanted = atomic_load_explicit(&p->stream->keyframe_wanted, memory_order_relaxed);
    if (!wanted || !pub->setup.track[RF_VIDEO].present)
        return;
    for (int i = RF_VIDEO; i < RF_LOGS; i++) {
        rf_source *s = &pub->source[i];
        if (!(wanted >> i & 1) || !s->ssrc ||
            (s->keyframe_asked_ns && x->now_ns - s->keyframe_asked_ns < APART_NS))
            continue;
        rf_keyframe_have(p->stream, i);
        s->keyframe_asked_ns = x->now_ns;
        ask(x, p, s);
    }
}
