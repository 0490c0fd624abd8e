/* The engine that is always there: libsrtp inside pylibsrtp's wheel, by the function pointers that
 * Python took from it. It works in place, so a job costs one copy more than with an engine that
 * encrypts out of place. One srtp_t belongs to one thread. */
#include <string.h>

#include "base/error.h"
#include "srtp/engine.h"

/* libsrtp 2.x error codes that we tell apart. */
enum { LIBSRTP_REPLAY_FAIL = 9, LIBSRTP_REPLAY_OLD = 10 };

static void protect(const rf_srtp_engine *e, rf_srtp_job *jobs, int count) {
    for (int i = 0; i < count; i++) {
        rf_srtp_job *job = &jobs[i];
        if (job->src && job->src_len)
            memcpy(job->dst + job->head_len, job->src, job->src_len);
        int len = job->head_len + job->src_len;
        int rc = e->lib.protect(job->key->tx, job->dst, &len);
        job->rc = rc == 0 && len == job->out_len ? 0 : RF_EAUTH;
    }
}

static void close_engine(rf_srtp_engine *e) {
    e->state = NULL;
}

int rf_srtp_engine_libsrtp(rf_srtp_engine *e, const rf_libsrtp *lib) {
    memset(e, 0, sizeof *e);
    e->name = "libsrtp";
    e->lib = *lib;
    e->protect = protect;
    e->free = close_engine;
    return RF_OK;
}

int rf_srtp_key_init(rf_srtp_key *k, int profile, void *rx, void *tx) {
    memset(k, 0, sizeof *k);
    if (profile == RF_PROFILE_SHA1_80)
        k->tag_len = 10;
    else if (profile == RF_PROFILE_GCM_128 || profile == RF_PROFILE_GCM_256)
        k->tag_len = 16;
    else
        return RF_EINVAL;
    k->profile = (uint16_t)profile;
    k->rx = rx;
    k->tx = tx;
    return RF_OK;
}

static int checked(int (*fn)(void *, void *, int *), void *ctx, uint8_t *data, uint32_t *len) {
    int n = (int)*len;
    int rc = fn(ctx, data, &n);
    if (rc == LIBSRTP_REPLAY_FAIL || rc == LIBSRTP_REPLAY_OLD)
        return RF_EAGAIN;
    if (rc != 0 || n < 0)
        return RF_EAUTH;
    *len = (uint32_t)n;
    return RF_OK;
}

int rf_srtp_unprotect(const rf_srtp_engine *e, rf_srtp_key *k, uint8_t *data, uint32_t *len) {
    return checked(e->lib.unprotect, k->rx, data, len);
}

int rf_srtp_unprotect_rtcp(const rf_srtp_engine *e, rf_srtp_key *k, uint8_t *data, uint32_t *len) {
    return checked(e->lib.unprotect_rtcp, k->rx, data, len);
}

int rf_srtp_protect_rtcp(const rf_srtp_engine *e, rf_srtp_key *k, uint8_t *data, uint32_t *len) {
    return checked(e->lib.protect_rtcp, k->tx, data, len);
}
