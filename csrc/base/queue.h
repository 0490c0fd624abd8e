/* A bounded queue of fixed-size cells, many producers, one or many consumers, no lock
 * (Vyukov's bounded MPMC ring: one sequence number a cell). Used for commands down, events and
 * punts up, and datagrams between workers. Cells are written in place: reserve, fill, publish.
 * Promises: a full queue refuses (RF_EFULL), never blocks; clean under ThreadSanitizer. */
#ifndef RF_BASE_QUEUE_H
#define RF_BASE_QUEUE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rf_queue {
    uint8_t *cells; /* owned: capacity cells of stride bytes, each led by its sequence number */
    size_t stride;
    uint64_t mask;
    _Alignas(64) _Atomic uint64_t head; /* producers */
    _Alignas(64) _Atomic uint64_t tail; /* consumers */
} rf_queue;

/* capacity: a power of two; cell: bytes of one cell's content. */
int rf_queue_init(rf_queue *q, size_t capacity, size_t cell);
void rf_queue_free(rf_queue *q);

/* A cell to fill, or NULL when full; *ticket goes back with publish. */
void *rf_queue_reserve(rf_queue *q, uint64_t *ticket);
void rf_queue_publish(rf_queue *q, uint64_t ticket);

/* The oldest published cell, or NULL when empty; it stays valid until release. */
void *rf_queue_peek(rf_queue *q, uint64_t *ticket);
void rf_queue_release(rf_queue *q, uint64_t ticket);

/* About how many cells are waiting (exact when nobody else is at work). */
size_t rf_queue_size(const rf_queue *q);

#endif
