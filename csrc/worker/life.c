/* The forwarder's life: sockets first (all errors show before a thread runs), then threads; stop
 * joins them before anything is freed. */
#include <stdlib.h>

#include "base/error.h"
#include "worker/worker.h"

enum { MAIL_SLOTS = 512 };

static int power_of_two(uint32_t n) {
    return n && !(n & (n - 1));
}

static int sound(const rf_config *c) {
    return c->workers >= 1 && c->workers <= RF_MAX_WORKERS && c->max_peers && c->max_streams &&
           c->start_pace_bps && c->keyframe_percent && c->max_peers <= 1u << 20 &&
           c->max_streams <= 1u << 16 && power_of_two(c->video_slots) &&
           power_of_two(c->audio_slots) && power_of_two(c->punt_slots) && c->video_slots >= 64 &&
           c->audio_slots >= 64 && c->srtp.protect && c->srtp.unprotect && c->srtp.protect_rtcp &&
           c->srtp.unprotect_rtcp;
}

static int open_worker(rf_forwarder *f, int w) {
    rf_net *net = NULL;
    int rc = f->config.in_memory
                 ? rf_memory_open(&f->config, &net)
                 : rf_udp_open(&f->config, w ? f->port : f->config.port, &net, &f->port);
    if (rc != RF_OK)
        return rc;
    size_t size = (sizeof(rf_worker) + 63) / 64 * 64;
    rf_worker *worker = aligned_alloc(64, size);
    if (!worker) {
        net->free(net);
        return RF_ENOMEM;
    }
    memset(worker, 0, size);
    f->worker[w] = worker;
    f->workers = w + 1;
    rc = rf_ctx_init(&worker->ctx, &f->shared, w, net);
    rf_mailbox *box = &f->shared.mailbox[w];
    if (rc == RF_OK)
        rc = rf_queue_init(&box->queue, MAIL_SLOTS, sizeof(rf_mail));
    if (rc == RF_OK)
        rc = rf_waker_open(&box->waker, f->config.in_memory);
    return rc;
}

int rf_new(const rf_config *config, rf_forwarder **out) {
    if (!sound(config))
        return RF_EINVAL;
    size_t size = (sizeof(rf_forwarder) + 63) / 64 * 64;
    rf_forwarder *f = aligned_alloc(64, size);
    if (!f)
        return RF_ENOMEM;
    memset(f, 0, size);
    f->config = *config;
    f->shared.config = &f->config;
    f->shared.workers = config->workers;
    f->shared.python.fd = -1;
    for (int w = 0; w < RF_MAX_WORKERS; w++)
        f->shared.mailbox[w].waker.fd = -1;
    f->peers = calloc(config->max_peers, sizeof *f->peers);
    f->streams = calloc(config->max_streams, sizeof *f->streams);
    int rc = f->peers && f->streams ? RF_OK : RF_ENOMEM;
    if (rc == RF_OK)
        rc = rf_srtp_engine_open(&f->srtp, config->engine, &config->srtp);
    rf_pool_init(&f->viewers, rf_viewer_bytes(f));
    if (rc == RF_OK) /* Python sleeps on it even when the network is in memory */
        rc = rf_waker_open(&f->shared.python, 0);
    for (int w = 0; w < config->workers && rc == RF_OK; w++)
        rc = open_worker(f, w);
    if (rc != RF_OK) {
        rf_free(f);
        return rc;
    }
    rf_waker_arm(&f->shared.python);
    *out = f;
    return RF_OK;
}

/* What came over TCP, into its worker's mailbox; half of that is kept for what workers pass on. */
static int deliver(void *arg, int worker, const rf_path *path, const uint8_t *data, size_t len) {
    rf_forwarder *f = arg;
    rf_mailbox *box = &f->shared.mailbox[worker];
    uint64_t ticket;
    rf_mail *mail =
        rf_queue_size(&box->queue) < MAIL_SLOTS / 2 ? rf_queue_reserve(&box->queue, &ticket) : NULL;
    if (!mail)
        return RF_EFULL;
    mail->peer = 0;
    mail->path = *path;
    mail->len = (uint32_t)len;
    mail->at_ns = 0;
    mail->class = RF_MAIL_RAW;
    memcpy(mail->data, data, len);
    rf_queue_publish(&box->queue, ticket);
    rf_waker_ring(&box->waker);
    return RF_OK;
}

