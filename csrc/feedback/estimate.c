/* An estimate of what a viewer's way carries, without transport-wide feedback: its receiver reports
 * tell how many packets came of those sent, and the round trip how long they stood in a queue.
 *
 * Reports are taken together to windows of at least 0.4 s and 10 packets (40 while there is no
 * delay); browsers report with every NACK, so a single report says little. A window is one of
 * congestion when it lost 30 %, or 17 % twice, or 10 % while the round trip has grown (and 6
 * packets at least: fewer are chance), or when the round trip has grown far and less comes through
 * than is sent. What the publisher's own way has lost does not count. Then
 *
 *   estimate = 0.88 × what came through,  ceiling = what came through
 *
 * and reports are passed over until they can tell of what was sent since. Loss or delay that stays
 * through such cuts is not our doing and becomes the ground that later windows are measured
 * from: a lossy radio link is not a narrow one.
 *
 * Up it goes with clean windows, as far as the rate is really used and the round trip was taken
 * right behind it: 6 % a second about the ceiling, away from it faster, to 60 %. A viewer that gets
 * everything is believed to carry any rate when nothing happened for a hold of 5 s, twice as long
 * each time that it did not hold.
 *
 * REMB is bounded, counted and shown, no more. Without abs-send-time a receiver's own estimate
 * takes the spread of a paced frame for a queue: Chromium, once thinned, said 0.46 Mbit/s for
 * twenty seconds over a link of 20 (docs/adr/0016-slow-viewers.md). */
#include "feedback/estimate.h"

#include "path/path.h"

static const uint64_t MS = 1000000, SECOND = 1000000000u;
enum {
    WIRE = 38, /* IPv4, UDP, SRTP tag */
    WINDOW_MS = 400,
    WINDOW_PACKETS = 10,
    LOSS_NOW = 77, /* of 256 */
    LOSS_TWICE = 43,
    LOSS_LATE = 26,
    LOST_LEAST = 6, /* packets: fewer are chance */
    MUCH = 5,       /* 2 % */
    LOSSY_SURE = 2, /* windows */
    LOSSY_MOST = 4,
    FLOOR_BPS = 30000,
    REMB_A_SECOND = 50,
    VIDEO_BPS = 60000, /* less than that beside the sound is no video */
};
static const uint64_t REMB_MOST = 10000000000u, ENOUGH_NS = 2000000000u, DRAIN_NS = 5000000000u,
                      BELIEVED_NS = 20000000000u;

typedef struct window {
    uint64_t ns, excess_ns;
    uint64_t sent_bps, came_bps, audio_bps;
    uint64_t mean; /* bytes of a packet */
    unsigned loss; /* of 256, above the ground */
    unsigned all_loss;
} window;

uint64_t rf_estimate_bps(const rf_peer *viewer) {
    const rf_way *w = &viewer->view->way;
    return w->bps ? w->bps : UINT64_MAX;
}

void rf_estimate_at_least(rf_peer *viewer, uint64_t bps) {
    rf_way *w = &viewer->view->way;
    if (w->bps && w->bps < bps) {
        w->bps = bps;
        rf_set(&viewer->view->estimate_bps, bps);
    }
}

static uint64_t per_second(uint64_t bytes, uint64_t ns) {
    return bytes * 8 * 1000 / (ns / MS + 1);
}

static uint64_t sent_bytes(const rf_view *v) {
    uint64_t n = 0;
    for (int k = 0; k < RF_KINDS; k++) {
        const rf_view_track_state *s = &v->track[k];
        n += rf_read(&s->bytes) + rf_read(&s->resent_bytes) +
             (rf_read(&s->packets) + rf_read(&s->resent)) * WIRE;
    }
    return n;
}

static uint64_t audio_bytes(const rf_view *v) {
    const rf_view_track_state *s = &v->track[RF_AUDIO];
    return rf_read(&s->bytes) + rf_read(&s->packets) * WIRE;
}

