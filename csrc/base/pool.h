/* Memory that the packet path walks through: large pages, and pools of equal objects in them.
 *
 * A pass over thousands of viewers touches a few lines of each; with each on a page of its own, the
 * page walks cost more than the lines. One thread uses a pool. What is given back stays the pool's
 * until it is closed. Under a sanitizer every object is an allocation of its own, so that a use
 * after its end is still found. */
#ifndef RF_BASE_POOL_H
#define RF_BASE_POOL_H

#include <stddef.h>

typedef struct rf_pool {
    size_t object; /* bytes, a multiple of 64 */
    void *free;    /* list of objects */
    void *chunks;  /* list of large pages, owned */
} rf_pool;

void rf_pool_init(rf_pool *pool, size_t object);
/* Zeroed, aligned to 64 bytes; NULL: no memory. */
void *rf_pool_take(rf_pool *pool);
void rf_pool_give(rf_pool *pool, void *object); /* NULL is fine */
/* Every object is gone with it. */
void rf_pool_close(rf_pool *pool);

/* For free(); on a large page where the system has one. NULL: no memory. */
void *rf_large_alloc(size_t bytes);

#endif
