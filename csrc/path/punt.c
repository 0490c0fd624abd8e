/* The way up: datagrams for Python's STUN and DTLS, and notices. Bounded at every point, so that a
 * flood costs a hash and a counter: a token bucket for all, one per validated tuple, one per remote
 * address otherwise, and two rings so that strangers cannot crowd out sessions. */
#include "path/path.h"

enum {
    TOTAL_RATE = 40000,
    TOTAL_BURST = 8000,
    KNOWN_RATE = 200,
    KNOWN_BURST = 400,
    STRANGER_RATE = 4000, /* one address may hide a whole company */
    STRANGER_BURST = 4000,
};

static rf_bucket *stranger(rf_ctx *x, const rf_path *path) {
    uint64_t a, b;
    memcpy(&a, path->remote_ip, 8);
    memcpy(&b, path->remote_ip + 8, 8);
    /* An IPv4 address stands in the top bits of b, which a product alone never carries down. */
    uint64_t h = (a ^ b ^ b >> 32 ^ x->paths.seed) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    return &x->punt_source[(h ^ h >> 32) % RF_SOURCE_BUCKETS];
}

void rf_punt_up(rf_ctx *x, enum rf_event_type type, rf_handle peer, rf_path_entry *known,
                const rf_datagram *d) {
    int allowed =
        known ? rf_bucket_take(&known->punts, KNOWN_RATE, KNOWN_BURST, 1, x->now_ns)
              : rf_bucket_take(stranger(x, &d->path), STRANGER_RATE, STRANGER_BURST, 1, x->now_ns);
    if (!allowed || !rf_bucket_take(&x->punt_total, TOTAL_RATE, TOTAL_BURST, 1, x->now_ns)) {
        rf_drop(x, RF_DROP_punt_rate);
        return;
    }
    rf_queue *q = known ? &x->punts_known : &x->punts_unknown;
    uint64_t ticket;
    rf_punt *p = rf_queue_reserve(q, &ticket);
    if (!p) {
        rf_drop(x, RF_DROP_punt_full);
        return;
    }
    p->type = (uint8_t)type;
    p->peer = peer;
    p->path = d->path;
    p->at_ns = x->now_ns;
    p->len = d->len;
    memcpy(p->data, d->data, d->len);
    rf_queue_publish(q, ticket);
    rf_count(&x->punts, 1);
    rf_waker_ring(&x->shared->python);
}

int rf_notify(rf_ctx *x, enum rf_event_type type, int kind, const rf_peer *peer,
              const rf_stream *stream, const uint8_t *data, size_t len, int essential) {
    uint64_t ticket;
    if (!essential && rf_queue_size(&x->notices) > x->notices.mask / 2) {
        rf_drop(x, RF_DROP_punt_full);
        return 0;
    }
    rf_notice *n = rf_queue_reserve(&x->notices, &ticket);
    if (!n) {
        rf_drop(x, RF_DROP_punt_full);
        return 0;
    }
    n->type = (uint8_t)type;
    n->kind = (uint8_t)kind;
    n->peer = peer ? peer->handle : 0;
    n->stream = stream ? stream->handle : 0;
    n->at_ns = x->now_ns;
    n->len = (uint16_t)(len < RF_EVENT_DATA ? len : RF_EVENT_DATA);
    if (n->len)
        memcpy(n->data, data, n->len);
    rf_queue_publish(&x->notices, ticket);
    rf_waker_ring(&x->shared->python);
    return 1;
}
