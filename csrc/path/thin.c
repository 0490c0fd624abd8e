/* A viewer over UDP whose way carries less than the stream (feedback/estimate.c says how much):
 * sound first, and of the video what is left, never half a frame, never late by more than a second.
 *
 * Its video goes at the rate of the estimate. Audio and resends never wait; what they take is taken
 * from video's share. The track log is the queue: the cursor stays behind, and at the border of a
 * frame the viewer goes on at the newest key frame when what is next is older than the budget of
 * time, when more waits than the budget of bytes, or when a newer key frame is there already. A key
 * frame is always sent to its end, so the worst there is is a picture for each key frame that the
 * way has room for. While it is behind, discardable frames are left out first.
 *
 * Numbers: what is left out gets none. The next frame opens a segment at the next free number, so
 * the viewer sees no gap and asks for nothing; and all that was sent keeps its number, so a resend
 * repeats its bytes. A segment behind a frame that was passed over begins right behind that frame's
 * last number, so that a packet that others overtook still has one.
 *
 * A thinned viewer costs no pass of its own over the viewers: it takes its turn when the stream has
 * something new, and twice a second (worker/timers.c) when it has not. */
#include "feedback/feedback.h"
#include "path/path.h"
#include "wire/keyframe.h"

enum { WIRE = 38 /* IPv4, UDP, SRTP tag */, HEAD = 20, LEAST_BURST = 3000 };
static const uint64_t BURST_NS = 40000000, BEHIND_NS = 120000000, PRESSED_NS = 250000000,
                      TURN_NS = 50000000, QUIET_NS = 4000000000u;

/* Bytes that go out without asking. */
static uint64_t others(const rf_view *v) {
    const rf_view_track_state *a = &v->track[RF_AUDIO], *s = &v->track[RF_VIDEO];
    return rf_read(&a->bytes) + rf_read(&a->resent_bytes) + rf_read(&s->resent_bytes) +
           (rf_read(&a->packets) + rf_read(&a->resent) + rf_read(&s->resent)) * WIRE;
}

void rf_thin_set(rf_ctx *x, rf_peer *p, int level) {
    rf_view *v = p->view;
    rf_view_track_state *s = &v->track[RF_VIDEO];
    if (s->thin == level)
        return;
    if (level && (s->state == RF_VIEW_LIVE || s->state == RF_VIEW_BURST)) {
        s->state = RF_VIEW_THIN;
        s->poster_ts = s->last_ts - s->ts_offset;
        v->way.others = others(v);
        v->way.debt = 0;
        v->way.pressed_ns = x->now_ns;
    } else if (!level && s->state == RF_VIEW_THIN) {
        s->state = RF_VIEW_LIVE;
        s->live_ns = x->now_ns;
        v->way.passing = 0;
    }
    s->thin = (uint8_t)level;
}

/* ---- letting in ---- */

static int afford(const rf_ctx *x, rf_view *v, const rf_slot *slot) {
    rf_way *w = &v->way;
    uint64_t rate = (w->bps ? w->bps : x->config->start_pace_bps) / 8;
    uint64_t burst = rate * (BURST_NS / 1000) / 1000000, now = others(v);
    burst = burst > LEAST_BURST ? burst : LEAST_BURST;
    w->debt += now - w->others;
    w->others = now;
    rf_bucket_refill(&v->pace, rate, burst, x->now_ns);
    uint64_t paid = w->debt < v->pace.tokens ? w->debt : v->pace.tokens;
    w->debt -= paid;
    v->pace.tokens -= paid;
    uint64_t bytes = slot->payload_len + HEAD + WIRE;
    if (v->pace.tokens < bytes)
        return 0;
    v->pace.tokens -= bytes;
    return 1;
}