static void open_window(const rf_ctx *x, rf_view *v, int kind, const rf_report_block *b) {
    rf_way *w = &v->way;
    w->open = 1;
    w->kind = (uint8_t)kind;
    w->since_ns = x->now_ns;
    w->sent_bytes = sent_bytes(v);
    w->track_bytes = rf_read(&v->track[kind].bytes);
    w->track_packets = rf_read(&v->track[kind].packets);
    w->track_next = v->track[kind].next_out;
    w->audio_bytes = audio_bytes(v);
    w->highest = b->highest_seq;
    w->lost = b->cumulative_lost;
}

/* The least round trip of the last one or two minutes is what the way takes without a queue. */
static void note_rtt(rf_ctx *x, rf_way *w, uint64_t rtt_ns) {
    w->rtt_ns = rtt_ns;
    if (!w->rtt_turn_ns || x->now_ns - w->rtt_turn_ns > 60 * SECOND) {
        w->rtt_least_ns[1] = w->rtt_least_ns[0];
        w->rtt_least_ns[0] = rtt_ns;
        w->rtt_turn_ns = x->now_ns;
    }
    if (rtt_ns < w->rtt_least_ns[0])
        w->rtt_least_ns[0] = rtt_ns;
}

uint64_t rf_estimate_excess(const rf_way *w, uint64_t rtt_ns) {
    uint64_t least = w->rtt_least_ns[0];
    if (w->rtt_least_ns[1] && w->rtt_least_ns[1] < least)
        least = w->rtt_least_ns[1];
    return rtt_ns > least ? rtt_ns - least : 0;
}

/* RFC 8083 section 4.3: more than ten times what TCP would send, s / (R × √(2p/3)); or half is lost
 * at whatever rate. */
static void note_equation(rf_way *w, const window *o) {
    double s = (double)o->mean * 8, p = o->all_loss / 256.0;
    double r = (double)w->rtt_ns / 1e9 * (double)o->sent_bps / 10;
    int is_heavy = o->all_loss >= 128 || (o->all_loss && r * r * 2 * p / 3 > s * s);
    w->heavy = (uint8_t)(is_heavy ? w->heavy + (w->heavy < 255) : 0);
}

static int close_window(const rf_ctx *x, const rf_view *v, const rf_report_block *b, window *o) {
    const rf_way *w = &v->way;
    const rf_view_track_state *s = &v->track[w->kind];
    uint32_t expected = b->highest_seq - w->highest;
    o->ns = x->now_ns - w->since_ns;
    o->excess_ns = rf_estimate_excess(w, w->rtt_ns);
    uint32_t enough = o->excess_ns > 30 * MS ? WINDOW_PACKETS : 4 * WINDOW_PACKETS;
    if (o->ns < WINDOW_MS * MS || (expected < enough && o->ns < 2 * SECOND))
        return 0;
    int64_t lost = (int64_t)b->cumulative_lost - w->lost;
    /* What the publisher's way lost is missing at the viewer, too. */
    uint64_t numbers = s->next_out - w->track_next,
             packets = rf_read(&s->packets) - w->track_packets;
    lost -= numbers > packets ? (int64_t)(numbers - packets) : 0;
    lost = lost < 0 ? 0 : lost > expected ? expected : lost;
    o->all_loss = expected ? (unsigned)(lost * 256 / expected) : 0;
    int counts = lost >= LOST_LEAST && o->all_loss > w->base_loss;
    o->loss = counts ? o->all_loss - w->base_loss : 0;
    uint64_t bytes = rf_read(&s->bytes) - w->track_bytes + packets * WIRE;
    uint64_t audio = audio_bytes(v) - w->audio_bytes, mean = packets ? bytes / packets : 0;
    uint64_t came = (expected - (uint64_t)lost) * mean + (w->kind == RF_VIDEO ? audio : 0);
    o->sent_bps = per_second(sent_bytes(v) - w->sent_bytes, o->ns);
    o->came_bps = per_second(came, o->ns); /* of resends nobody tells */
    o->audio_bps = per_second(audio, o->ns);
    o->mean = mean;
    return 1;
}

/* ---- lossy ---- */