int rf_listen_tcp(rf_forwarder *f, uint16_t port, uint32_t connections) {
    if (f->config.in_memory || f->started || f->shared.tcp)
        return RF_ESTATE;
    uint16_t bound = 0;
    rf_tcp_setup setup = {
        .port = port,
        .connections = connections,
        .workers = f->workers,
        .seed = (uint64_t)(uintptr_t)f ^ f->config.wall_offset_ns,
        .deliver = deliver,
        .arg = f,
    };
    memcpy(setup.bind_ip, f->config.bind_ip, sizeof setup.bind_ip);
    int rc = rf_tcp_open(&setup, &f->shared.tcp, &bound);
    return rc == RF_OK ? bound : rc;
}

int rf_start(rf_forwarder *f) {
    if (f->config.in_memory || f->started)
        return RF_ESTATE;
    f->started = 1;
    int tcp = f->shared.tcp ? rf_tcp_start(f->shared.tcp) : RF_OK;
    if (tcp != RF_OK)
        return tcp;
    for (int w = 0; w < f->workers; w++) {
        int rc = rf_worker_start(f, f->worker[w]);
        if (rc != RF_OK) {
            rf_stop(f);
            return rc;
        }
    }
    return RF_OK;
}

void rf_stop(rf_forwarder *f) {
    for (int w = 0; w < f->workers; w++)
        rf_worker_join(f, f->worker[w]);
    if (f->shared.tcp) /* after them: what they said last leaves */
        rf_tcp_stop(f->shared.tcp);
}

/* Commands that no worker carried out still own their objects. */
static void drop_commands(rf_ctx *x) {
    uint64_t ticket;
    rf_command *c;
    if (!x->commands.cells)
        return;
    while ((c = rf_queue_peek(&x->commands, &ticket))) {
        if (c->type == RF_COMMAND_PUBLISH)
            free(c->object);
        if (c->type == RF_COMMAND_DERIVE) {
            rf_stream *s = c->object;
            rf_derived_free(s->derived);
            s->derived = c->u.derived;
        }
        rf_queue_release(&x->commands, ticket);
    }
}

void rf_free(rf_forwarder *f) {
    if (!f)
        return;
    rf_stop(f);
    for (int w = 0; w < f->workers; w++) {
        drop_commands(&f->worker[w]->ctx);
        rf_ctx_free(&f->worker[w]->ctx);
        rf_queue_free(&f->shared.mailbox[w].queue);
        rf_waker_close(&f->shared.mailbox[w].waker);
        free(f->worker[w]);
    }
    f->workers = 0; /* nobody is left to be told anything */
    for (uint32_t i = 0; f->peers && i < f->config.max_peers; i++)
        if (f->peers[i].peer)
            rf_control_peer_gone(f, f->peers[i].peer->handle);
    for (uint32_t i = 0; f->streams && i < f->config.max_streams; i++)
        if (f->streams[i].stream)
            rf_control_stream_gone(f, f->streams[i].stream->handle);
    rf_pool_close(&f->viewers);
    rf_waker_close(&f->shared.python);
    rf_tcp_free(f->shared.tcp);
    if (f->srtp.free)
        f->srtp.free(&f->srtp);
    free(f->peers);
    free(f->streams);
    free(f);
}

int rf_port(const rf_forwarder *f) {
    return f->port;
}

const char *rf_engine_name(const rf_forwarder *f) {
    return f->srtp.name;
}

int rf_is_gso(const rf_forwarder *f) {
    return f->workers && f->worker[0]->ctx.net->gso;
}

/* ---- in memory ---- */

int rf_inject(rf_forwarder *f, int worker, const rf_path *path, const uint8_t *data, size_t len,
              uint64_t now_ns) {
    if (!f->config.in_memory || worker < 0 || worker >= f->workers)
        return RF_EINVAL;
    f->worker[worker]->ctx.now_ns = now_ns;
    return rf_memory_inject(f->worker[worker]->ctx.net, path, data, len, now_ns);
}

int rf_turn(rf_forwarder *f, int worker, uint64_t now_ns) {
    if (!f->config.in_memory || worker < 0 || worker >= f->workers)
        return RF_EINVAL;
    rf_ctx *x = &f->worker[worker]->ctx;
    x->now_ns = now_ns;
    x->blocked = 0;
    return rf_ctx_turn(x);
}

int rf_take_sent(rf_forwarder *f, int worker, rf_path *path, uint8_t *out, size_t cap) {
    if (!f->config.in_memory || worker < 0 || worker >= f->workers)
        return RF_EINVAL;
    return rf_memory_take(f->worker[worker]->ctx.net, path, out, cap);
}
