/* The bounded queue of queue.h: a ring of cells after Dmitry Vyukov's bounded MPMC design.
 *
 * Each cell is led by a sequence number that says whose turn it is. For the position p that a
 * cell serves in this lap:
 *
 *     sequence == p              free: the producer that moves head from p to p + 1 owns it
 *     sequence == p + 1          published: the consumer that moves tail from p to p + 1 owns it
 *     sequence == p + capacity   released: free again, for the next lap
 *
 *        producer: reserve ──fill──▶ publish          consumer: peek ──read──▶ release
 *        CAS head                    sequence (rel)   CAS tail                 sequence (rel)
 *
 * The content is handed over by release/acquire on the sequence number alone; head and tail only
 * share out positions and are relaxed. peek claims: a second peek gives the next cell. There are
 * no fences, which ThreadSanitizer could not follow.
 */
#include "base/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum {
    LINE = 64, /* neighbours in the ring are written by different threads */
    LEAD = 16, /* the sequence number, padded so that content keeps the alignment of malloc */
};

typedef _Atomic uint64_t sequence;

static uint8_t *cell_at(const rf_queue *q, uint64_t position) {
    return q->cells + (size_t)(position & q->mask) * q->stride;
}

static sequence *sequence_of(uint8_t *cell) {
    return (sequence *)(void *)cell;
}

int rf_queue_init(rf_queue *q, size_t capacity, size_t cell) {
    memset(q, 0, sizeof *q);
    /* Below two cells "published" and "free for the next lap" would be the same number. */
    if (capacity < 2 || (capacity & (capacity - 1)) != 0 || cell == 0)
        return RF_EINVAL;
    if (cell > SIZE_MAX - LEAD - LINE)
        return RF_EINVAL;
    size_t stride = (cell + LEAD + LINE - 1) / LINE * LINE;
    if (capacity > SIZE_MAX / stride)
        return RF_EINVAL;
    q->cells = aligned_alloc(LINE, capacity * stride);
    if (q->cells == NULL)
        return RF_ENOMEM;
    memset(q->cells, 0, capacity * stride);
    q->stride = stride;
    q->mask = capacity - 1;
    for (size_t i = 0; i < capacity; i++)
        atomic_init(sequence_of(cell_at(q, i)), i);
    atomic_init(&q->head, 0);
    atomic_init(&q->tail, 0);
    return RF_OK;
}

void rf_queue_free(rf_queue *q) {
    free(q->cells);
    q->cells = NULL;
}

/* Takes the next position of `index` whose cell carries position + `offset`; NULL when the cell is
 * not that far yet, which is "full" to a producer (offset 0) and "empty" to a consumer (1). */
static void *claim(const rf_queue *q, _Atomic uint64_t *index, uint64_t offset, uint64_t *ticket) {
    uint64_t position = atomic_load_explicit(index, memory_order_relaxed);
    for (;;) {
        uint8_t *cell = cell_at(q, position);
        uint64_t found = atomic_load_explicit(sequence_of(cell), memory_order_acquire);
        int64_t ahead = (int64_t)(found - (position + offset));
        if (ahead < 0)
            return NULL;
        if (ahead > 0) { /* somebody else took it */
            position = atomic_load_explicit(index, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(index, &position, position + 1,
                                                         memory_order_relaxed,
                                                         memory_order_relaxed)) {
            *ticket = position;
            return cell + LEAD;
        }
    }
}

void *rf_queue_reserve(rf_queue *q, uint64_t *ticket) {
    return claim(q, &q->head, 0, ticket);
}

void rf_queue_publish(rf_queue *q, uint64_t ticket) {
    atomic_store_explicit(sequence_of(cell_at(q, ticket)), ticket + 1, memory_order_release);
}

void *rf_queue_peek(rf_queue *q, uint64_t *ticket) {
    return claim(q, &q->tail, 1, ticket);
}

void rf_queue_release(rf_queue *q, uint64_t ticket) {
    atomic_store_explicit(sequence_of(cell_at(q, ticket)), ticket + q->mask + 1,
                          memory_order_release);
}

size_t rf_queue_size(const rf_queue *q) {
    /* tail first: head can only grow meanwhile, so the difference is never negative. */
    uint64_t tail = atomic_load_explicit(&q->tail, memory_order_acquire);
    uint64_t head = atomic_load_explicit(&q->head, memory_order_acquire);
    uint64_t size = head - tail;
    return size > q->mask + 1 ? (size_t)(q->mask + 1) : (size_t)size;
}