static void note_loss(const rf_ctx *x, rf_way *w, const window *o) {
    w->percent = (uint8_t)(o->all_loss * 100 / 256);
    if (o->all_loss < MUCH)
        w->lossy = w->lossy ? w->lossy - 1 : 0;
    else if (++w->lossy > LOSSY_MOST)
        w->lossy = LOSSY_MOST;
    if (w->lossy >= LOSSY_SURE)
        w->lossy_ns = x->now_ns;
}

int rf_estimate_is_lossy(const rf_ctx *x, const rf_view *v) {
    return v->way.lossy_ns && x->now_ns - v->way.lossy_ns < BELIEVED_NS;
}

/* ---- down ---- */

static int is_congested(rf_way *w, const window *o) {
    int limited = w->bps != 0; /* then what is sent follows the estimate, and a queue is ours */
    int less = o->came_bps < o->sent_bps / 100 * 95;
    int late = o->excess_ns > (limited ? 80 : 150) * MS && (limited || less);
    if (o->loss >= LOSS_NOW || (o->loss >= LOSS_LATE && o->excess_ns > 60 * MS) ||
        (limited && late))
        return 1;
    if (o->loss < LOSS_TWICE && !late) {
        w->bad = 0;
        return 0;
    }
    return ++w->bad >= 2;
}

/* Cut after cut, and it is as bad as at the first: whatever it is, it does not come from us. Loss
 * without delay is believed so at the second, delay at the fourth. */
static int is_ground(rf_way *w, const window *o) {
    if (w->cuts++ == 0) {
        w->first_loss = (uint8_t)(o->loss > 255 ? 255 : o->loss);
        w->first_excess_ns = o->excess_ns;
    }
    int is_late = o->excess_ns > 60 * MS;
    int lossy = o->loss >= LOSS_LATE && o->all_loss < 128 && o->loss * 4 > w->first_loss * 3u &&
                w->cuts >= (is_late ? 4 : 2);
    int far = is_late && o->excess_ns * 4 > w->first_excess_ns * 3 && w->cuts >= 4;
    if (lossy)
        w->base_loss = (uint8_t)(o->all_loss + LOSS_LATE);
    if (far)
        w->rtt_least_ns[0] = w->rtt_least_ns[1] = w->rtt_ns;
    if (lossy || far)
        w->cuts = 0;
    return lossy || far;
}

static void cut(const rf_ctx *x, rf_peer *p, const window *o) {
    rf_way *w = &p->view->way;
    uint64_t came = o->came_bps < o->sent_bps ? o->came_bps : o->sent_bps;
    /* What is thinned has pauses: then little comes because little was sent. */
    if (w->bps && o->all_loss < LOSS_LATE)
        came = w->bps;
    else if (w->bps && came < w->bps / 2)
        came = w->bps / 2;
    w->hold_ns = x->now_ns - w->congested_ns > 30 * SECOND || !w->hold_ns ? 5 * SECOND
                 : w->hold_ns < 30 * SECOND                               ? 2 * w->hold_ns
                                                                          : 60 * SECOND;
    w->congested_ns = x->now_ns;
    w->ceiling_bps = came;
    uint64_t ms = o->excess_ns / MS; /* the longer the queue, the more too much it was; where half
                                           is lost, packets that came are mostly small ones */
    w->bps = came / 100 *
             (o->all_loss >= 128 ? 50
              : ms < 80          ? 88
              : ms < 460         ? 88 - (ms - 80) / 10
                                 : 50);
    if (w->bps < FLOOR_BPS)
        w->bps = FLOOR_BPS;
    w->bad = w->good = w->fast = 0;
    /* Where much is lost a queue is full; how full, the least round trip may not tell yet. */
    uint64_t drain = o->all_loss < LOSS_LATE ? o->excess_ns : w->rtt_ns ? w->rtt_ns : SECOND;
    drain += drain / 4;
    w->drain_ns = x->now_ns + (drain < DRAIN_NS ? drain : DRAIN_NS);
    w->settle_ns = w->grown_ns = w->drain_ns + w->rtt_ns;
    w->fresh_seq = (uint16_t)p->view->track[RF_VIDEO].next_out;
    w->open = 0;
    w->busy_ns = 0;
}

/* ---- up ---- */

