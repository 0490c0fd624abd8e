/* Up to Python: notices before datagrams, validated tuples before strangers, workers in turn. The
 * descriptor stays readable while anything waits: it is emptied only when every queue was seen
 * empty, and a second look after arming catches what came in between. */
#include "base/error.h"
#include "worker/worker.h"

static int take_notice(rf_forwarder *f, int w, rf_event *e) {
    uint64_t ticket;
    rf_ctx *x = &f->worker[w]->ctx;
    const rf_notice *n = rf_queue_peek(&x->notices, &ticket);
    if (!n)
        return 0;
    e->type = n->type;
    e->kind = n->kind;
    e->worker = (uint16_t)w;
    e->peer = n->peer;
    e->stream = n->stream;
    e->at_ns = n->at_ns;
    e->len = n->len;
    memcpy(e->data, n->data, n->len);
    rf_queue_release(&x->notices, ticket);
    if (e->type == RF_EVENT_PEER_GONE)
        rf_control_peer_gone(f, e->peer);
    else if (e->type == RF_EVENT_STREAM_GONE)
        rf_control_stream_gone(f, e->stream);
    return 1;
}

static int take_punt(rf_forwarder *f, int w, rf_queue *q, int known, rf_event *e) {
    uint64_t ticket;
    (void)f;
    const rf_punt *p = rf_queue_peek(q, &ticket);
    if (!p)
        return 0;
    e->type = p->type;
    e->kind = (uint8_t)known;
    e->worker = (uint16_t)w;
    e->peer = p->peer;
    e->stream = 0;
    e->path = p->path;
    e->at_ns = p->at_ns;
    e->len = p->len;
    memcpy(e->data, p->data, p->len);
    rf_queue_release(q, ticket);
    return 1;
}

static int take(rf_forwarder *f, rf_event *e) {
    for (int w = 0; w < f->workers; w++)
        if (take_notice(f, w, e))
            return 1;
    for (int i = 0; i < f->workers; i++) {
        int w = (f->poll_at + i) % f->workers;
        rf_ctx *x = &f->worker[w]->ctx;
        if (take_punt(f, w, &x->punts_known, 1, e) || take_punt(f, w, &x->punts_unknown, 0, e)) {
            f->poll_at = w + 1;
            return 1;
        }
    }
    return 0;
}

int rf_poll(rf_forwarder *f, rf_event *event) {
    rf_waker *bell = &f->shared.python;
    if (take(f, event))
        return 1;
    rf_waker_disarm(bell);
    rf_waker_arm(bell);
    if (!take(f, event))
        return 0;
    rf_waker_ring(bell); /* more may wait behind it: stay readable */
    return 1;
}

int rf_event_fd(const rf_forwarder *f) {
    return f->shared.python.fd;
}

int rf_send(rf_forwarder *f, int worker, const rf_path *path, const uint8_t *data, size_t len) {
    if (worker < 0 || worker >= f->workers || len > RF_MAX_DATAGRAM)
        return RF_EINVAL;
    if (path->connection && f->shared.tcp)
        return rf_tcp_send(f->shared.tcp, path->connection, data, len);
    rf_net *net = f->worker[worker]->ctx.net;
    return f->config.in_memory ? rf_memory_send_one(net, path, data, len)
                               : rf_udp_send_one(net, path, data, len);
}
