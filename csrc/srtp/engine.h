/* The SRTP engine interface: protect a batch of RTP jobs, unprotect a packet, SRTCP both ways.
 *
 * A job names where the packet shall stand (dst, its header already written) and where its payload
 * lies (src, a log slot): an engine that can encrypt out of place makes the cipher the copy; one
 * that works in place copies first. The tag's length is a constant of the key's profile, so the
 * layout of a slab is known before anything is encrypted.
 *
 * A key is used by one thread. Contexts behind it are made and freed by Python. */
#ifndef RF_SRTP_ENGINE_H
#define RF_SRTP_ENGINE_H

#include <stdint.h>

#include "rtcfwd.h"

enum { RF_PROFILE_SHA1_80 = 1, RF_PROFILE_GCM_128 = 7, RF_PROFILE_GCM_256 = 8 };

#define RF_SRTP_TRAILER                                                                            \
    160 /* room that libsrtp may want behind a packet (tag, MKI, SRTCP index)                      \
         */

typedef struct rf_srtp_key {
    void *rx, *tx; /* srtp_t of libsrtp */
    uint16_t profile;
    uint16_t tag_len; /* bytes that protect adds to an RTP packet */
} rf_srtp_key;

typedef struct rf_srtp_job {
    rf_srtp_key *key;
    uint8_t *dst;       /* header bytes stand here; payload and tag follow */
    const uint8_t *src; /* payload, or NULL when it already stands behind the header */
    uint16_t head_len;  /* RTP header, CSRCs, extensions (and an RTX packet's OSN) */
    uint16_t src_len;
    uint16_t out_len; /* head + payload + tag */
    int16_t rc;       /* 0, or RF_EAUTH when the engine refused */
} rf_srtp_job;

typedef struct rf_srtp_engine {
    const char *name;
    rf_libsrtp lib;
    void (*protect)(const struct rf_srtp_engine *e, rf_srtp_job *jobs, int count);
} rf_srtp_engine;

void rf_srtp_engine_libsrtp(rf_srtp_engine *e, const rf_libsrtp *lib);

/* 0, or RF_EINVAL for a profile that is not one of the three. */
int rf_srtp_key_init(rf_srtp_key *k, int profile, void *rx, void *tx);

/* In place; *len shrinks. 0, RF_EAUTH, or RF_EAGAIN for a replayed packet. */
int rf_srtp_unprotect(const rf_srtp_engine *e, rf_srtp_key *k, uint8_t *data, uint32_t *len);
int rf_srtp_unprotect_rtcp(const rf_srtp_engine *e, rf_srtp_key *k, uint8_t *data, uint32_t *len);
/* In place; the buffer needs RF_SRTP_TRAILER bytes of room. */
int rf_srtp_protect_rtcp(const rf_srtp_engine *e, rf_srtp_key *k, uint8_t *data, uint32_t *len);

#endif
