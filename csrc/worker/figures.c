/* Snapshots of the counters for the control plane: relaxed reads of what workers count. */
#include "base/error.h"
#include "worker/worker.h"

static uint32_t get32(const _Atomic uint32_t *v) {
    return atomic_load_explicit(v, memory_order_relaxed);
}

static void track_stats(const rf_track *t, rf_track_stats *o) {
    uint32_t size = get32(&t->size);
    o->packets = rf_read(&t->packets);
    o->bytes = rf_read(&t->bytes);
    o->lost = rf_read(&t->lost);
    o->repaired = rf_read(&t->repaired);
    o->nacks_sent = rf_read(&t->nacks_sent);
    o->keyframe_requests_sent = rf_read(&t->keyframe_requests);
    o->keyframes = rf_read(&t->keyframes);
    o->duplicates = rf_read(&t->duplicates);
    o->b_frames = rf_read(&t->b_frames);
    o->parameters_added = rf_read(&t->parameters_added);
    o->parameters_missing = rf_read(&t->parameters_missing);
    o->bitrate = rf_read(&t->bitrate);
    o->key_interval_ms =
        (uint32_t)(atomic_load_explicit(&t->key_interval_ns, memory_order_relaxed) / 1000000u);
    o->keys_prompt = (uint32_t)rf_read(&t->keys_prompt);
    o->keys_late = (uint32_t)rf_read(&t->keys_late);
    o->plis_unanswered = (uint32_t)rf_read(&t->plis_unanswered);
    o->inspected = rf_read(&t->inspected);
    o->discardable = rf_read(&t->discardable);
    o->width = (uint16_t)(size >> 16);
    o->height = (uint16_t)size;
    o->head = atomic_load_explicit(&t->head, memory_order_relaxed);
    o->jitter = get32(&t->jitter);
    o->clock_rate = get32(&t->clock_rate);
    o->drift_ppm = atomic_load_explicit(&t->drift_ppm, memory_order_relaxed);
    o->ssrc = get32(&t->ssrc);
    o->format = (uint8_t)get32(&t->format);
    o->codec = (uint8_t)get32(&t->codec);
    o->active = (uint8_t)get32(&t->active);
}

static void add_counts(rf_track_stats *sum, const rf_track_stats *o) {
    sum->packets += o->packets;
    sum->bytes += o->bytes;
    sum->lost += o->lost;
    sum->repaired += o->repaired;
    sum->nacks_sent += o->nacks_sent;
    sum->keyframe_requests_sent += o->keyframe_requests_sent;
    sum->keyframes += o->keyframes;
    sum->duplicates += o->duplicates;
    sum->b_frames += o->b_frames;
    sum->parameters_added += o->parameters_added;
    sum->parameters_missing += o->parameters_missing;
    sum->bitrate += o->bitrate;
    sum->keys_prompt += o->keys_prompt;
    sum->keys_late += o->keys_late;
    sum->inspected += o->inspected;
    sum->discardable += o->discardable;
    sum->active |= o->active;
}

int rf_get_stream_stats(rf_forwarder *f, rf_handle stream, rf_stream_stats *out) {
    rf_stream *s = rf_control_stream(f, stream);
    if (!s)
        return RF_ESTALE;
    memset(out, 0, sizeof *out);
    out->layers = s->told_layers;
    int use = atomic_load_explicit(&s->use[0], memory_order_relaxed);
    int best = use < rf_stream_logs(s) ? use : RF_VIDEO;
    out->best = use == best ? (uint8_t)(best - RF_VIDEO) : RF_NO_LOG;
    track_stats(&s->track[RF_AUDIO], &out->track[RF_AUDIO]);
    track_stats(&s->track[best], &out->track[RF_VIDEO]);
    for (int i = RF_VIDEO; i < rf_stream_logs(s); i++) {
        track_stats(&s->track[i], &out->layer[i - RF_VIDEO]);
        if (i != best)
            add_counts(&out->track[RF_VIDEO], &out->layer[i - RF_VIDEO]);
    }
    out->viewers = get32(&s->viewers);
    out->worker = s->owner;
    out->derived_viewers = s->derived_viewers;
    out->feedback_sent = rf_read(&s->feedback_sent);
    out->layer_changes = rf_read(&s->layer_changes);
    for (int w = 0; w < f->workers; w++)
        rf_recent_delays_add(&s->delays[w], &out->delays);
    return RF_OK;
}

