/* A worker: its context, its turn, its commands; and the forwarder that holds all of them.
 *
 *   engine.c    makes a context, runs one turn of it (no thread needed: the tests' way)
 *   commands.c  what the control plane asked, done by the owner
 *   timers.c    what is due without a packet: NACKs, PLIs, reports, idle peers
 *   thread.c    the epoll loop around the turn
 *   control.c   the control plane's side: handles, tables, commands (rtcfwd.h)
 *   events.c    punts and notices up to Python
 *   figures.c   snapshots of the counters
 */
#ifndef RF_WORKER_WORKER_H
#define RF_WORKER_WORKER_H

#include <pthread.h>

#include "base/pool.h"
#include "model/context.h"

enum rf_command_type {
    RF_COMMAND_PEER,
    RF_COMMAND_PATH,
    RF_COMMAND_PATH_REMOVE,
    RF_COMMAND_SELECT,
    RF_COMMAND_UFRAG,
    RF_COMMAND_UFRAG_REMOVE,
    RF_COMMAND_KEYS,
    RF_COMMAND_PUBLISH,
    RF_COMMAND_VIEW,
    RF_COMMAND_FORMAT,
    RF_COMMAND_DERIVE,
    RF_COMMAND_KEYFRAME,
    RF_COMMAND_LAYER,
    RF_COMMAND_PEER_CLOSE,
    RF_COMMAND_STREAM_CLOSE,
};

typedef struct rf_command {
    uint8_t type;
    uint8_t len; /* of ufrag; of BYE: send it; of a layer: the choice */
    uint16_t owner;
    rf_handle peer;
    void *object; /* rf_peer, rf_stream, rf_pub or rf_view: handed over */
    union {
        rf_path path;
        struct {
            uint8_t ufrag[32];
            uint8_t answered; /* the key is there: answer checks without Python */
            rf_hmac_key key;
        } credential;
        struct {
            void *rx, *tx, *schedule;
            int profile;
        } keys;
        struct {
            uint8_t kind, format, pt, rtx_pt;
            rf_derived *derived; /* NULL: the source itself */
        } format;
        rf_derived *derived; /* of the stream: handed over; NULL: to be freed */
    } u;
} rf_command;

typedef struct rf_worker {
    rf_ctx ctx;
    pthread_t thread;
    int running;
} rf_worker;

struct rf_forwarder {
    rf_config config;
    rf_shared shared;
    rf_srtp_engine srtp;               /* of the control plane's thread: expands keys */
    rf_pool viewers;                   /* a peer, its view and its schedule each */
    rf_worker *worker[RF_MAX_WORKERS]; /* owned */
    int workers;
    uint16_t port;
    _Atomic int stopping;
    int started;
    struct {
        rf_peer *peer; /* owned */
        uint32_t generation;
    } * peers;
    struct {
        rf_stream *stream; /* owned */
        uint32_t generation;
    } * streams;
    uint32_t next_peer, next_stream, peer_count;
    uint32_t load[RF_MAX_WORKERS]; /* peers of each worker */
    int poll_at;
};

/* control.c */
size_t rf_viewer_bytes(const rf_forwarder *f); /* of data-plane memory, each */

/* engine.c */
int rf_ctx_init(rf_ctx *x, rf_shared *shared, int worker, rf_net *net);
void rf_ctx_free(rf_ctx *x);
int rf_ctx_turn(rf_ctx *x); /* at x->now_ns; 1 when there is more to do at once */

/* commands.c */
void rf_commands(rf_ctx *x, int max);

/* timers.c */
void rf_timers(rf_ctx *x);
/* ns until a turn is due even without a packet. */
uint64_t rf_timers_next(rf_ctx *x);

/* thread.c */
int rf_worker_start(rf_forwarder *f, rf_worker *w);
void rf_worker_join(rf_forwarder *f, rf_worker *w);

/* control.c, for its neighbours */
rf_peer *rf_control_peer(const rf_forwarder *f, rf_handle h);
rf_stream *rf_control_stream(const rf_forwarder *f, rf_handle h);
void rf_control_peer_gone(rf_forwarder *f, rf_handle h);
void rf_control_stream_gone(rf_forwarder *f, rf_handle h);

#endif
