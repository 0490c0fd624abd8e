/* Stage 1: what the socket holds, in batches. Bounded, so that fan-out and commands get their turn:
 * four batches of 64. */
#include "path/path.h"

int rf_ingress(rf_ctx *x) {
    rf_datagram batch[RF_NET_BATCH];
    for (int round = 0; round < 4; round++) {
        int n = x->net->receive(x->net, batch, RF_NET_BATCH);
        uint64_t bytes = 0;
        for (int i = 0; i < n; i++) {
            bytes += batch[i].len;
            rf_demux(x, &batch[i]);
        }
        rf_count(&x->received, (uint64_t)n);
        rf_count(&x->received_bytes, bytes);
        if (n < RF_NET_BATCH)
            return 0;
    }
    return 1;
}
