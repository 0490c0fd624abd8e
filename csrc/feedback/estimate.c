/* An estimate of what a viewer's way carries, without transport-wide feedback: its receiver reports
 * tell how many packets came of those sent, and the round trip how long they stood in a queue.
 *
 * Reports are taken together to windows of at least 0.4 s and 20 packets. A window is one of
 * congestion when it lost 30 %, or 17 % twice, or 10 % while the round trip has grown, or when the
 * round trip has grown far and less comes through than is sent; a REMB well below what is sent
 * makes a smaller sign enough, but is no sign by itself: receivers without abs-send-time take a
 * publisher's hiccup, or our own pacing, for a queue. Then
 *
 *   estimate = 0.9 × what came through,  ceiling = what came through
 *
 * and reports are passed over until they can tell of what was sent since. Loss or delay that stays
 * through three such cuts is not our doing and becomes the ground that later windows are measured
 * from: a lossy radio link is not a narrow one.
 *
 * Up it goes with clean windows, as far as the rate is really used: 4 % a second about the ceiling,
 * half as much again a second away from it. A viewer that gets everything is believed to carry any
 * rate when nothing happened for a hold of 5 s, twice as long each time that it did not hold. */
#include "feedback/estimate.h"

#include "path/path.h"

static const uint64_t MS = 1000000, SECOND = 1000000000u;
enum {
    WIRE = 38, /* IPv4, UDP, SRTP tag */
    WINDOW_MS = 400,
    WINDOW_PACKETS = 20,
    LOSS_NOW = 77, /* of 256 */
    LOSS_TWICE = 43,
    LOSS_LATE = 26,
    LOSS_CLEAN = 13,
    FLOOR_BPS = 30000,
    REMB_A_SECOND = 50,
};
static const uint64_t REMB_MOST = 10000000000u;

typedef struct window {
    uint64_t ns, excess_ns;
    uint64_t sent_bps, came_bps;
    unsigned loss; /* of 256, above the ground */
    unsigned all_loss;
} window;

