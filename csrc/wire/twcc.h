/* Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01
 * section 3.1): which packets of a transport came, and when, in steps of 250 µs. Pure. */
#ifndef RF_WIRE_TWCC_H
#define RF_WIRE_TWCC_H

#include "wire/rtcp.h"

#define RF_TWCC_TICK_NS 250000
#define RF_TWCC_MOST 2048 /* packets that one feedback packet tells of */

/* Appends one feedback packet (RFC 4585: RTPFB, FMT 15) that tells of packet `base` and those after
 * it: ticks[i] is when base + i came, in steps of 250 µs of any clock, 0: it did not. `count`: of
 * the feedback packets before this one. Returns how many it tells of, from the first on: fewer than
 * `packets` where the room ends, or where two came more than 8 s after one another. RF_ENOSPC:
 * there is room for none; RF_EINVAL: packets is below 1. Both leave the writer untouched. */
int rf_rtcp_write_twcc(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc, uint8_t count,
                       uint16_t base, const uint64_t *ticks, int packets);

#endif
