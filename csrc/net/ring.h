/* A ring of framed datagrams between two threads: RFC 4571's 16-bit length and the bytes, exactly
 * as they go over a TCP connection. One producer, one consumer, no lock. A frame is put whole or
 * not at all; the consumer takes bytes, so that a partial write leaves the rest in place. */
#ifndef RF_NET_RING_H
#define RF_NET_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define RF_FRAME_HEAD 2u

typedef struct rf_ring {
    uint8_t *bytes;                     /* the user's; `size` of them */
    uint32_t size;                      /* a power of two */
    _Alignas(64) _Atomic uint64_t tail; /* written by the producer */
    _Alignas(64) _Atomic uint64_t head; /* … by the consumer */
} rf_ring;

void rf_ring_init(rf_ring *r, uint8_t *bytes, uint32_t size);

/* The producer's: RF_OK, or RF_EFULL and nothing was put. */
int rf_ring_put(rf_ring *r, const uint8_t *data, size_t len);

/* The consumer's: what is readable, at most `limit` bytes, in 0 to 2 pieces; returns how many. */
int rf_ring_pieces(const rf_ring *r, size_t limit, struct iovec out[2]);
/* The whole first frame's bytes, head included. Something must be readable. */
size_t rf_ring_frame(const rf_ring *r);
void rf_ring_take(rf_ring *r, size_t bytes);

/* Bytes in the ring; either side's, of which the producer sees at least what is there and the
 * consumer at most. */
static inline size_t rf_ring_used(const rf_ring *r) {
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    return (size_t)(atomic_load_explicit(&r->tail, memory_order_acquire) - head);
}

#endif
