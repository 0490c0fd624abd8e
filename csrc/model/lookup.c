/* See lookup.h. */
#include "model/lookup.h"

#include <stdlib.h>

#include "base/error.h"

static uint64_t mix(uint64_t h) {
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

static uint64_t hash_bytes(uint64_t seed, const uint8_t *data, size_t len) {
    uint64_t h = mix(seed ^ len);
    while (len > 0) {
        uint64_t word = 0;
        size_t n = len < 8 ? len : 8;
        memcpy(&word, data, n);
        h = mix(h ^ word);
        data += n;
        len -= n;
    }
    return h;
}

static uint64_t path_hash(uint64_t seed, const rf_path *p) {
    uint64_t h =
        hash_bytes(seed ^ p->remote_port ^ (uint64_t)p->connection << 16, p->remote_ip, 16);
    return hash_bytes(h, p->local_ip, 16);
}

/* ---- paths ---- */

int rf_paths_init(rf_path_table *t, uint32_t places, uint64_t seed) {
    t->entries = calloc(places, sizeof *t->entries);
    t->mask = places - 1;
    t->used = 0;
    t->seed = seed;
    return t->entries ? RF_OK : RF_ENOMEM;
}

void rf_paths_free(rf_path_table *t) {
    free(t->entries);
    t->entries = NULL;
}

rf_path_entry *rf_paths_find(const rf_path_table *t, const rf_path *path) {
    for (uint64_t i = path_hash(t->seed, path) & t->mask; t->entries[i].peer; i = (i + 1) & t->mask)
        if (rf_path_equal(&t->entries[i].path, path))
            return &t->entries[i];
    return NULL;
}

int rf_paths_put(rf_path_table *t, const rf_path *path, rf_handle peer, uint16_t owner) {
    rf_path_entry *e = rf_paths_find(t, path);
    if (!e) {
        if (t->used * 4 >= (t->mask + 1) * 3)
            return RF_EFULL;
        uint64_t i = path_hash(t->seed, path) & t->mask;
        while (t->entries[i].peer)
            i = (i + 1) & t->mask;
        e = &t->entries[i];
        memset(e, 0, sizeof *e);
        e->path = *path;
        t->used++;
    }
    e->peer = peer;
    e->owner = owner;
    return RF_OK;
}

void rf_paths_remove(rf_path_table *t, const rf_path *path, rf_handle peer) {
    rf_path_entry *e = rf_paths_find(t, path);
    if (!e || e->peer != peer)
        return;
    uint64_t hole = (uint64_t)(e - t->entries);
    for (uint64_t i = (hole + 1) & t->mask; t->entries[i].peer; i = (i + 1) & t->mask) {
        uint64_t home = path_hash(t->seed, &t->entries[i].path) & t->mask;
        if (((i - home) & t->mask) >= ((i - hole) & t->mask)) {
            t->entries[hole] = t->entries[i];
            hole = i;
        }
    }
    memset(&t->entries[hole], 0, sizeof t->entries[hole]);
    t->used--;
}

/* ---- ufrags ---- */

int rf_ufrags_init(rf_ufrag_table *t, uint32_t places, uint64_t seed) {
    t->entries = calloc(places, sizeof *t->entries);
    t->mask = places - 1;
    t->used = 0;
    t->seed = seed;
    return t->entries ? RF_OK : RF_ENOMEM;
}

void rf_ufrags_free(rf_ufrag_table *t) {
    free(t->entries);
    t->entries = NULL;
}

static rf_ufrag_entry *find_ufrag(const rf_ufrag_table *t, const uint8_t *ufrag, size_t len) {
    if (len == 0 || len > sizeof t->entries[0].bytes)
        return NULL;
    for (uint64_t i = hash_bytes(t->seed, ufrag, len) & t->mask; t->entries[i].len;
         i = (i + 1) & t->mask)
        if (t->entries[i].len == len && memcmp(t->entries[i].bytes, ufrag, len) == 0)
            return &t->entries[i];
    return NULL;
}

rf_handle rf_ufrags_find(const rf_ufrag_table *t, const uint8_t *ufrag, size_t len) {
    const rf_ufrag_entry *e = find_ufrag(t, ufrag, len);
    return e ? e->peer : 0;
}

int rf_ufrags_put(rf_ufrag_table *t, const uint8_t *ufrag, size_t len, rf_handle peer) {
    if (len == 0 || len > sizeof t->entries[0].bytes)
        return RF_EINVAL;
    if (find_ufrag(t, ufrag, len))
        return RF_ESTATE;
    if (t->used * 4 >= (t->mask + 1) * 3)
        return RF_EFULL;
    uint64_t i = hash_bytes(t->seed, ufrag, len) & t->mask;
    while (t->entries[i].len)
        i = (i + 1) & t->mask;
    memcpy(t->entries[i].bytes, ufrag, len);
    t->entries[i].len = (uint8_t)len;
    t->entries[i].peer = peer;
    t->used++;
    return RF_OK;
}

void rf_ufrags_remove(rf_ufrag_table *t, const uint8_t *ufrag, size_t len, rf_handle peer) {
    rf_ufrag_entry *e = find_ufrag(t, ufrag, len);
    if (!e || e->peer != peer)
        return;
    uint64_t hole = (uint64_t)(e - t->entries);
    for (uint64_t i = (hole + 1) & t->mask; t->entries[i].len; i = (i + 1) & t->mask) {
        uint64_t home = hash_bytes(t->seed, t->entries[i].bytes, t->entries[i].len) & t->mask;
        if (((i - home) & t->mask) >= ((i - hole) & t->mask)) {
            t->entries[hole] = t->entries[i];
            hole = i;
        }
    }
    memset(&t->entries[hole], 0, sizeof t->entries[hole]);
    t->used--;
}
