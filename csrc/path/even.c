/* Padding that makes runs longer. Browsers cut a frame into packets as alike as can be, the shorter
 * ones first (705, 705, 706 bytes). In a GSO message all segments are alike and only the last one
 * may be shorter, so every such step would cost a message more. Where a publisher cuts so, its
 * payloads are padded to a multiple of 16 when they enter the log (RFC 3550 section 5.1): the
 * neighbours become alike. The padding is the slot's, so it is the same for all viewers and in
 * every resend on the same SSRC; RTX leaves it out. */
#include "path/path.h"

enum {
    UNIT = 16,
    SMALL = 256,  /* payloads below it are alone in their frame: nothing to join */
    LARGE = 1184, /* … above it are cut at an MTU, and must not grow over it */
    MEMORY = 255, /* packets for which one step is believed to be a habit */
    STEP = 2      /* bytes between the longest and the shortest of a frame cut evenly */
};

uint8_t rf_even_padding(rf_even *e, uint32_t ts, size_t payload_len) {
    int step = e->ts == ts && payload_len > e->len && payload_len - e->len <= STEP;
    e->ts = ts;
    e->len = (uint16_t)payload_len;
    if (payload_len < SMALL || payload_len > LARGE)
        return 0;
    if (step)
        e->habit = MEMORY;
    else if (e->habit)
        e->habit--;
    return e->habit ? (uint8_t)((UNIT - payload_len % UNIT) % UNIT) : 0;
}
