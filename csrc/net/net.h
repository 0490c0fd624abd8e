/* Datagrams in and out of one worker: the UDP socket, or its twin in memory.
 *
 * Receive fills datagrams that point into the net's own buffers; they stay valid until the next
 * receive. Send takes messages of one or several equal-sized segments (the last one may be
 * shorter) that stand one behind the other; the UDP net gives them to the kernel as one GSO
 * datagram where it can. */
#ifndef RF_NET_NET_H
#define RF_NET_NET_H

#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"
#include "rtcfwd.h"

#define RF_NET_BATCH 64    /* datagrams of one receive call, messages of one send call */
#define RF_GSO_SEGMENTS 16 /* usual bound; the kernel's is 64 */
#define RF_GSO_BYTES 65000u

typedef struct rf_datagram {
    rf_path path;
    uint8_t *data;  /* RF_MAX_DATAGRAM + RF_SRTP_TRAILER bytes of room */
    uint32_t len;   /* more than RF_MAX_DATAGRAM: it was cut by the kernel, drop it */
    uint64_t at_ns; /* when the kernel got it, CLOCK_MONOTONIC; 0: not known */
} rf_datagram;

typedef struct rf_message {
    const rf_path *path;
    uint8_t *data;
    uint32_t len;     /* of all segments */
    uint16_t segment; /* bytes of each segment but the last */
    uint16_t count;
    uint8_t from_default; /* the kernel chooses the path's local address by itself (source.h) */
} rf_message;

/* How a send ended for a message that did not go out; RF_SENT_ALL when all did. */
enum rf_sent { RF_SENT_ALL, RF_SENT_AGAIN };

typedef struct rf_net_counters {
    rf_counter receive_calls, send_calls, kernel_drops;
    rf_counter sent, sent_bytes; /* segments, not messages */
    rf_counter nobufs, too_big, unreachable;
} rf_net_counters;

typedef struct rf_net rf_net;
struct rf_net {
    int (*receive)(rf_net *n, rf_datagram *out, int max);
    /* Sends messages in order. *done: how many need no more care (sent, or dropped and counted).
     * RF_SENT_AGAIN: the socket is full, go on with message *done later. */
    enum rf_sent (*send)(rf_net *n, const rf_message *messages, int count, int *done);
    /* 1: from_default may be set for this path, until `routes` changes. NULL in memory. */
    int (*is_default_source)(const rf_net *n, const rf_path *path);
    void (*free)(rf_net *n);
    int fd;          /* -1 in memory */
    int routes_fd;   /* readable when addresses or routes have changed; -1: not to be had */
    uint32_t routes; /* counts those changes, from 1; 0: they cannot be known */
    _Atomic int gso; /* the owner may turn it off; the control plane reads it */
    uint32_t receive_buffer, send_buffer; /* what the kernel gave */
    rf_net_counters counters;
};

/* A bound UDP socket of the reuse-port group. config.port 0 takes the kernel's choice; *port is
 * the one bound. RF_ESYS with errno on failure. */
int rf_udp_open(const rf_config *config, uint16_t port, rf_net **out, uint16_t *bound);

/* One datagram of the control plane, from another thread. Best effort. */
int rf_udp_send_one(rf_net *n, const rf_path *path, const uint8_t *data, size_t len);

int rf_memory_open(const rf_config *config, rf_net **out);
int rf_memory_inject(rf_net *n, const rf_path *path, const uint8_t *data, size_t len,
                     uint64_t now_ns);
int rf_memory_take(rf_net *n, rf_path *path, uint8_t *out, size_t cap);
int rf_memory_send_one(rf_net *n, const rf_path *path, const uint8_t *data, size_t len);

#endif
