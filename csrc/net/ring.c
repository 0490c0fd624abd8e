/* See ring.h. Positions count bytes for ever; a place is a position modulo the size. */
#include "net/ring.h"

#include <string.h>

#include "base/error.h"

void rf_ring_init(rf_ring *r, uint8_t *bytes, uint32_t size) {
    r->bytes = bytes;
    r->size = size;
    atomic_init(&r->tail, 0);
    atomic_init(&r->head, 0);
}

static void copy_in(rf_ring *r, uint64_t at, const uint8_t *data, size_t len) {
    size_t place = (size_t)(at & (r->size - 1)), first = r->size - place;
    if (first > len)
        first = len;
    memcpy(r->bytes + place, data, first);
    memcpy(r->bytes, data + first, len - first);
}

int rf_ring_put(rf_ring *r, const uint8_t *data, size_t len) {
    if (len > UINT16_MAX || rf_ring_used(r) + RF_FRAME_HEAD + len > r->size)
        return RF_EFULL;
    uint64_t at = atomic_load_explicit(&r->tail, memory_order_relaxed);
    const uint8_t head[RF_FRAME_HEAD] = {(uint8_t)(len >> 8), (uint8_t)len};
    copy_in(r, at, head, sizeof head);
    copy_in(r, at + RF_FRAME_HEAD, data, len);
    atomic_store_explicit(&r->tail, at + RF_FRAME_HEAD + len, memory_order_release);
    return RF_OK;
}

int rf_ring_pieces(const rf_ring *r, size_t limit, struct iovec out[2]) {
    size_t n = rf_ring_used(r);
    size_t place = (size_t)(atomic_load_explicit(&r->head, memory_order_relaxed) & (r->size - 1));
    size_t first = r->size - place;
    if (n > limit)
        n = limit;
    if (!n)
        return 0;
    out[0].iov_base = r->bytes + place;
    out[0].iov_len = n < first ? n : first;
    if (n <= first)
        return 1;
    out[1].iov_base = r->bytes;
    out[1].iov_len = n - first;
    return 2;
}

size_t rf_ring_frame(const rf_ring *r) {
    uint64_t at = atomic_load_explicit(&r->head, memory_order_relaxed);
    size_t high = r->bytes[at & (r->size - 1)], low = r->bytes[(at + 1) & (r->size - 1)];
    return RF_FRAME_HEAD + (high << 8 | low);
}

void rf_ring_take(rf_ring *r, size_t bytes) {
    uint64_t at = atomic_load_explicit(&r->head, memory_order_relaxed);
    atomic_store_explicit(&r->head, at + bytes, memory_order_release);
}
