/* The twin of the UDP socket: two bounded queues of datagrams in memory, for tests in virtual time.
 * Segments of a message leave one by one, as a kernel or NIC would cut them. A full outgoing queue
 * is a full socket buffer. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/queue.h"
#include "net/net.h"
#include "srtp/engine.h"

#define MEMORY_SLOTS 8192

typedef struct cell {
    rf_path path;
    uint32_t len;
    uint64_t at_ns; /* when it came */
    uint8_t data[RF_MAX_DATAGRAM];
} cell;

typedef struct memory_net {
    rf_net net;
    rf_queue in, out;
    uint8_t buffers[RF_NET_BATCH][RF_MAX_DATAGRAM + RF_SRTP_TRAILER];
} memory_net;

static int put(rf_queue *q, const rf_path *path, const uint8_t *data, size_t len, uint64_t at_ns) {
    uint64_t ticket;
    if (len > RF_MAX_DATAGRAM)
        return RF_EINVAL;
    cell *c = rf_queue_reserve(q, &ticket);
    if (!c)
        return RF_EFULL;
    c->path = *path;
    c->len = (uint32_t)len;
    c->at_ns = at_ns;
    memcpy(c->data, data, len);
    rf_queue_publish(q, ticket);
    return RF_OK;
}

static int receive(rf_net *n, rf_datagram *out, int max) {
    memory_net *m = (memory_net *)n;
    int count = 0;
    uint64_t ticket;
    while (count < max && count < RF_NET_BATCH) {
        cell *c = rf_queue_peek(&m->in, &ticket);
        if (!c)
            break;
        out[count].path = c->path;
        out[count].len = c->len;
        out[count].data = m->buffers[count];
        out[count].at_ns = c->at_ns;
        memcpy(m->buffers[count], c->data, c->len);
        rf_queue_release(&m->in, ticket);
        count++;
    }
    rf_count(&n->counters.receive_calls, 1);
    return count;
}

static enum rf_sent send_all(rf_net *n, const rf_message *messages, int count, int *done) {
    memory_net *m = (memory_net *)n;
    rf_count(&n->counters.send_calls, 1);
    for (*done = 0; *done < count; (*done)++) {
        const rf_message *msg = &messages[*done];
        if (rf_queue_size(&m->out) + msg->count > MEMORY_SLOTS)
            return RF_SENT_AGAIN;
        for (uint32_t at = 0; at < msg->len; at += msg->segment) {
            uint32_t len = msg->len - at < msg->segment ? msg->len - at : msg->segment;
            if (put(&m->out, msg->path, msg->data + at, len, 0) == RF_OK) {
                rf_count(&n->counters.sent, 1);
                rf_count(&n->counters.sent_bytes, len);
            }
        }
    }
    return RF_SENT_ALL;
}

static void close_net(rf_net *n) {
    memory_net *m = (memory_net *)n;
    rf_queue_free(&m->in);
    rf_queue_free(&m->out);
    free(m);
}

int rf_memory_open(const rf_config *config, rf_net **out) {
    size_t size = (sizeof(memory_net) + 63) / 64 * 64;
    memory_net *m = aligned_alloc(64, size); /* its queues ask for whole cache lines */
    if (!m)
        return RF_ENOMEM;
    memset(m, 0, size);
    m->net.receive = receive;
    m->net.send = send_all;
    m->net.free = close_net;
    m->net.gso = config->egress == RF_EGRESS_GSO;
    m->net.fd = -1;
    m->net.routes_fd = -1;
    if (rf_queue_init(&m->in, MEMORY_SLOTS, sizeof(cell)) ||
        rf_queue_init(&m->out, MEMORY_SLOTS, sizeof(cell))) {
        close_net(&m->net);
        return RF_ENOMEM;
    }
    *out = &m->net;
    return RF_OK;
}

int rf_memory_inject(rf_net *n, const rf_path *path, const uint8_t *data, size_t len,
                     uint64_t now_ns) {
    return put(&((memory_net *)n)->in, path, data, len, now_ns);
}

int rf_memory_send_one(rf_net *n, const rf_path *path, const uint8_t *data, size_t len) {
    return put(&((memory_net *)n)->out, path, data, len, 0);
}

int rf_memory_take(rf_net *n, rf_path *path, uint8_t *out, size_t cap) {
    memory_net *m = (memory_net *)n;
    uint64_t ticket;
    cell *c = rf_queue_peek(&m->out, &ticket);
    if (!c)
        return 0;
    if (c->len > cap)
        return RF_ENOSPC;
    *path = c->path;
    memcpy(out, c->data, c->len);
    int len = (int)c->len;
    rf_queue_release(&m->out, ticket);
    return len;
}
