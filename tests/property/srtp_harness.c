/* The SRTP engines for test_srtp_engines.py, by ctypes: a batch of packets is laid out as the slab
 * is, one right behind the other, headers first; what comes out is the slab. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "srtp/engine.h"

typedef struct harness {
    rf_srtp_engine engine;
    rf_srtp_key key;
} harness;

void harness_close(harness *h) {
    if (h->key.schedule)
        h->engine.forget(h->key.schedule);
    free(h->key.schedule);
    if (h->engine.free)
        h->engine.free(&h->engine);
    free(h);
}

harness *harness_open(int which, const rf_libsrtp *lib, int profile, void *rx, void *tx,
                      const rf_session_key *session) {
    harness *h = calloc(1, sizeof *h);
    int rc = h ? rf_srtp_engine_open(&h->engine, which, lib) : RF_ENOMEM;
    if (rc != RF_OK) {
        free(h);
        return NULL;
    }
    rc = rf_srtp_key_init(&h->key, profile, rx, tx);
    if (rc == RF_OK && h->engine.schedule_bytes) {
        size_t size = (h->engine.schedule_bytes + 63) / 64 * 64;
        h->key.schedule = aligned_alloc(64, size);
        memset(h->key.schedule, 0, size);
        h->engine.expand(&h->engine, profile, session, h->key.schedule);
    }
    if (rc != RF_OK) {
        harness_close(h);
        return NULL;
    }
    return h;
}

const char *harness_name(const harness *h) {
    return h->engine.name;
}

/* packets: one behind the other, lens[i] bytes each, of which clear[i] are header and heads[i]
 * stand at dst already; out: the slab. Returns its length, or an error. */
long harness_protect(harness *h, int count, const uint8_t *packets, const uint32_t *lens,
                     const uint32_t *clear, const uint32_t *heads, const uint64_t *index,
                     uint8_t *out) {
    rf_srtp_job jobs[RF_SRTP_BATCH];
    uint8_t *payloads[RF_SRTP_BATCH];
    size_t at = 0;
    if (count > RF_SRTP_BATCH)
        return RF_EINVAL;
    for (int i = 0; i < count; packets += lens[i++]) {
        uint32_t rest = lens[i] - heads[i];
        payloads[i] = malloc(rest ? rest : 1); /* of its exact size, as a log slot is to a reader */
        memcpy(payloads[i], packets + heads[i], rest);
        memcpy(out + at, packets, heads[i]);
        jobs[i] = (rf_srtp_job){
            .key = &h->key,
            .dst = out + at,
            .src = payloads[i],
            .index = index[i],
            .clear_len = (uint16_t)clear[i],
            .head_len = (uint16_t)heads[i],
            .src_len = (uint16_t)rest,
            .out_len = (uint16_t)(lens[i] + h->key.tag_len),
        };
        at += jobs[i].out_len;
    }
    h->engine.protect(&h->engine, jobs, count);
    long total = (long)at;
    for (int i = 0; i < count; i++) {
        free(payloads[i]);
        if (jobs[i].rc != 0)
            total = jobs[i].rc;
    }
    return total;
}

/* In place; the new length, or an error. */
long harness_unprotect(harness *h, uint8_t *data, uint32_t len, int rtcp) {
    int rc = rtcp ? rf_srtp_unprotect_rtcp(&h->engine, &h->key, data, &len)
                  : rf_srtp_unprotect(&h->engine, &h->key, data, &len);
    return rc == RF_OK ? (long)len : rc;
}

long harness_protect_rtcp(harness *h, uint8_t *data, uint32_t len) {
    int rc = rf_srtp_protect_rtcp(&h->engine, &h->key, data, &len);
    return rc == RF_OK ? (long)len : rc;
}
