/* The SRTP engine interface: protect a batch of RTP jobs, unprotect a packet, SRTCP both ways.
 *
 * A job names where the packet shall stand (dst, its header already written) and where its payload
 * lies (src, a log slot): an engine that can encrypt out of place makes the cipher the copy; one
 * that works in place copies first. The tag's length is a constant of the key's profile, so the
 * layout of a slab is known before anything is encrypted.
 *
 * A key is used by one thread. libsrtp's contexts behind it are made and freed by Python; what an
 * engine keeps for a key of its own (`schedule`) is made and wiped by the control plane's thread,
 * in memory of the peer's. Inbound RTP and all SRTCP are libsrtp's with every engine; outbound RTP
 * is one engine's alone. */
#ifndef RF_SRTP_ENGINE_H
#define RF_SRTP_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "rtcfwd.h"

enum { RF_PROFILE_SHA1_80 = 1, RF_PROFILE_GCM_128 = 7, RF_PROFILE_GCM_256 = 8 };

#define RF_SRTP_BATCH 192 /* jobs of one protect call at most */
/* Room that libsrtp may want behind a packet: tag, MKI, SRTCP index. */
#define RF_SRTP_TRAILER 160

typedef struct rf_srtp_key {
    void *rx, *tx;  /* srtp_t of libsrtp */
    void *schedule; /* the engine's own expanded key for outbound RTP, or NULL */
    uint16_t profile;
    uint16_t tag_len; /* bytes that protect adds to an RTP packet */
} rf_srtp_key;

typedef struct rf_srtp_job {
    rf_srtp_key *key;
    uint8_t *dst;       /* header bytes stand here; payload and tag follow */
    const uint8_t *src; /* payload, or NULL when it already stands behind the header */
    uint64_t index;     /* 2^16 * roll-over counter + sequence number (RFC 3711 section 3.3.1) */
    uint16_t clear_len; /* RTP header, CSRCs, extensions: authenticated, not encrypted */
    uint16_t head_len;  /* … and what else stands at dst already (an RTX packet's OSN) */
    uint16_t src_len;
    uint16_t out_len; /* head + payload + tag */
    int16_t rc;       /* 0, or RF_EAUTH when the engine refused */
} rf_srtp_job;

typedef struct rf_srtp_engine rf_srtp_engine;
struct rf_srtp_engine {
    const char *name;
    rf_libsrtp lib;
    void *state; /* owned: the engine's own, one a thread */
    void (*protect)(const rf_srtp_engine *e, rf_srtp_job *jobs, int count);
    /* A key's expanded form, its schedule: the bytes it takes, 0 where the engine needs none; how
     * it is made, in zeroed memory aligned to 64 bytes; how it is wiped. */
    size_t schedule_bytes;
    void (*expand)(const rf_srtp_engine *e, int profile, const rf_session_key *key, void *schedule);
    void (*forget)(void *schedule);
    /* Asks for a schedule's memory (not NULL), all of it where a packet may be long. */
    void (*ask)(const void *schedule, int is_long);
    void (*free)(rf_srtp_engine *e);
};

/* The best engine of this build for this CPU, or the one that is asked for (enum rf_engine);
 * RF_EINVAL when that one is not here. */
int rf_srtp_engine_open(rf_srtp_engine *e, int which, const rf_libsrtp *lib);
int rf_srtp_engine_libsrtp(rf_srtp_engine *e, const rf_libsrtp *lib);
int rf_srtp_engine_ipsec_mb(rf_srtp_engine *e, const rf_libsrtp *lib);

/* 0, or RF_EINVAL for a profile that is not one of the three. */
int rf_srtp_key_init(rf_srtp_key *k, int profile, void *rx, void *tx);

/* In place; *len shrinks. 0, RF_EAUTH, or RF_EAGAIN for a replayed packet. */
int rf_srtp_unprotect(const rf_srtp_engine *e, rf_srtp_key *k, uint8_t *data, uint32_t *len);
int rf_srtp_unprotect_rtcp(const rf_srtp_engine *e, rf_srtp_key *k, uint8_t *data, uint32_t *len);
/* In place; the buffer needs RF_SRTP_TRAILER bytes of room. */
int rf_srtp_protect_rtcp(const rf_srtp_engine *e, rf_srtp_key *k, uint8_t *data, uint32_t *len);

#endif
