/* See queue.h. A cell is led by its turn, an atomic 64-bit number:
 *
 *   turn == position              free, a producer at that position may take it
 *   turn == position + 1          published, a consumer at that position may take it
 *   turn == position + capacity   free again, for the next lap
 */
#include "base/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define LEAD 16 /* bytes before the content: the turn, and alignment */

static _Atomic uint64_t *turn_of(const rf_queue *q, uint64_t position) {
    return (_Atomic uint64_t *)(void *)(q->cells + (position & q->mask) * q->stride);
}

static void *content_of(const rf_queue *q, uint64_t position) {
    return q->cells + (position & q->mask) * q->stride + LEAD;
}

int rf_queue_init(rf_queue *q, size_t capacity, size_t cell) {
    memset(q, 0, sizeof *q);
    if (capacity < 2 || (capacity & (capacity - 1)))
        return RF_EINVAL;
    q->stride = (LEAD + cell + 15) / 16 * 16;
    q->mask = capacity - 1;
    q->cells = calloc(capacity, q->stride);
    if (!q->cells)
        return RF_ENOMEM;
    for (size_t i = 0; i < capacity; i++)
        atomic_init(turn_of(q, i), i);
    atomic_init(&q->head, 0);
    atomic_init(&q->tail, 0);
    return RF_OK;
}

void rf_queue_free(rf_queue *q) {
    free(q->cells);
    q->cells = NULL;
}

void *rf_queue_reserve(rf_queue *q, uint64_t *ticket) {
    uint64_t at = atomic_load_explicit(&q->head, memory_order_relaxed);
    for (;;) {
        uint64_t turn = atomic_load_explicit(turn_of(q, at), memory_order_acquire);
        int64_t ahead = (int64_t)(turn - at);
        if (ahead < 0)
            return NULL; /* a lap behind: full */
        if (ahead > 0) {
            at = atomic_load_explicit(&q->head, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(
                       &q->head, &at, at + 1, memory_order_seq_cst, memory_order_relaxed)) {
            *ticket = at;
            return content_of(q, at);
        }
    }
}

void rf_queue_publish(rf_queue *q, uint64_t ticket) {
    atomic_store_explicit(turn_of(q, ticket), ticket + 1, memory_order_seq_cst);
}

void *rf_queue_peek(rf_queue *q, uint64_t *ticket) {
    uint64_t at = atomic_load_explicit(&q->tail, memory_order_relaxed);
    for (;;) {
        uint64_t turn = atomic_load_explicit(turn_of(q, at), memory_order_acquire);
        int64_t ahead = (int64_t)(turn - (at + 1));
        if (ahead < 0)
            return NULL;
        if (ahead > 0) {
            at = atomic_load_explicit(&q->tail, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(
                       &q->tail, &at, at + 1, memory_order_relaxed, memory_order_relaxed)) {
            *ticket = at;
            return content_of(q, at);
        }
    }
}

void rf_queue_release(rf_queue *q, uint64_t ticket) {
    atomic_store_explicit(turn_of(q, ticket), ticket + q->mask + 1, memory_order_release);
}

size_t rf_queue_size(const rf_queue *q) {
    uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&q->head, memory_order_seq_cst);
    return head > tail ? (size_t)(head - tail) : 0;
}
