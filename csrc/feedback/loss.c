/* How much of its video a viewer's way loses, by its receiver reports (RFC 3550 section 6.4.1).
 * Browsers report with every NACK, so the share that one report tells says little: what was lost
 * and what was sent is taken over half a second at least. */
#include "feedback/feedback.h"

enum { MUCH = 50 /* one of so many packets */, SURE = 2 /* windows */, MOST = 4 };
static const uint64_t WINDOW_NS = 500000000, BELIEVED_NS = 20000000000u;

void rf_loss_report(const rf_ctx *x, rf_view *v, const rf_report_block *b) {
    rf_loss *l = &v->loss;
    if (l->since_ns && x->now_ns - l->since_ns < WINDOW_NS)
        return;
    int32_t lost = b->cumulative_lost - l->lost;
    uint32_t sent = b->highest_seq - l->highest;
    int first = !l->since_ns;
    l->since_ns = x->now_ns;
    l->lost = b->cumulative_lost;
    l->highest = b->highest_seq;
    if (first || sent == 0 || sent > 1u << 16)
        return;
    uint32_t gone = lost < 0 ? 0 : (uint32_t)lost < sent ? (uint32_t)lost : sent;
    l->percent = (uint8_t)(100 * gone / sent);
    if (gone && gone * MUCH >= sent) {
        l->windows = l->windows < MOST ? l->windows + 1 : MOST;
        if (l->windows >= SURE)
            l->much_ns = x->now_ns;
    } else if (l->windows) {
        l->windows--;
    }
}

int rf_loss_is_much(const rf_ctx *x, const rf_view *v) {
    return v->loss.much_ns && x->now_ns - v->loss.much_ns < BELIEVED_NS;
}