/* proven: the round trip in this report is of an SR that stood behind video at this rate. */
static void grow(const rf_ctx *x, rf_way *w, const window *o, int used, int proven) {
    static const uint64_t share[] = {60, 200, 400, 600}; /* thousandths a second */
    if (o->all_loss > w->base_loss + (unsigned)LOSS_LATE ||
        o->excess_ns > 60 * MS) { /* of few, too */
        w->good = 0;
        return;
    }
    w->cuts = 0;
    if (o->all_loss < w->base_loss / 2)
        w->base_loss = 0;
    w->good = (uint8_t)(w->good + (w->good < 255));
    if (!used && x->now_ns - w->congested_ns > w->hold_ns) {
        w->bps = w->ceiling_bps = 0;
        return;
    }
    if (used && !proven)
        return;
    int near = w->bps > w->ceiling_bps / 10 * 7 && w->bps < w->ceiling_bps / 100 * 115;
    /* No queue at all behind what was too much last time: it has become another way. */
    int wider = w->bps >= w->ceiling_bps && o->excess_ns < 8 * MS && w->busy_ns > 600 * MS;
    if (wider && w->fast < 1)
        w->fast = 1;
    int most = (near && !wider) || o->excess_ns > 30 * MS ? 0 : 3;
    w->fast = (uint8_t)(w->fast < most ? w->fast + 1 : most);
    uint64_t ms = x->now_ns > w->grown_ns ? (x->now_ns - w->grown_ns) / MS : 0;
    ms = ms < (w->fast ? 1000 : 2000) ? ms : w->fast ? 1000 : 2000;
    uint64_t up = w->bps + w->bps / 1000 * share[w->fast] * ms / 1000 + ms * 4;
    if (!near && w->bps > w->ceiling_bps)
        w->hold_ns = 5 * SECOND; /* it has become another way */
    if (used || up <= o->sent_bps * 2)
        w->bps = up;
    w->grown_ns = x->now_ns;
    w->busy_ns = 0;
}

/* ---- what comes in ---- */

/* By which track's reports: video's, where there is any and it is sent. */
static int judge(const rf_view *v) {
    const rf_view_track_state *s = &v->track[RF_VIDEO];
    return v->setup.track[RF_VIDEO].present && s->thin != RF_THIN_PAUSED ? RF_VIDEO : RF_AUDIO;
}

void rf_slow_tell(rf_ctx *x, rf_peer *p, enum rf_slow slow) {
    rf_view *v = p->view;
    uint8_t data[9] = {(uint8_t)slow};
    if (atomic_load_explicit(&v->told_slow, memory_order_relaxed) == slow)
        return;
    atomic_store_explicit(&v->told_slow, (uint8_t)slow, memory_order_relaxed);
    memcpy(data + 1, &v->way.bps, 8);
    rf_notify(x, RF_EVENT_VIEWER_SLOW, RF_VIDEO, p, p->stream, data, sizeof data,
              slow == RF_SLOW_BROKEN);
}

void rf_estimate_slow(rf_ctx *x, rf_peer *p, enum rf_slow slow) {
    rf_thin_set(x, p, slow < RF_SLOW_PAUSED ? (int)slow : RF_THIN_PAUSED);
    rf_slow_tell(x, p, slow);
}

static void go_again(rf_ctx *x, rf_peer *p) {
    rf_way *w = &p->view->way;
    if (!rf_breaker_is_closed(x, p))
        return;
    w->tripped_ns = 0;
    if (!w->bps)
        w->bps = 4 * VIDEO_BPS; /* the breaker stopped it: carefully */
    rf_estimate_slow(x, p, RF_SLOW_FITS);
}

/* How much of the video is sent at this estimate. One over TCP is served by its connection. */
static void decide(rf_ctx *x, rf_peer *p, const window *o) {
    const rf_view_track_state *s = &p->view->track[RF_VIDEO];
    rf_way *w = &p->view->way;
    uint64_t least = o->audio_bps / 4 * 5 + VIDEO_BPS;
    if (p->leg || !s->present)
        return;
    if (w->bps && w->congested_ns == x->now_ns)
        rf_estimate_slow(x, p, w->bps < least ? RF_SLOW_PAUSED : RF_SLOW_FITS);
    else if (s->thin == RF_THIN_PAUSED && w->bps >= least / 10 * 11)
        go_again(x, p);
    else if (s->state == RF_VIEW_THIN && (w->good > 1 || !w->bps) &&
             x->now_ns - w->pressed_ns > ENOUGH_NS)
        rf_estimate_slow(x, p, RF_SLOW_ALL);
}

