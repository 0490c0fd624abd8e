/* A repair is sent more than once to a viewer whose way loses much: what is lost there is lost
 * again as often, and a viewer asks again only a round trip later, or 100 ms. The copies leave some
 * milliseconds apart, since losses come in bursts; each costs the viewer's budget for resends. One
 * queue a worker, in the order in which they are due; when it is full, there are no copies. */
#include "feedback/feedback.h"
#include "path/path.h"

void rf_again_later(rf_ctx *x, const rf_peer *p, int kind, uint64_t out_seq, int copies) {
    static const uint64_t APART_NS = 12000000;
    if (x->again_count == RF_AGAIN)
        return;
    rf_again *a = &x->again[(x->again_first + x->again_count++) & (RF_AGAIN - 1)];
    *a = (rf_again){p->handle, out_seq, x->now_ns + APART_NS, (uint8_t)kind, (uint8_t)copies};
}

void rf_again_now(rf_ctx *x) {
    int any = 0;
    while (x->again_count && !x->blocked) {
        rf_again a = x->again[x->again_first];
        if (a.due_ns > x->now_ns)
            break;
        x->again_first = (x->again_first + 1) & (RF_AGAIN - 1);
        x->again_count--;
        rf_peer *p = rf_peer_of(x, a.peer);
        if (p && p->view && p->has_path && !p->closing)
            rf_nack_copy(x, p, a.kind, a.out_seq, a.copies);
        any = 1;
    }
    if (any)
        rf_egress_flush(x);
}
