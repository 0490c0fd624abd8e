/* Gaps in a publisher's sequence numbers, and our NACKs for them.
 *
 * A gap is noted when a packet beyond it arrives, asked for after 5 ms (most reordering is over by
 * then), again each RTT (at least 20 ms), and given up after ten tries or 1.5 s. We send nothing
 * that a publisher reports on, so the RTT is the time that repairs take. A NACK leaves alone in its
 * datagram where that was negotiated: FFmpeg reads no other. */
#include <stdlib.h>

#include "base/error.h"
#include "feedback/feedback.h"
#include "path/path.h"

enum { TRIES = 10, ASK_AT_ONCE = 64 };
static const uint64_t REORDER_NS = 5000000, LEAST_APART_NS = 20000000, SPREAD_NS = 2500000,
                      BACKED_NS = 100000000, MOST_APART_NS = 400000000, GIVE_UP_NS = 1500000000;

/* As RFC 6298 has it. A repair that was asked for several times may be the answer to any of them:
 * counted from the first it says too much, so it counts little; but it must count, or a round trip
 * that has grown would never be learnt. */
static void learn(rf_source *s, const rf_gap *g, uint64_t now_ns) {
    uint64_t took = now_ns - g->first_asked_ns;
    if (took > MOST_APART_NS)
        took = MOST_APART_NS;
    if (!s->repair_ns) {
        s->repair_ns = took;
        s->repair_spread_ns = took / 4;
    } else if (g->tries > 1) {
        s->repair_ns = (s->repair_ns * 31 + took) / 32;
    } else {
        uint64_t off = took > s->repair_ns ? took - s->repair_ns : s->repair_ns - took;
        s->repair_spread_ns = (s->repair_spread_ns * 3 + off) / 4;
        s->repair_ns = (s->repair_ns * 7 + took) / 8;
    }
}

static void close_gap(rf_source *s, uint64_t ext, uint64_t now_ns) {
    for (int i = 0; i < s->gaps; i++) {
        if (s->gap[i].ext != ext)
            continue;
        if (s->gap[i].tries) {
            s->repaired++;
            learn(s, &s->gap[i], now_ns);
        }
        s->gap[i] = s->gap[--s->gaps];
        return;
    }
}

int rf_gaps_note(rf_source *s, uint64_t ext, uint64_t now_ns) {
    if (ext <= s->highest_ext) {
        close_gap(s, ext, now_ns);
        return 0;
    }
    uint64_t missing = ext - s->highest_ext - 1;
    if (missing > (uint64_t)(RF_GAPS - s->gaps)) {
        s->gaps = 0;
        return 1;
    }
    for (uint64_t e = s->highest_ext + 1; e < ext; e++) {
        rf_gap *g = &s->gap[s->gaps++];
        g->ext = e;
        g->since_ns = now_ns;
        g->asked_ns = g->first_asked_ns = 0;
        g->tries = 0;
    }
    return 0;
}

static int is_gap(const rf_source *s, uint64_t ext) {
    for (int i = 0; i < s->gaps; i++)
        if (s->gap[i].ext == ext)
            return 1;
    return 0;
}

uint64_t rf_gaps_before(const rf_source *s, uint64_t ext, uint64_t most) {
    uint64_t n = 0;
    while (n < most && is_gap(s, ext - n - 1))
        n++;
    return n;
}

void rf_gaps_keep(rf_source *s, uint64_t first, uint64_t end) {
    for (int i = 0; i < s->gaps;)
        if (s->gap[i].ext < first || s->gap[i].ext >= end)
            s->gap[i] = s->gap[--s->gaps];
        else
            i++;
}

static int by_seq(const void *a, const void *b) {
    int d = (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
    return d > 32767 || d < -32767 ? -d : d;
}

/* How long after a NACK the next one may follow: as long as repairs take and what they spread. The
 * third follows the second after half of it: by then a viewer's picture waits, and one needless
 * answer more is the lesser harm. From the fifth on each waits twice as long, up to 100 ms, so that
 * the tries outlast a round trip that has grown; all do so while nothing is known. */
static uint64_t apart(const rf_source *s, const rf_gap *g) {
    if (!s->repair_ns)
        return LEAST_APART_NS << (g->tries < 5 ? g->tries : 5) >> (g->tries > 0);
    uint64_t spread = 3 * s->repair_spread_ns > SPREAD_NS ? 3 * s->repair_spread_ns : SPREAD_NS;
    uint64_t wait = s->repair_ns + spread;
    if (g->tries == 2)
        wait /= 2;
    if (wait < LEAST_APART_NS)
        wait = LEAST_APART_NS;
    uint64_t backed = g->tries > 3 ? wait << (g->tries - 3) : 0;
    backed = backed < BACKED_NS ? backed : BACKED_NS;
    return backed > wait ? backed : wait;
}

void rf_gaps_ask(rf_ctx *x, rf_peer *p, int log) {
    int kind = rf_kind_of_log(log);
    rf_source *s = &p->pub->source[log];
    rf_track *t = &p->stream->track[log];
    uint16_t seqs[ASK_AT_ONCE];
    int count = 0, lost = 0;
    for (int i = 0; i < s->gaps;) {
        rf_gap *g = &s->gap[i];
        if (g->tries >= TRIES || x->now_ns - g->since_ns > GIVE_UP_NS) {
            *g = s->gap[--s->gaps];
            lost = 1;
            continue;
        }
        if (count < ASK_AT_ONCE && x->now_ns - g->since_ns >= REORDER_NS &&
            x->now_ns - g->asked_ns >= apart(s, g)) {
            g->asked_ns = x->now_ns;
            if (!g->tries++)
                g->first_asked_ns = x->now_ns;
            seqs[count++] = (uint16_t)g->ext;
        }
        i++;
    }
    if (lost && kind == RF_VIDEO)
        rf_keyframe_want(x, p->stream, log);
    if (!count || !p->pub->setup.track[kind].nack)
        return;
    qsort(seqs, (size_t)count, sizeof seqs[0], by_seq);
    uint8_t buffer[512 + RF_SRTP_TRAILER];
    rf_writer w = {buffer, 0, 512};
    if (rf_feedback_begin(&w, p->pub) != RF_OK ||
        rf_rtcp_write_nack(&w, p->pub->setup.local_ssrc, s->ssrc, seqs, count) != RF_OK)
        return;
    rf_count(&t->nacks_sent, (uint64_t)count);
    rf_egress_rtcp(x, p, buffer, w.at);
}
