/* Reference times of a peer's receivers (RFC 3611 section 4.4) that are still to be answered:
 * feedback/xr.c. Only the peer's owner touches it. */
#ifndef RF_MODEL_RRTR_H
#define RF_MODEL_RRTR_H

#include <stdint.h>

#define RF_RRTRS 2 /* receivers of one peer: sound's and video's */

typedef struct rf_rrtrs {
    struct {
        uint32_t ssrc, mid; /* whose, and the middle 32 bits of its time */
        uint64_t at_ns;     /* when it came; 0: none */
    } from[RF_RRTRS];
    uint64_t told_ns; /* the newest answer */
} rf_rrtrs;

#endif
