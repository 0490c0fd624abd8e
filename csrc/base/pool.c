/* See pool.h. */
#include "base/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LARGE ((size_t)2 << 20)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SINGLY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SINGLY 1
#endif
#endif
#ifndef SINGLY
#define SINGLY 0
#endif

typedef struct link {
    struct link *next;
} link;

void *rf_large_alloc(size_t bytes) {
    size_t whole = (bytes + LARGE - 1) / LARGE * LARGE;
    void *at = aligned_alloc(LARGE, whole);
    if (at)
        (void)madvise(at, whole, MADV_HUGEPAGE); /* where it is refused, small pages will do */
    return at;
}

void rf_pool_init(rf_pool *pool, size_t object) {
    pool->object = (object + 63) / 64 * 64;
    pool->free = pool->chunks = NULL;
}

static int grow(rf_pool *pool) {
    char *chunk = rf_large_alloc(LARGE);
    if (!chunk)
        return 0;
    ((link *)(void *)chunk)->next = pool->chunks;
    pool->chunks = chunk;
    /* the lowest comes to the top: few objects stand close together */
    size_t count = (LARGE - 64) / pool->object;
    for (size_t i = count; i-- > 0;)
        rf_pool_give(pool, chunk + 64 + i * pool->object);
    return 1;
}

void *rf_pool_take(rf_pool *pool) {
    void *object;
    if (SINGLY) {
        object = aligned_alloc(64, pool->object);
    } else {
        if (!pool->free && !grow(pool))
            return NULL;
        object = pool->free;
        pool->free = ((link *)object)->next;
    }
    if (object)
        memset(object, 0, pool->object);
    return object;
}

void rf_pool_give(rf_pool *pool, void *object) {
    if (SINGLY) {
        free(object);
    } else if (object) {
        ((link *)object)->next = pool->free;
        pool->free = object;
    }
}

void rf_pool_close(rf_pool *pool) {
    for (link *chunk = pool->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    pool->free = pool->chunks = NULL;
}