uint64_t rf_estimate_bps(const rf_peer *viewer) {
    const rf_way *w = &viewer->view->way;
    return w->bps ? w->bps : UINT64_MAX;
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

static void open_window(const rf_ctx *x, rf_view *v, int kind, const rf_report_block *b) {
    rf_way *w = &v->way;
    w->open = 1;
    w->kind = (uint8_t)kind;
    w->since_ns = x->now_ns;
    w->sent_bytes = sent_bytes(v);
    w->track_bytes = rf_read(&v->track[kind].bytes);
    w->track_packets = rf_read(&v->track[kind].packets);
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

static uint64_t excess(const rf_way *w) {
    uint64_t least = w->rtt_least_ns[0];
    if (w->rtt_least_ns[1] && w->rtt_least_ns[1] < least)
        least = w->rtt_least_ns[1];
    return w->rtt_ns > least ? w->rtt_ns - least : 0;
}

static int close_window(const rf_ctx *x, const rf_view *v, const rf_report_block *b, window *o) {
    const rf_way *w = &v->way;
    const rf_view_track_state *s = &v->track[w->kind];
    uint32_t expected = b->highest_seq - w->highest;
    o->ns = x->now_ns - w->since_ns;
    if (o->ns < WINDOW_MS * MS || (expected < WINDOW_PACKETS && o->ns < 3 * SECOND))
        return 0;
    int64_t lost = (int64_t)b->cumulative_lost - w->lost;
    lost = lost < 0 ? 0 : lost > expected ? expected : lost;
    o->all_loss = expected ? (unsigned)(lost * 256 / expected) : 0;
    o->loss = o->all_loss > w->base_loss ? o->all_loss - w->base_loss : 0;
    uint64_t packets = rf_read(&s->packets) - w->track_packets;
    uint64_t bytes = rf_read(&s->bytes) - w->track_bytes + packets * WIRE;
    uint64_t all = sent_bytes(v) - w->sent_bytes, mean = packets ? bytes / packets : 0;
    uint64_t came = (expected - (uint64_t)lost) * mean;
    came += all > bytes ? (all - bytes) * (256 - o->all_loss) / 256 : 0;
    o->sent_bps = per_second(all, o->ns);
    o->came_bps = per_second(came, o->ns);
    o->excess_ns = excess(w);
    return 1;
}

/* ---- down ---- */

static int is_congested(const rf_ctx *x, rf_way *w, const window *o) {
    int remb_low =
        w->remb_ns && x->now_ns - w->remb_ns < 3 * SECOND / 2 && w->remb_bps < o->sent_bps / 10 * 7;
    int limited = w->bps != 0; /* then what is sent follows the estimate, and a queue is ours */
    int less = o->came_bps < o->sent_bps / 100 * 95;
    int late = o->excess_ns > (limited ? 80 : 150) * MS && (limited || less);
    if (o->loss >= LOSS_NOW || (o->loss >= LOSS_LATE && o->excess_ns > 60 * MS) ||
        (remb_low && (o->loss >= LOSS_CLEAN || o->excess_ns > 60 * MS)) || (limited && late))
        return 1;
    if (o->loss < LOSS_TWICE && !late && o->excess_ns < 400 * MS) {
        w->bad = 0;
        return 0;
    }
    return ++w->bad >= 2;
}

/* Cut after cut, and it is as bad as at the first: whatever it is, it does not come from us. */
static int is_ground(rf_way *w, const window *o) {
    if (w->cuts++ == 0) {
        w->first_loss = (uint8_t)(o->loss > 255 ? 255 : o->loss);
        w->first_excess_ns = o->excess_ns;
    }
    if (w->cuts < 4)
        return 0;
    int lossy = o->loss >= LOSS_LATE && o->loss * 4 > w->first_loss * 3u;
    int far = o->excess_ns > 60 * MS && o->excess_ns * 4 > w->first_excess_ns * 3;
    if (!lossy && !far)
        return 0;
    if (lossy)
        w->base_loss = (uint8_t)(o->all_loss > 255 ? 255 : o->all_loss);
    if (far)
        w->rtt_least_ns[0] = w->rtt_least_ns[1] = w->rtt_ns;
    w->cuts = 0;
    return 1;
}

static void cut(const rf_ctx *x, rf_way *w, const window *o) {
    uint64_t came = o->came_bps < o->sent_bps ? o->came_bps : o->sent_bps;
    w->hold_ns = x->now_ns - w->congested_ns > 30 * SECOND || !w->hold_ns ? 5 * SECOND
                 : w->hold_ns < 30 * SECOND                               ? 2 * w->hold_ns
                                                                          : 60 * SECOND;
    w->congested_ns = x->now_ns;
    w->ceiling_bps = came;
    w->bps = came / 10 * 9;
    if (w->bps < FLOOR_BPS)
        w->bps = FLOOR_BPS;
    w->bad = w->good = 0;
    uint64_t drain = o->excess_ns + o->excess_ns / 4 + (o->loss >= LOSS_LATE ? 200 * MS : 0);
    w->drain_ns = x->now_ns + (drain < 3 * SECOND / 2 ? drain : 3 * SECOND / 2);
    w->settle_ns = w->drain_ns + w->rtt_ns;
    w->open = 0;
}

/* ---- up ---- */

static void grow(const rf_ctx *x, rf_way *w, const window *o, int used) {
    uint64_t ms = o->ns / MS < 2000 ? o->ns / MS : 2000;
    if (o->loss > LOSS_CLEAN || o->excess_ns > 60 * MS) {
        w->good = 0;
        return;
    }
    w->cuts = 0;
    if (o->all_loss < w->base_loss / 2)
        w->base_loss = 0;
    if (w->good < 255)
        w->good++;
    if (!used && x->now_ns - w->congested_ns > w->hold_ns) {
        w->bps = w->ceiling_bps = 0;
        return;
    }
    uint64_t most = used ? UINT64_MAX / 2 : o->sent_bps * 2;
    int near = w->bps > w->ceiling_bps / 10 * 7 && w->bps < w->ceiling_bps / 100 * 115;
    uint64_t share = near || w->good < 2 ? 40 : 500; /* thousandths a second */
    uint64_t up = w->bps + w->bps / 1000 * share * ms / 1000 + ms * 4;
    if (!near && w->bps > w->ceiling_bps)
        w->hold_ns = 5 * SECOND; /* it has become another way */
    if (up <= most)
        w->bps = up;
}

/* ---- what comes in ---- */

/* Of video where there is any; a viewer of sound alone, or one whose video pauses, by its audio. */
static int counts(const rf_view *v, int kind) {
    return kind == RF_VIDEO || !v->setup.track[RF_VIDEO].present;
}

void rf_estimate_report(rf_ctx *x, rf_peer *p, int kind, const rf_report_block *b,
                        uint64_t rtt_ns) {
    rf_view *v = p->view;
    rf_way *w = &v->way;
    window o;
    if (rtt_ns)
        note_rtt(x, w, rtt_ns);
    if (!counts(v, kind))
        return;
    /* A start burst may be lost in part, which says little of what comes after it. */
    if (!w->open || w->kind != kind || (int32_t)(b->highest_seq - w->highest) < 0 ||
        v->track[kind].state == RF_VIEW_BURST) {
        if (x->now_ns >= w->settle_ns)
            open_window(x, v, kind, b);
        return;
    }
    if (!close_window(x, v, b, &o))
        return;
    open_window(x, v, kind, b);
    if (is_congested(x, w, &o) && !is_ground(w, &o))
        cut(x, w, &o);
    else if (w->bps)
        grow(x, w, &o, 0);
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
    w->remb_bps = bps;
    w->remb_ns = x->now_ns;
    rf_set(&p->view->remb_bps, bps);
}