static void view_stats(const rf_peer *p, const rf_view *v, int k, rf_view_track_stats *o) {
    const rf_view_track_state *s = &v->track[k];
    o->packets = rf_read(&s->packets);
    o->bytes = rf_read(&s->bytes);
    o->resent = rf_read(&s->resent);
    o->resent_bytes = rf_read(&s->resent_bytes);
    o->nacks = rf_read(&s->nacks);
    o->plis = rf_read(&s->plis);
    o->skipped = rf_read(&s->skipped);
    int log = atomic_load_explicit(&s->told_log, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&p->stream->track[log].head, memory_order_relaxed);
    uint64_t cursor = rf_read(&s->told_cursor);
    o->lag = cursor && head > cursor ? head - cursor : 0;
    o->fraction_lost = get32(&s->fraction_lost);
    o->cumulative_lost = atomic_load_explicit(&s->cumulative_lost, memory_order_relaxed);
    o->jitter = get32(&s->jitter);
    o->ssrc = v->setup.track[k].ssrc;
    o->layer = log > RF_VIDEO ? (uint32_t)(log - RF_VIDEO) : 0;
    o->layer_changes = k == RF_VIDEO ? rf_read(&v->fit.changes) : 0;
}

int rf_get_peer_stats(rf_forwarder *f, rf_handle peer, rf_peer_stats *out) {
    const rf_peer *p = rf_control_peer(f, peer);
    uint64_t words[5];
    if (!p)
        return RF_ESTALE;
    memset(out, 0, sizeof *out);
    out->role = p->role;
    out->worker = p->owner;
    uint32_t flags = get32(&p->stat_flags);
    out->has_keys = flags & 1;
    out->has_path = (flags & 2) != 0;
    out->started = (flags & 4) != 0;
    out->profile = p->told_profile;
    out->first_media_ns = rf_read(&p->first_media_ns);
    out->last_heard_ns = rf_read(&p->heard_ns);
    out->rtt_ns = rf_read(&p->rtt_ns);
    out->received_packets = rf_read(&p->received);
    out->received_bytes = rf_read(&p->received_bytes);
    out->drops = rf_read(&p->drops);
    for (int i = 0; i < 5; i++)
        words[i] = atomic_load_explicit(&p->stat_path[i], memory_order_relaxed);
    memcpy(&out->path, words, sizeof out->path);
    const rf_view *v = p->told_view;
    for (int k = 0; v && k < RF_KINDS; k++)
        view_stats(p, v, k, &out->track[k]);
    if (v) {
        out->remb_bps = rf_read(&v->remb_bps);
        out->estimate_bps = rf_read(&v->estimate_bps);
        out->slow = atomic_load_explicit(&v->told_slow, memory_order_relaxed);
    }
    return RF_OK;
}

int rf_get_tcp_stats(rf_forwarder *f, rf_tcp_stats *out) {
    memset(out, 0, sizeof *out);
    if (f->shared.tcp)
        rf_tcp_figures(f->shared.tcp, out);
    return RF_OK;
}

