/* ICE-TCP: passive host candidates on one TCP port (RFC 6544), each connection a sequence of framed
 * datagrams (RFC 4571). See docs/adr/0008-ice-tcp.md.
 *
 * One thread does all socket work: it accepts, cuts the bytes that come into datagrams and gives
 * them to a worker, and writes what others have put into a connection's two rings. So a flood of
 * connections never costs a worker a turn, and no worker ever waits for a TCP socket.
 *
 *   control plane ── rf_tcp_send ──▶ control ring ─┐
 *                                                  ├─▶ thread ─▶ socket
 *   the peer's owner ── rf_leg_send ──▶ media ring ─┘
 *
 * A connection is a stranger until its peer's first authenticated check binds it: it has no media
 * ring, few frames and 10 s. From then on it belongs to that peer and its owner until the owner
 * releases it. A closed connection of a peer keeps its place till then, so a leg that the owner
 * holds is always one of its own. */
#ifndef RF_NET_TCP_H
#define RF_NET_TCP_H

#include "base/counter.h"
#include "net/ring.h"
#include "rtcfwd.h"

#define RF_LEG_MEDIA (256u * 1024) /* bytes of a media ring: what a slow viewer may cost */
#define RF_LEG_CONTROL (8u * 1024) /* … of a control ring: a few DTLS flights */
#define RF_LEG_INPUT (8u * 1024)   /* … of the receive buffer: some frames */
#define RF_TCP_STRANGER_S 10       /* until the first authenticated check */
#define RF_TCP_STRANGER_FRAMES 64  /* … and how many datagrams may come before it */
#define RF_TCP_SOURCE_STRANGERS 32 /* at once from one address (IPv6: one /64) */
#define RF_TCP_SOURCE_ALL 512      /* the same with those that are bound */
#define RF_TCP_LINGER_S 2          /* what is left in the rings has so long to leave */

/* How a viewer's packets are let into its leg; the owner's alone, see path/legs.c. */
typedef struct rf_leg_pace {
    uint32_t video_ts; /* of the newest frame begun */
    uint8_t has_video_ts;
    uint8_t skipping;
    uint64_t skip_from;              /* log index */
    uint64_t stalled_ns, skipped_ns; /* 0: not */
    uint64_t head_seen, moved_ns;    /* when the connection last took something */
} rf_leg_pace;

typedef struct rf_leg {
    _Atomic uint64_t state; /* id << 32 | owner + 1; 0: a free place */
    _Atomic uint32_t closed, released, dirty;
    rf_ring control, media;
    rf_leg_pace pace;
    rf_handle peer; /* control plane: whose it is */

    /* the thread's */
    int fd;
    uint16_t source;
    uint8_t known;  /* its binding was seen */
    uint8_t held;   /* a datagram waits for room in a worker's mailbox */
    uint8_t ending; /* released: the rest leaves, then it is closed */
    uint8_t shut;   /* our end was closed */
    uint32_t interest, frames, in_len;
    uint64_t until_ns; /* a stranger's, or an ending one's time */
    rf_ring *current;  /* ring of the frame that is half written */
    size_t left;       /* bytes of it */
    rf_path path;
    uint8_t in[RF_LEG_INPUT];
    uint8_t control_bytes[RF_LEG_CONTROL];
} rf_leg;

/* One datagram that came; called by the thread. RF_EFULL: it is kept and tried again. */
typedef int (*rf_tcp_deliver)(void *arg, int worker, const rf_path *path, const uint8_t *data,
                              size_t len);

typedef struct rf_tcp_setup {
    uint8_t bind_ip[16];
    uint16_t port; /* 0: any */
    uint32_t connections;
    int workers;
    uint64_t seed;
    rf_tcp_deliver deliver;
    void *arg;
} rf_tcp_setup;

typedef struct rf_tcp rf_tcp;

int rf_tcp_open(const rf_tcp_setup *setup, rf_tcp **out, uint16_t *bound); /* listens */
int rf_tcp_start(rf_tcp *t);
void rf_tcp_stop(rf_tcp *t); /* joins, closes every connection; idempotent */
void rf_tcp_free(rf_tcp *t);
void rf_tcp_figures(const rf_tcp *t, rf_tcp_stats *out);
uint64_t rf_tcp_memory(const rf_tcp *t); /* bytes, see rf_memory */

/* Any thread: the leg of that number, or NULL when it is gone. */
rf_leg *rf_tcp_leg(rf_tcp *t, uint32_t connection);

/* Control plane. RF_ESTALE: closed meanwhile, or another peer's. */
int rf_tcp_bind(rf_tcp *t, uint32_t connection, rf_handle peer, int owner);
int rf_tcp_send(rf_tcp *t, uint32_t connection, const uint8_t *data, size_t len);

/* The peer's owner. RF_EFULL: no room, RF_ESTALE: closed; nothing was put. */
int rf_leg_send(rf_tcp *t, rf_leg *leg, const uint8_t *data, size_t len);
void rf_leg_release(rf_tcp *t, rf_leg *leg);

#endif
