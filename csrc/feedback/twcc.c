/* Transport-wide feedback to a publisher (draft-holmer-rmcat-transport-wide-cc-extensions-01): when
 * each of its packets came, over all of its media, so that it finds its way's rate by itself.
 *
 * A number's place is written once, at its arrival; every 50 ms in which something came, all from
 * the first number that was not told of to the newest is told. What comes late is told with all
 * that came after it, once more: a sender takes from that what it does not know.
 *
 * Numbers are the publisher's word. One that is farther than RF_ARRIVALS from the newest begins
 * anew there, so a wrong one costs no more than what was not told yet, and no feedback packet tells
 * of more than that many. At most four leave in a tick. */
#include "base/error.h"
#include "base/seq.h"
#include "feedback/feedback.h"
#include "path/path.h"
#include "wire/twcc.h"

enum { AT_ONCE = 4, ROOM = 1152, FIRST = 1 << 16 };
static const uint64_t APART_NS = 50000000;

_Static_assert((RF_ARRIVALS & (RF_ARRIVALS - 1)) == 0 && RF_ARRIVALS <= RF_TWCC_MOST,
               "a power of two that one feedback packet may tell of");

static uint64_t *place(rf_arrivals *a, uint64_t number) {
    return &a->tick[number & (RF_ARRIVALS - 1)];
}

static void begin_at(rf_arrivals *a, uint64_t number) {
    memset(a->tick, 0, sizeof a->tick);
    a->begin = a->end = number;
}

void rf_twcc_note(rf_arrivals *a, uint16_t number, uint64_t at_ns) {
    if (!a->end)
        begin_at(a, FIRST + (uint64_t)number);
    uint64_t n = rf_seq_unwrap(a->end, number);
    if (n >= a->end + RF_ARRIVALS || n + RF_ARRIVALS < a->end)
        begin_at(a, n);
    for (; a->end <= n; a->end++)
        *place(a, a->end) = 0;
    if (a->end - a->begin > RF_ARRIVALS)
        a->begin = a->end - RF_ARRIVALS;
    if (*place(a, n))
        return; /* came before */
    *place(a, n) = at_ns / RF_TWCC_TICK_NS + 1;
    if (n < a->begin)
        a->begin = n;
}

/* One feedback packet; 0: nothing could be sent. */
static int tell(rf_ctx *x, rf_peer *p, rf_arrivals *a) {
    uint64_t ticks[RF_ARRIVALS];
    int packets = (int)(a->end - a->begin);
    for (int i = 0; i < packets; i++)
        ticks[i] = *place(a, a->begin + (uint64_t)i);
    uint8_t buffer[ROOM + RF_SRTP_TRAILER];
    rf_writer w = {buffer, 0, ROOM};
    if (rf_feedback_begin(&w, p->pub) != RF_OK)
        return 0;
    int told = rf_rtcp_write_twcc(&w, p->pub->setup.local_ssrc, a->ssrc, a->count,
                                  (uint16_t)a->begin, ticks, packets);
    if (told <= 0)
        return 0;
    a->count++;
    a->begin += (uint64_t)told;
    rf_count(&x->feedback, 1);
    rf_count(&p->stream->feedback_sent, 1);
    rf_egress_rtcp(x, p, buffer, w.at);
    return 1;
}

void rf_twcc_report(rf_ctx *x, rf_peer *p) {
    rf_arrivals *a = &p->pub->arrivals;
    if (a->begin == a->end || x->now_ns < a->next_ns)
        return;
    a->next_ns = x->now_ns + APART_NS;
    for (int i = 0; i < AT_ONCE && a->begin < a->end; i++)
        if (!tell(x, p, a))
            return;
}
