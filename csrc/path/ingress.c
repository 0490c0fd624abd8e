/* Stage 1: what the socket holds, one batch at a time. The turn calls it a bounded number of times,
 * so that fan-out and commands get their turn too. */
#include "path/path.h"

int rf_ingress(rf_ctx *x, rf_datagram batch[RF_NET_BATCH]) {
    int n = x->net->receive(x->net, batch, RF_NET_BATCH);
    uint64_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += batch[i].len;
    rf_count(&x->received, (uint64_t)n);
    rf_count(&x->received_bytes, bytes);
    return n;
}
