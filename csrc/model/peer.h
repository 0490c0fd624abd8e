/* A peer: one ICE/DTLS/SRTP association, publisher or viewer of one stream. A viewer's view and its
 * engine's schedule lie behind it, in one piece of memory.
 * Made by the control plane's thread, handed to its owner (a worker) by command, touched by the
 * owner alone until PEER_GONE, then freed by the control plane's thread. Closing order:
 * docs/threads.md. */
#ifndef RF_MODEL_PEER_H
#define RF_MODEL_PEER_H

#include "base/counter.h"
#include "model/publisher.h"
#include "model/stream.h"
#include "model/viewer.h"
#include "net/tcp.h"
#include "srtp/engine.h"
#include "wire/sha1.h"

#define RF_CREDENTIALS 4 /* ufrags of one peer: two while ICE restarts */

typedef struct rf_credential {
    uint8_t ufrag[32];
    uint8_t len;
    rf_hmac_key key; /* of its password */
} rf_credential;

typedef struct rf_peer {
    _Alignas(64) rf_handle handle;
    rf_stream *stream; /* outlives the peer */
    uint16_t owner;
    uint8_t role;
    uint8_t closing;
    uint32_t source_asked; /* the net's `routes` when … */

    /* owner; what fan-out reads comes first */
    rf_view *view; /* in the peer's own memory; set by view */
    rf_srtp_key key;
    rf_leg *leg;      /* the selected path's TCP connection; NULL: UDP */
    rf_path selected; /* where media goes */
    uint8_t has_keys, has_path;
    uint8_t from_default; /* … it was asked whether the kernel chooses our address by itself */
    uint64_t started_ns;  /* a viewer's first packet; 0: not started */
    rf_credential credential[RF_CREDENTIALS]; /* those whose checks are answered here */
    int credentials;
    rf_pub *pub; /* owned; set by publish */
    uint64_t last_heard_ns, idle_told_ns;
    rf_bucket checks; /* answered here */

    /* figures; written by the owner, read by the control plane */
    _Atomic uint32_t stat_flags; /* 1 keys, 2 path, 4 started */
    rf_counter received, received_bytes, drops;
    rf_counter heard_ns, first_media_ns, rtt_ns;
    _Atomic uint64_t stat_path[5]; /* the selected path, word by word */

    /* control plane's thread only: what must be taken back from the workers' tables */
    rf_path known_path[RF_MAX_PATHS];
    int known_paths;
    rf_path told_selected;
    int has_told_selected;
    rf_handle told_stream;
    uint8_t told_derived;  /* counted among its stream's derived_viewers */
    uint8_t told_close;    /* nothing more may be asked of it */
    uint16_t told_profile; /* what set_keys and view were given; the objects outlive the peer's */
    const rf_view *told_view; /* stay in the owner, only counters in it are read from here */
    struct {
        uint8_t bytes[32];
        uint8_t len;
    } ufrag[RF_CREDENTIALS];
    int ufrags;
} rf_peer;

#endif
