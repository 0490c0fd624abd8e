/* 16-bit sequence numbers become 64-bit at the door; nothing behind it compares 16-bit numbers.
 * (RFC 3550 appendix A.1, RFC 3711 section 3.3.1) */
#ifndef RF_BASE_SEQ_H
#define RF_BASE_SEQ_H

#include <stdint.h>

/* The 64-bit number whose low 16 bits are `seq` and which lies nearest to `near`
 * (ties go up). Never below 0: near the origin the upper candidate is taken. */
static inline uint64_t rf_seq_unwrap(uint64_t near, uint16_t seq) {
    int16_t delta = (int16_t)(uint16_t)(seq - (uint16_t)near);
    if (delta < 0 && (uint64_t)(-(int64_t)delta) > near)
        return near + (uint64_t)((int64_t)delta + 65536);
    return near + (uint64_t)(int64_t)delta;
}

#endif
