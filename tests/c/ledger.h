/* The drop counters as a ledger: what was counted since the last look, under which name alone, and
 * at the end which names a test has provoked. */
#ifndef RF_TESTS_LEDGER_H
#define RF_TESTS_LEDGER_H

#include "path/path.h"
#include "worker/worker.h"
#include "world.h"

static uint8_t provoked[RF_DROP_COUNT];
static uint64_t base[RF_DROP_COUNT];

static inline void look_from(const world *w) {
    for (int d = 0; d < RF_DROP_COUNT; d++)
        base[d] = drops(w, rf_drop_name(d));
}

static inline void expect(const world *w, const char *name, uint64_t n) {
    for (int d = 0; d < RF_DROP_COUNT; d++) {
        uint64_t got = drops(w, rf_drop_name(d)) - base[d];
        int meant = strcmp(rf_drop_name(d), name) == 0;
        if (got != (meant ? n : 0)) {
            fprintf(stderr, "%s: %llu of %s\n", name, (unsigned long long)got, rf_drop_name(d));
            exit(1);
        }
        provoked[d] |= (uint8_t)(meant && n);
        checks_made++;
    }
    look_from(w);
}

static inline void begin(world *w, int workers) {
    rf_config c;
    stub_config(&c, workers, 1);
    world_open(w, &c);
    look_from(w);
}

static inline rf_path stranger(uint16_t port) {
    rf_path p;
    stub_path(&p, port);
    p.remote_ip[12] = 9;
    return p;
}

static inline rf_peer *inside(const world *w, const member *m) {
    return w->f->peers[(uint32_t)m->peer - 1].peer;
}

/* The test's main has provoked each of these, and no other. */
static inline void provoked_just(const char *const names[], size_t count) {
    for (int d = 0; d < RF_DROP_COUNT; d++) {
        int meant = 0;
        for (size_t i = 0; i < count; i++)
            meant |= strcmp(names[i], rf_drop_name(d)) == 0;
        if (provoked[d] != meant)
            fprintf(stderr, "%s: provoked %d, meant %d\n", rf_drop_name(d), provoked[d], meant);
        CHECK_EQ(provoked[d], meant);
    }
}

#endif
