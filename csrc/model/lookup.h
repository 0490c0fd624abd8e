/* Tables that say whose a datagram is: path -> peer, ufrag -> peer. Open addressing with linear
 * probing and backward-shift deletion; a fixed number of places; one thread. Only validated tuples
 * and our own ufrags are ever entered, and the hash is seeded, so nobody outside can crowd it. */
#ifndef RF_MODEL_LOOKUP_H
#define RF_MODEL_LOOKUP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bucket.h"
#include "rtcfwd.h"

typedef struct rf_path_entry {
    rf_path path;
    rf_handle peer; /* 0: free place */
    uint16_t owner;
    rf_bucket punts;
} rf_path_entry;

typedef struct rf_path_table {
    rf_path_entry *entries; /* owned */
    uint64_t mask, used, seed;
} rf_path_table;

int rf_paths_init(rf_path_table *t, uint32_t places, uint64_t seed);
void rf_paths_free(rf_path_table *t);
rf_path_entry *rf_paths_find(const rf_path_table *t, const rf_path *path);
int rf_paths_put(rf_path_table *t, const rf_path *path, rf_handle peer, uint16_t owner);
/* Takes the entry away if it still belongs to that peer. */
void rf_paths_remove(rf_path_table *t, const rf_path *path, rf_handle peer);

typedef struct rf_ufrag_entry {
    uint8_t bytes[32];
    uint8_t len; /* 0: free place */
    rf_handle peer;
} rf_ufrag_entry;

typedef struct rf_ufrag_table {
    rf_ufrag_entry *entries; /* owned */
    uint64_t mask, used, seed;
} rf_ufrag_table;

int rf_ufrags_init(rf_ufrag_table *t, uint32_t places, uint64_t seed);
void rf_ufrags_free(rf_ufrag_table *t);
rf_handle rf_ufrags_find(const rf_ufrag_table *t, const uint8_t *ufrag, size_t len);
int rf_ufrags_put(rf_ufrag_table *t, const uint8_t *ufrag, size_t len, rf_handle peer);
void rf_ufrags_remove(rf_ufrag_table *t, const uint8_t *ufrag, size_t len, rf_handle peer);

static inline int rf_path_equal(const rf_path *a, const rf_path *b) {
    return a->remote_port == b->remote_port && a->connection == b->connection &&
           memcmp(a->remote_ip, b->remote_ip, 16) == 0 && memcmp(a->local_ip, b->local_ip, 16) == 0;
}

#endif