/* Is it time to go on at a later key frame? Asked at the border of a frame. */
static int is_late(const rf_ctx *x, const rf_view_track_state *s, const rf_track *t,
                   const rf_slot *slot, uint64_t head) {
    uint64_t age = x->now_ns > slot->arrival_ns ? x->now_ns - slot->arrival_ns : 0;
    uint64_t index, seq;
    if (slot->ts == s->poster_ts || age < BEHIND_NS)
        return 0; /* the key frame that it went on at */
    if (age > x->config->viewer_lag_ns ||
        rf_track_slot(t, head - 1)->total_bytes - slot->total_bytes > x->config->viewer_lag_bytes)
        return 1;
    return rf_track_key(t, s->cursor + 1, &index, &seq) && index < head;
}

enum rf_admission rf_thin_admit(rf_ctx *x, rf_peer *p, const rf_track *t, const rf_slot *slot,
                                uint64_t head) {
    rf_view_track_state *s = &p->view->track[RF_VIDEO];
    rf_way *w = &p->view->way;
    if (w->passing && slot->ts == w->passing_ts && slot->flags & RF_PAYLOAD_DISCARDABLE)
        return RF_LEG_PASS;
    if (s->jump || (int32_t)(slot->ts + s->ts_offset - s->last_ts) > 0) {
        if (s->thin == RF_THIN_PAUSED || is_late(x, s, t, slot, head))
            return RF_LEG_SKIP;
        if (slot->flags & RF_PAYLOAD_DISCARDABLE && x->now_ns - slot->arrival_ns > BEHIND_NS / 2)
            return RF_LEG_PASS;
    }
    if (x->now_ns - w->waited_ns < TURN_NS)
        w->busy_ns += x->now_ns - w->asked_ns;
    w->asked_ns = x->now_ns;
    if (x->now_ns >= w->drain_ns && afford(x, p->view, slot))
        return RF_LEG_GO;
    w->waited_ns = x->now_ns;
    if (x->now_ns - slot->arrival_ns > PRESSED_NS)
        w->pressed_ns = x->now_ns;
    return RF_LEG_WAIT;
}

/* ---- leaving out ---- */

void rf_thin_pass(rf_peer *p, const rf_slot *slot) {
    rf_view_track_state *s = &p->view->track[RF_VIDEO];
    rf_way *w = &p->view->way;
    uint64_t behind = slot->stream_seq + 1;
    if (!s->jump || !s->has_jump_seq || behind > s->jump_seq)
        s->jump_seq = behind;
    s->jump = s->has_jump_seq = 1;
    w->passing = 1;
    w->passing_ts = slot->ts;
    rf_count(&s->skipped, 1);
}

void rf_thin_skip(rf_ctx *x, rf_peer *p) {
    rf_view_track_state *s = &p->view->track[RF_VIDEO];
    rf_way *w = &p->view->way;
    rf_drop_peer(x, p, RF_DROP_viewer_thinned);
    s->jump = 1;
    s->has_jump_seq = 0;
    s->state = RF_VIEW_WAIT;
    s->wait_index = s->cursor;
    w->passing = 0;
    w->skipping = 1;
    w->skip_from = s->cursor;
    w->skipped_ns = w->pressed_ns = x->now_ns;
    rf_report_now(x, p); /* right behind what was sent: the round trip tells how long it stood */
}

void rf_thin_resumed(rf_ctx *x, rf_peer *p, uint64_t index) {
    rf_view *v = p->view;
    rf_way *w = &v->way;
    if (w->skipping && index > w->skip_from)
        rf_count(&v->track[RF_VIDEO].skipped, index - w->skip_from);
    w->skipping = 0;
    w->pressed_ns = x->now_ns;
    w->others = others(v);
    w->debt = 0;
}

/* One slow link must not cost everybody a key frame: the next one comes by itself, or is asked for
 * when it does not. */
int rf_is_patient(const rf_ctx *x, const rf_peer *p) {
    uint64_t since = p->leg ? p->leg->pace.skipped_ns : p->view->way.skipped_ns;
    return since && x->now_ns - since < QUIET_NS;
}