int rf_get_worker_stats(rf_forwarder *f, int worker, rf_worker_stats *out) {
    if (worker < 0 || worker >= f->workers)
        return RF_EINVAL;
    const rf_ctx *x = &f->worker[worker]->ctx;
    const rf_net_counters *n = &x->net->counters;
    memset(out, 0, sizeof *out);
    out->turns = rf_read(&x->turns);
    out->received = rf_read(&x->received);
    out->received_bytes = rf_read(&x->received_bytes);
    out->sent = rf_read(&n->sent);
    out->sent_bytes = rf_read(&n->sent_bytes);
    out->send_calls = rf_read(&n->send_calls);
    out->receive_calls = rf_read(&n->receive_calls);
    out->wakeups = rf_read(&x->wakeups);
    out->punts = rf_read(&x->punts);
    out->mailboxed = rf_read(&x->mailboxed);
    out->feedback = rf_read(&x->feedback);
    out->video = rf_read(&x->video);
    out->discardable = rf_read(&x->discardable);
    out->layer_changes = rf_read(&x->layer_changes);
    out->checks = rf_read(&x->checks);
    out->kernel_drops = rf_read(&n->kernel_drops);
    out->packets = rf_read(&x->packets);
    rf_delays_add(&x->delays, &out->delays);
    out->runs = rf_read(&x->runs);
    for (int i = 0; i < RF_DROP_COUNT && i < 64; i++)
        out->drops[i] = rf_read(&x->drops[i]);
    out->drops[RF_DROP_send_nobufs] += rf_read(&n->nobufs);
    out->drops[RF_DROP_send_too_big] += rf_read(&n->too_big);
    out->drops[RF_DROP_send_unreachable] += rf_read(&n->unreachable);
    out->peers = f->load[worker];
    out->receive_buffer = x->net->receive_buffer;
    out->send_buffer = x->net->send_buffer;
    out->asked_buffer = x->net->fd >= 0 ? f->config.socket_buffer : 0;
    return RF_OK;
}

/* ---- memory ---- */

static uint64_t queue_bytes(const rf_queue *q) {
    return (q->mask + 1) * q->stride;
}

static uint64_t worker_bytes(const rf_forwarder *f, const rf_ctx *x) {
    const rf_config *c = &f->config;
    uint64_t n = sizeof(rf_worker) + RF_SLAB + RF_EARLY * sizeof *x->early;
    n += (x->paths.mask + 1) * sizeof *x->paths.entries;
    n += (x->ufrags.mask + 1) * sizeof *x->ufrags.entries;
    n += c->max_peers * (sizeof *x->peers + sizeof *x->own + sizeof *x->pubs);
    n += c->max_streams * sizeof *x->subs;
    n += queue_bytes(&x->commands) + queue_bytes(&x->punts_known) + queue_bytes(&x->punts_unknown);
    return n + queue_bytes(&x->notices) + queue_bytes(&f->shared.mailbox[x->worker].queue);
}

static uint64_t stream_bytes(const rf_forwarder *f, const rf_stream *s) {
    uint64_t n = sizeof *s + (uint64_t)f->workers * sizeof *s->delays;
    for (int k = 0; k < rf_stream_logs(s); k++)
        n += (s->track[k].mask + 1) *
             (sizeof *s->track[k].slots + RF_SLOT_STRIDE + sizeof *s->track[k].by_seq);
    if (s->told_derived)
        n += sizeof *s->told_derived + (s->told_derived->mask + 1) * RF_SLOT_STRIDE;
    return n;
}

int rf_get_memory(rf_forwarder *f, rf_memory *out) {
    /* a peer's places in the workers' tables of tuples and ufrags are part of `workers` */
    uint64_t viewer = f->viewers.object + sizeof(rf_seat);
    memset(out, 0, sizeof *out);
    out->viewer = (uint32_t)viewer;
    out->workers = sizeof *f + f->config.max_peers * sizeof *f->peers +
                   f->config.max_streams * sizeof *f->streams;
    for (int w = 0; w < f->workers; w++)
        out->workers += worker_bytes(f, &f->worker[w]->ctx);
    out->tcp = f->shared.tcp ? rf_tcp_memory(f->shared.tcp) : 0;
    for (uint32_t i = 0; i < f->config.max_streams; i++)
        out->streams += f->streams[i].stream ? stream_bytes(f, f->streams[i].stream) : 0;
    for (uint32_t i = 0; i < f->config.max_peers; i++) {
        const rf_peer *p = f->peers[i].peer;
        if (!p)
            continue;
        if (p->role == RF_PUBLISHER) {
            out->publishers += sizeof *p + sizeof(rf_pub);
        } else {
            out->viewers += viewer;
            out->viewer_count++;
        }
    }
    return RF_OK;
}
