/* One worker's world: everything that its thread owns, and the few queues that others reach.
 * path/ and feedback/ work on it; worker/ makes it, runs it and takes it down. */
#ifndef RF_MODEL_CONTEXT_H
#define RF_MODEL_CONTEXT_H

#include <time.h>

#include "base/bucket.h"
#include "base/counter.h"
#include "base/drop.h"
#include "base/queue.h"
#include "model/delays.h"
#include "model/lookup.h"
#include "model/peer.h"
#include "net/net.h"
#include "net/tcp.h"
#include "net/waker.h"
#include "srtp/engine.h"

#define RF_JOBS RF_SRTP_BATCH
#define RF_SLAB (320 * 1024)
#define RF_AGAIN 1024    /* a power of two */
#define RF_JOB_ROOM 2048 /* header with extensions, payload, tag, and what libsrtp may scribble */
#define RF_EARLY 128     /* datagrams kept for peers whose keys are on their way */
#define RF_SOURCE_BUCKETS 1024
#define RF_EVENT_DATA 256

/* ---- cells of the queues ---- */

typedef struct rf_punt { /* worker -> control plane: STUN, DTLS */
    uint8_t type;        /* enum rf_event_type */
    uint32_t len;
    rf_handle peer;
    rf_path path;
    uint64_t at_ns;
    uint8_t data[RF_MAX_DATAGRAM];
} rf_punt;

typedef struct rf_notice { /* worker -> control plane: everything else */
    uint8_t type, kind;
    uint16_t len;
    rf_handle peer, stream;
    uint64_t at_ns;
    uint8_t data[RF_EVENT_DATA];
} rf_notice;

#define RF_MAIL_RAW 255 /* class of a datagram that came over TCP: not looked at yet */

typedef struct rf_mail { /* to a worker: media that arrived at another's socket, or over TCP */
    rf_handle peer;
    rf_path path;
    uint64_t at_ns; /* as a datagram's */
    uint32_t len;
    uint8_t class;
    uint8_t data[RF_MAX_DATAGRAM];
} rf_mail;

typedef struct rf_early {
    rf_handle peer; /* 0: free */
    uint64_t at_ns;
    uint32_t len;
    uint8_t class;
    uint8_t data[RF_MAX_DATAGRAM + RF_SRTP_TRAILER];
} rf_early;

/* ---- fan-out ---- */

typedef struct rf_seat { /* a viewer, and where the memory lies that a pass will want of it */
    rf_peer *peer;
    const rf_view *view;
    const void *schedule;
} rf_seat;

typedef struct rf_sub { /* this worker's viewers of one stream */
    rf_stream *stream;
    rf_seat *viewers; /* owned, dense */
    uint32_t count, cap;
    uint32_t resume; /* viewer to begin with */
    uint8_t pending; /* some viewer has more to get */
    int logs;        /* the stream's, during a pass */
    uint64_t seen[RF_LOGS];
    uint64_t low[RF_LOGS], head[RF_LOGS]; /* during a pass */
} rf_sub;

typedef struct rf_job_info {
    rf_peer *peer;
    uint64_t index;      /* of the slot; RF_NO_PIN for a resend */
    uint64_t arrival_ns; /* 0: its delay says nothing of us (a resend, a backlog) */
    uint8_t kind;
} rf_job_info;

typedef struct rf_again { /* a copy of a resend, to be sent when it is due */
    rf_handle peer;
    uint64_t out_seq, due_ns;
    uint8_t kind;
    uint8_t copies; /* that are left, this one included; 0: none, an answer that had to wait */
} rf_again;

typedef struct rf_mailbox {
    rf_queue queue; /* of rf_mail */
    rf_waker waker;
} rf_mailbox;

typedef struct rf_shared { /* what workers share; fixed after start */
    const rf_config *config;
    int workers;
    rf_mailbox mailbox[RF_MAX_WORKERS];
    rf_waker python; /* rung when a punt or notice waits */
    rf_tcp *tcp;     /* owned by the forwarder; NULL: none */
} rf_shared;

typedef struct rf_ctx {
    rf_shared *shared;
    const rf_config *config;
    int worker;
    rf_net *net;
    rf_srtp_engine srtp;
    uint64_t now_ns;
    uint64_t arrival_ns; /* of the datagram in hand: the kernel's stamp, or else now */
    int blocked;         /* the socket is full */
    int pacing;          /* somebody's start burst waits for time to pass */
    int stalled;         /* some viewer's TCP connection has no room */
    int legs;            /* viewers over TCP */

    rf_path_table paths;
    rf_ufrag_table ufrags;
    rf_peer **peers; /* by handle index; those it owns */
    rf_peer **own;   /* the same, dense */
    uint32_t own_count, own_next;
    rf_peer **pubs; /* publishers among them */
    uint32_t pub_count;
    rf_sub *subs;
    uint32_t sub_count, sub_resume;

    rf_queue commands;      /* control plane -> worker */
    rf_queue punts_known;   /* worker -> control plane, validated tuples */
    rf_queue punts_unknown; /* … others */
    rf_queue notices;
    rf_bucket punt_total;
    rf_bucket punt_source[RF_SOURCE_BUCKETS];

    rf_early *early;
    uint32_t early_next;

    rf_again again[RF_AGAIN];
    uint32_t again_first, again_count;

    uint8_t *slab;
    size_t slab_at;
    rf_srtp_job jobs[RF_JOBS];
    rf_job_info info[RF_JOBS];
    rf_message messages[RF_JOBS];
    uint16_t first_job[RF_JOBS]; /* of each message */
    int job_count;

    uint64_t next_tick_ns;
    uint64_t random; /* xorshift state for jitter of timers; not for secrets */

    /* figures */
    rf_counter turns, received, received_bytes, wakeups, punts, mailboxed, checks, feedback;
    rf_counter packets, runs;
    rf_counter video, discardable, layer_changes;
    rf_delays delays;
    rf_counter drops[RF_DROP_COUNT];
} rf_ctx;

/* The time: a live worker's clock, or in memory the time that the turn was given. */
static inline uint64_t rf_clock_now(rf_ctx *x) {
    if (!x->config->in_memory) {
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        x->now_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
    }
    return x->now_ns;
}

static inline void rf_drop(rf_ctx *x, enum rf_drop why) {
    rf_count(&x->drops[why], 1);
}

static inline void rf_drop_peer(rf_ctx *x, rf_peer *p, enum rf_drop why) {
    rf_count(&x->drops[why], 1);
    rf_count(&p->drops, 1);
}

/* The peer behind a handle that this worker owns, or NULL. */
static inline rf_peer *rf_peer_of(const rf_ctx *x, rf_handle h) {
    uint32_t index = (uint32_t)h - 1;
    if (h == 0 || index >= x->config->max_peers)
        return NULL;
    rf_peer *p = x->peers[index];
    return p && p->handle == h ? p : NULL;
}

#endif
