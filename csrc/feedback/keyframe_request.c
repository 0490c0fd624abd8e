/* Key-frame requests: any number of wishes, from viewers on any worker, become at most one PLI (or
 * FIR, RFC 5104) every 500 ms for each layer of the publisher's video, and are forgotten when a key
 * frame of it comes.
 *
 * Key frames have a budget: however many viewers wish for one, those that are asked for may take no
 * more than a share of the layer's bitrate, by the size of the newest one in the log.
 *
 * A wish is repeated for a while by itself: requests get lost, and browsers wish only every 3 s. A
 * publisher that leaves several unanswered, or whose key frames come long after they were asked
 * for, is one that ignores them (OBS, FFmpeg). It goes on being asked when somebody wishes, and a
 * viewer that does is fed anew from the log. */
#include "base/error.h"
#include "feedback/feedback.h"
#include "path/path.h"

static const uint64_t APART_NS = 500000000, LONGEST_NS = 10000000000u, PROMPT_NS = 1500000000,
                      REPLAY_NS = 5000000000u, AGAIN_NS = 1000000000, STARTED_NS = 2000000000;
enum { IN_VAIN = 3 };

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

/* How long the newest key frame is to be made up for: its size over its share of the bitrate. */
static uint64_t apart(const rf_ctx *x, const rf_track *t) {
    uint64_t head = atomic_load_explicit(&t->head, memory_order_relaxed), index, seq;
    uint64_t low = rf_track_low(t, head);
    if (head < low + 2 || !rf_track_key(t, low, &index, &seq))
        return APART_NS;
    const rf_slot *first = rf_track_slot(t, low), *last = rf_track_slot(t, head - 1);
    const rf_slot *key = rf_track_slot(t, index), *end = key;
    while (index + 1 < head && rf_track_slot(t, index + 1)->ts == key->ts)
        end = rf_track_slot(t, ++index);
    uint64_t size = end->total_bytes - key->total_bytes + key->payload_len;
    uint64_t bytes = last->total_bytes - first->total_bytes;
    uint64_t us = (last->arrival_ns - first->arrival_ns) / 1000;
    if (!bytes || us < APART_NS / 1000)
        return APART_NS;
    uint64_t ns = size * us / bytes * 1000 * 100 / x->config->keyframe_percent;
    return ns < APART_NS ? APART_NS : ns > LONGEST_NS ? LONGEST_NS : ns;
}

static int in_vain(const rf_track *t) {
    return rf_read(&t->plis_unanswered) >= IN_VAIN;
}

static int is_ignored(const rf_track *t) {
    return in_vain(t) || rf_read(&t->keys_late) > rf_read(&t->keys_prompt);
}

/* May a live viewer be fed anew? Once soon after its start, whose first packets may have come
 * before it was ready for them (Firefox); then at times, if the publisher is one that ignores
 * requests. */
static int is_owed(const rf_ctx *x, const rf_view *v, const rf_track *t) {
    uint64_t live_ns = v->track[RF_VIDEO].live_ns, ago = x->now_ns - live_ns;
    if (!v->began_anew && live_ns && ago < STARTED_NS)
        return 1;
    return is_ignored(t) && ago >= REPLAY_NS;
}

void rf_keyframe_replay(rf_ctx *x, rf_peer *p) {
    const rf_view_track_state *s = &p->view->track[RF_VIDEO];
    const rf_track *t = &p->stream->track[s->log];
    uint64_t head = atomic_load_explicit(&t->head, memory_order_acquire), index, seq;
    if (s->state != RF_VIEW_LIVE || !rf_sub_of(x, p->stream) || !is_owed(x, p->view, t) ||
        !rf_track_key(t, rf_track_low(t, head), &index, &seq) || index >= head ||
        rf_view_is_far(x, t, index, head))
        return; /* what it has, however damaged, is better than a wait */
    if (rf_view_anew(x, p))
        p->view->began_anew = 1;
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

/* Is the last request long enough ago? While none was answered, they have cost little. */
static int is_due(const rf_ctx *x, const rf_source *s, const rf_track *t) {
    uint64_t ago = x->now_ns - s->keyframe_asked_ns;
    if (!s->keyframe_asked_ns)
        return 1;
    if (ago < APART_NS)
        return 0;
    return (s->keyframe_since_ns && !in_vain(t) && ago >= AGAIN_NS) || ago >= apart(x, t);
}

void rf_keyframe_ask(rf_ctx *x, rf_peer *p) {
    rf_pub *pub = p->pub;
    uint32_t wanted = atomic_load_explicit(&p->stream->keyframe_wanted, memory_order_relaxed);
    if (!wanted || !pub->setup.track[RF_VIDEO].present)
        return;
    for (int i = RF_VIDEO; i < RF_LOGS; i++) {
        rf_source *s = &pub->source[i];
        const rf_track *t = &p->stream->track[i];
        if (!(wanted >> i & 1) || !s->ssrc || !is_due(x, s, t))
            continue;
        s->keyframe_asked_ns = x->now_ns;
        ask(x, p, s);
        if (in_vain(t))
            rf_keyframe_have(p->stream, i);
    }
}