void rf_estimate_retry(rf_ctx *x, rf_peer *p) {
    rf_way *w = &p->view->way;
    if (p->view->track[RF_VIDEO].thin != RF_THIN_PAUSED || x->now_ns - w->congested_ns < w->hold_ns)
        return;
    if (w->bps && w->bps < 2 * VIDEO_BPS)
        w->bps = 2 * VIDEO_BPS;
    go_again(x, p);
}

/* The first window of all begins with the first packet. */
static void from_the_start(const rf_peer *p, int kind) {
    rf_way *w = &p->view->way;
    const rf_view_track_state *s = &p->view->track[kind];
    w->open = s->segments > 0;
    w->kind = (uint8_t)kind;
    w->since_ns = p->started_ns;
    w->track_next = s->segment[0].first_out;
    w->highest = (uint32_t)(s->segment[0].first_out & 0xffff) - 1;
}

/* After a cut: not before a report that has seen what was sent since. What was lost before it is
 * known to the viewer when the next packet comes, no sooner. */
static int tells_of_now(const rf_ctx *x, const rf_way *w, int kind, const rf_report_block *b) {
    return x->now_ns >= w->settle_ns &&
           (kind != RF_VIDEO || !w->settle_ns || (int16_t)(b->highest_seq - w->fresh_seq) >= 0);
}

void rf_estimate_report(rf_ctx *x, rf_peer *p, int kind, const rf_report_block *b,
                        uint64_t rtt_ns) {
    rf_view *v = p->view;
    rf_way *w = &v->way;
    window o;
    if (rtt_ns && !rf_layer_probed(p, b->lsr, rtt_ns))
        note_rtt(x, w, rtt_ns);
    if (kind == RF_VIDEO && b->lsr == w->sr_mid)
        w->sr_told = 1;
    w->reported = 1;
    w->silent_ns = 0;
    if (kind != judge(v))
        return;
    if (w->kind != kind || b->highest_seq != w->highest)
        w->stuck_ns = 0;
    if (!w->open && !w->settle_ns)
        from_the_start(p, kind);
    if (!w->open || w->kind != kind || (int32_t)(b->highest_seq - w->highest) < 0 ||
        v->track[kind].state == RF_VIEW_BURST) {
        if (tells_of_now(x, w, kind, b))
            open_window(x, v, kind, b);
        return;
    }
    if (!close_window(x, v, b, &o))
        return;
    if (w->since_ns == p->started_ns && o.all_loss < 128) {
        open_window(x, v, kind, b); /* part of a start burst may be lost: that is no sign */
        return;
    }
    int used = w->waited_ns >= w->since_ns || v->track[RF_VIDEO].thin == RF_THIN_PAUSED;
    open_window(x, v, kind, b);
    note_equation(w, &o);
    if (kind == RF_VIDEO)
        note_loss(x, w, &o);
    if (is_congested(w, &o) && !is_ground(w, &o))
        cut(x, p, &o);
    else if (w->bps)
        grow(x, w, &o, used,
             kind == RF_AUDIO || (w->sr_busy && b->lsr == w->sr_mid && w->sr_ns > w->grown_ns));
    decide(x, p, &o);
    rf_set(&v->estimate_bps, w->bps);
}

void rf_estimate_remb(rf_ctx *x, rf_peer *p, uint64_t bps) {
    rf_way *w = &p->view->way;
    if (x->now_ns - w->remb_second_ns >= SECOND) {
        w->remb_second_ns = x->now_ns;
        w->rembs = 0;
    }
    if (bps == 0 || bps > REMB_MOST || w->rembs >= REMB_A_SECOND) {
        rf_drop_peer(x, p, RF_DROP_remb_absurd);
        return;
    }
    w->rembs++;
    rf_set(&p->view->remb_bps, bps);
}
