/* The control plane's side of rtcfwd.h: makes and names objects, and tells the workers by command.
 * Runs in one thread. A call that needs several workers' queues checks all of them first, so that
 * it happens whole or not at all. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "worker/worker.h"

/* ---- handles ---- */

static rf_handle handle_of(uint32_t index, uint32_t generation) {
    return (uint64_t)generation << 32 | (index + 1);
}

static rf_peer *any_peer(const rf_forwarder *f, rf_handle h) {
    uint32_t i = (uint32_t)h - 1;
    return h && i < f->config.max_peers && f->peers[i].peer && f->peers[i].peer->handle == h
               ? f->peers[i].peer
               : NULL;
}

rf_peer *rf_control_peer(const rf_forwarder *f, rf_handle h) {
    rf_peer *p = any_peer(f, h);
    return p && !p->told_close ? p : NULL;
}

static rf_stream *any_stream(const rf_forwarder *f, rf_handle h) {
    uint32_t i = (uint32_t)h - 1;
    return h && i < f->config.max_streams && f->streams[i].stream &&
                   f->streams[i].stream->handle == h
               ? f->streams[i].stream
               : NULL;
}

rf_stream *rf_control_stream(const rf_forwarder *f, rf_handle h) {
    rf_stream *s = any_stream(f, h);
    return s && !s->told_close ? s : NULL;
}

/* ---- commands ---- */

static int room(const rf_forwarder *f, int worker, size_t cells) {
    const rf_queue *q = &f->worker[worker]->ctx.commands;
    return rf_queue_size(q) + cells <= q->mask;
}

static int room_everywhere(const rf_forwarder *f, size_t cells) {
    for (int w = 0; w < f->workers; w++)
        if (!room(f, w, cells))
            return 0;
    return 1;
}

static void tell(rf_forwarder *f, int worker, const rf_command *c) {
    uint64_t ticket;
    rf_command *cell = rf_queue_reserve(&f->worker[worker]->ctx.commands, &ticket);
    if (!cell)
        return; /* room was checked by this, the only producer */
    *cell = *c;
    rf_queue_publish(&f->worker[worker]->ctx.commands, ticket);
    rf_waker_ring(&f->shared.mailbox[worker].waker);
}

static void tell_all(rf_forwarder *f, const rf_command *c) {
    for (int w = 0; w < f->workers; w++)
        tell(f, w, c);
}

static int tell_owner(rf_forwarder *f, const rf_peer *p, rf_command *c) {
    if (!room(f, p->owner, 1))
        return RF_EFULL;
    c->peer = p->handle;
    c->owner = p->owner;
    tell(f, p->owner, c);
    return RF_OK;
}

/* ---- streams ---- */

int rf_stream_open(rf_forwarder *f, rf_handle *stream) {
    uint32_t i = 0;
    for (; i < f->config.max_streams; i++)
        if (!f->streams[(f->next_stream + i) % f->config.max_streams].stream)
            break;
    if (i == f->config.max_streams)
        return RF_EFULL;
    i = (f->next_stream + i) % f->config.max_streams;
    rf_stream *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    if (!s)
        return RF_ENOMEM;
    memset(s, 0, sizeof *s);
    if (rf_track_init(&s->track[RF_AUDIO], RF_AUDIO, RF_AUDIO, f->config.audio_slots) ||
        rf_track_init(&s->track[RF_VIDEO], RF_VIDEO, RF_VIDEO, f->config.video_slots)) {
        rf_track_free(&s->track[RF_AUDIO]);
        free(s);
        return RF_ENOMEM;
    }
    s->delays = calloc((size_t)f->workers, sizeof *s->delays);
    if (!s->delays) {
        rf_track_free(&s->track[RF_AUDIO]);
        rf_track_free(&s->track[RF_VIDEO]);
        free(s);
        return RF_ENOMEM;
    }
    int least = 0;
    for (int w = 1; w < f->workers; w++)
        if (f->load[w] < f->load[least])
            least = w;
    s->owner = (uint16_t)least;
    atomic_init(&s->refs, (uint32_t)f->workers);
    atomic_init(&s->logs, RF_KINDS);
    for (int n = 0; n <= RF_LAYERS; n++)
        atomic_init(&s->use[n], RF_VIDEO);
    s->handle = handle_of(i, ++f->streams[i].generation);
    f->streams[i].stream = s;
    f->next_stream = i + 1;
    *stream = s->handle;
    return RF_OK;
}

int rf_stream_close(rf_forwarder *f, rf_handle stream) {
    rf_stream *s = rf_control_stream(f, stream);
    if (!s)
        return RF_ESTALE;
    for (uint32_t i = 0; i < f->config.max_peers; i++)
        if (f->peers[i].peer && f->peers[i].peer->stream == s && !f->peers[i].peer->told_close)
            return RF_ESTATE;
    if (!room_everywhere(f, 1))
        return RF_EFULL;
    s->told_close = 1;
    rf_command c = {.type = RF_COMMAND_STREAM_CLOSE, .object = s};
    tell_all(f, &c);
    return RF_OK;
}

int rf_stream_keyframe(rf_forwarder *f, rf_handle stream) {
    rf_stream *s = rf_control_stream(f, stream);
    rf_command c = {.type = RF_COMMAND_KEYFRAME, .object = s};
    if (!s)
        return RF_ESTALE;
    if (!room(f, s->owner, 1))
        return RF_EFULL;
    tell(f, s->owner, &c);
    return RF_OK;
}

void rf_control_stream_gone(rf_forwarder *f, rf_handle h) {
    rf_stream *s = any_stream(f, h);
    if (!s)
        return;
    f->streams[(uint32_t)h - 1].stream = NULL;
    for (int i = 0; i < RF_LOGS; i++)
        rf_track_free(&s->track[i]);
    rf_derived_free(s->derived);
    free(s->delays);
    free(s);
}

/* ---- the derived log ---- */

/* The stream's, made if need be; RF_OK, or nothing has changed. The caller has checked that the
 * owner has room for a command. */
static int derived_of(rf_forwarder *f, rf_stream *s, rf_derived **out) {
    if (!s->told_derived) {
        rf_derived *d = rf_derived_new(&s->track[RF_AUDIO]);
        if (!d)
            return RF_ENOMEM;
        rf_command c = {.type = RF_COMMAND_DERIVE, .object = s, .u.derived = d};
        tell(f, s->owner, &c);
        s->told_derived = d;
    }
    *out = s->told_derived;
    return RF_OK;
}

static void uses_derived(rf_peer *p) {
    if (!p->told_derived)
        p->stream->derived_viewers++;
    p->told_derived = 1;
}

/* A reader has gone. The last one's takes the log with it: the next gets one of its own, so that
 * nobody can read what its owner frees. Where the owner's queue is full it stays for the next;
 * where the stream is being closed, for its end: after STREAM_CLOSE the owner is told nothing of
 * it. */
static void leave_derived(rf_forwarder *f, const rf_peer *p) {
    rf_stream *s = p->told_derived ? rf_control_stream(f, p->told_stream) : NULL;
    if (!s || --s->derived_viewers || !f->workers || !room(f, s->owner, 1))
        return;
    rf_command c = {.type = RF_COMMAND_DERIVE, .object = s};
    tell(f, s->owner, &c);
    s->told_derived = NULL;
}

/* ---- peers ---- */

/* A viewer's memory: the peer, its view, its engine's schedule. */
static rf_view *view_of(rf_peer *p) {
    return (rf_view *)(p + 1);
}

static void *schedule_of(rf_peer *p) {
    return view_of(p) + 1;
}

size_t rf_viewer_bytes(const rf_forwarder *f) {
    return sizeof(rf_peer) + sizeof(rf_view) + f->srtp.schedule_bytes;
}

int rf_peer_open(rf_forwarder *f, rf_handle stream, int role, rf_handle *peer) {
    rf_stream *s = rf_control_stream(f, stream);
    uint32_t i = 0;
    if (!s)
        return RF_ESTALE;
    if (role != RF_PUBLISHER && role != RF_VIEWER)
        return RF_EINVAL;
    for (; i < f->config.max_peers; i++)
        if (!f->peers[(f->next_peer + i) % f->config.max_peers].peer)
            break;
    if (i == f->config.max_peers)
        return RF_EFULL;
    i = (f->next_peer + i) % f->config.max_peers;
    int owner = s->owner;
    for (int w = 0; role == RF_VIEWER && w < f->workers; w++)
        if (f->load[w] < f->load[owner])
            owner = w;
    if (!room(f, owner, 1))
        return RF_EFULL;
    rf_peer *p = role == RF_VIEWER ? rf_pool_take(&f->viewers) : aligned_alloc(64, sizeof *p);
    if (!p)
        return RF_ENOMEM;
    memset(p, 0, sizeof *p);
    p->handle = handle_of(i, ++f->peers[i].generation);
    p->stream = s;
    p->told_stream = stream;
    p->owner = (uint16_t)owner;
    p->role = (uint8_t)role;
    f->peers[i].peer = p;
    f->next_peer = i + 1;
    f->load[owner]++;
    f->peer_count++;
    rf_command c = {.type = RF_COMMAND_PEER, .object = p};
    tell_owner(f, p, &c);
    *peer = p->handle;
    return RF_OK;
}

int rf_peer_close(rf_forwarder *f, rf_handle peer, int send_bye) {
    rf_peer *p = rf_control_peer(f, peer);
    if (!p)
        return RF_ESTALE;
    if (!room_everywhere(f, (size_t)(p->known_paths + p->ufrags) + 1))
        return RF_EFULL;
    rf_command c = {.type = RF_COMMAND_PATH_REMOVE, .peer = peer, .owner = p->owner};
    for (int i = 0; i < p->known_paths; i++) {
        c.u.path = p->known_path[i];
        tell_all(f, &c);
    }
    c.type = RF_COMMAND_UFRAG_REMOVE;
    for (int i = 0; i < p->ufrags; i++) {
        memset(&c.u, 0, sizeof c.u);
        memcpy(c.u.credential.ufrag, p->ufrag[i].bytes, p->ufrag[i].len);
        c.len = p->ufrag[i].len;
        tell_all(f, &c);
    }
    p->known_paths = p->ufrags = 0;
    p->told_close = 1;
    rf_command close = {.type = RF_COMMAND_PEER_CLOSE, .len = send_bye != 0};
    return tell_owner(f, p, &close);
}

void rf_control_peer_gone(rf_forwarder *f, rf_handle h) {
    rf_peer *p = any_peer(f, h);
    if (!p)
        return;
    f->peers[(uint32_t)h - 1].peer = NULL;
    f->load[p->owner]--;
    f->peer_count--;
    leave_derived(f, p);
    free(p->pub);
    if (p->role == RF_VIEWER) {
        if (f->srtp.schedule_bytes)
            f->srtp.forget(schedule_of(p));
        rf_pool_give(&f->viewers, p);
    } else {
        free(p);
    }
}

int rf_peer_ufrag(rf_forwarder *f, rf_handle peer, const uint8_t *ufrag, size_t len,
                  const uint8_t *pwd, size_t pwd_len, int remove) {
    rf_peer *p = rf_control_peer(f, peer);
    rf_command c = {.type = remove ? RF_COMMAND_UFRAG_REMOVE : RF_COMMAND_UFRAG, .peer = peer};
    if (!p)
        return RF_ESTALE;
    if (len == 0 || len > sizeof c.u.credential.ufrag)
        return RF_EINVAL;
    if (!room_everywhere(f, 1) || (!remove && p->ufrags == RF_CREDENTIALS))
        return RF_EFULL;
    memcpy(c.u.credential.ufrag, ufrag, len);
    if (pwd && !remove) {
        rf_hmac_key_init(&c.u.credential.key, pwd, pwd_len);
        c.u.credential.answered = 1;
    }
    c.len = (uint8_t)len;
    for (int i = 0; remove && i < p->ufrags; i++)
        if (p->ufrag[i].len == len && memcmp(p->ufrag[i].bytes, ufrag, len) == 0) {
            p->ufrag[i] = p->ufrag[--p->ufrags];
            break;
        }
    if (!remove) {
        memcpy(p->ufrag[p->ufrags].bytes, ufrag, len);
        p->ufrag[p->ufrags++].len = (uint8_t)len;
    }
    tell_all(f, &c);
    return RF_OK;
}

int rf_peer_path(rf_forwarder *f, rf_handle peer, const rf_path *path) {
    rf_peer *p = rf_control_peer(f, peer);
    if (!p)
        return RF_ESTALE;
    for (int i = 0; i < p->known_paths; i++)
        if (rf_path_equal(&p->known_path[i], path))
            return RF_OK;
    if (!room_everywhere(f, 2))
        return RF_EFULL;
    int rc = path->connection && f->shared.tcp
                 ? rf_tcp_bind(f->shared.tcp, path->connection, peer, p->owner)
                 : RF_OK;
    if (rc != RF_OK)
        return rc;
    rf_command c = {.type = RF_COMMAND_PATH_REMOVE, .peer = peer, .owner = p->owner};
    if (p->known_paths == RF_MAX_PATHS) { /* the oldest gives way that media does not go to */
        int old = rf_path_equal(&p->known_path[0], &p->told_selected);
        c.u.path = p->known_path[old];
        tell_all(f, &c);
        p->known_paths--;
        memmove(p->known_path + old, p->known_path + old + 1,
                sizeof *path * (size_t)(p->known_paths - old));
    }
    if (!p->has_told_selected) { /* as the owner does */
        p->told_selected = *path;
        p->has_told_selected = 1;
    }
    p->known_path[p->known_paths++] = *path;
    c.type = RF_COMMAND_PATH;
    c.u.path = *path;
    tell_all(f, &c);
    return RF_OK;
}

int rf_peer_select(rf_forwarder *f, rf_handle peer, const rf_path *path) {
    rf_peer *p = rf_control_peer(f, peer);
    rf_command c = {.type = RF_COMMAND_SELECT};
    int known = 0;
    if (!p)
        return RF_ESTALE;
    for (int i = 0; i < p->known_paths; i++)
        known |= rf_path_equal(&p->known_path[i], path);
    if (!known) /* nothing was verified there */
        return RF_ESTATE;
    c.u.path = *path;
    int rc = tell_owner(f, p, &c);
    if (rc == RF_OK)
        p->told_selected = *path;
    return rc;
}

int rf_peer_keys(rf_forwarder *f, rf_handle peer, int profile, void *rx, void *tx,
                 const rf_session_key *session) {
    rf_peer *p = rf_control_peer(f, peer);
    rf_srtp_key probe;
    rf_command c = {.type = RF_COMMAND_KEYS};
    if (!p)
        return RF_ESTALE;
    if (rf_srtp_key_init(&probe, profile, rx, tx) != RF_OK)
        return RF_EINVAL;
    if (p->told_profile) /* its numbers go on: there is no second beginning */
        return RF_ESTATE;
    if (!room(f, p->owner, 1))
        return RF_EFULL;
    if (p->role == RF_VIEWER && f->srtp.schedule_bytes) {
        c.u.keys.schedule = schedule_of(p);
        f->srtp.expand(&f->srtp, profile, session, c.u.keys.schedule);
    }
    c.u.keys.rx = rx;
    c.u.keys.tx = tx;
    c.u.keys.profile = profile;
    p->told_profile = (uint16_t)profile;
    return tell_owner(f, p, &c);
}

/* Hands a heap object to the owner, or frees it. */
static int hand_over(rf_forwarder *f, const rf_peer *p, int type, void *object) {
    rf_command c = {.type = (uint8_t)type, .object = object};
    int rc = tell_owner(f, p, &c);
    if (rc != RF_OK)
        free(object);
    return rc;
}

/* The logs of further layers are made when a publication first has them, and stay. */
static int make_layers(rf_forwarder *f, rf_stream *s, int layers) {
    for (int i = rf_stream_logs(s); i < RF_VIDEO + layers; i++) {
        int rc = rf_track_init(&s->track[i], RF_VIDEO, i, f->config.video_slots);
        if (rc != RF_OK)
            return rc;
        atomic_store_explicit(&s->logs, (uint32_t)i + 1, memory_order_release);
    }
    return RF_OK;
}

int rf_peer_publish(rf_forwarder *f, rf_handle peer, const rf_publication *setup) {
    rf_peer *p = rf_control_peer(f, peer);
    if (!p)
        return RF_ESTALE;
    int layers = setup->track[RF_VIDEO].layers;
    if (p->role != RF_PUBLISHER || layers > RF_LAYERS)
        return RF_EINVAL;
    if (make_layers(f, p->stream, layers) != RF_OK)
        return RF_ENOMEM;
    rf_pub *pub = calloc(1, sizeof *pub);
    if (!pub)
        return RF_ENOMEM;
    pub->setup = *setup;
    p->stream->told_layers = (uint8_t)(layers > 1 ? layers : 0);
    return hand_over(f, p, RF_COMMAND_PUBLISH, pub);
}

/* First numbers are random below 2^15, so that SRTP's roll-over counter starts where both sides
 * expect it (RFC 3711 section 3.3.1); in memory the same for the same peer, so that a run repeats.
 */
static int first_numbers(const rf_forwarder *f, rf_handle peer, rf_view *v) {
    uint16_t r[RF_KINDS * 2];
    if (f->config.in_memory)
        for (int i = 0; i < RF_KINDS * 2; i++)
            r[i] = (uint16_t)((peer + 1) * 40503u * (unsigned)(i + 1) >> 3);
    else if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r)
        return RF_ESYS;
    for (int k = 0; k < RF_KINDS; k++) {
        v->track[k].next_out = RF_OUT_ORIGIN + (r[k * 2] & 0x3fff) + 1;
        v->track[k].rtx_seq = RF_OUT_ORIGIN + (r[k * 2 + 1] & 0x3fff) + 1;
    }
    return RF_OK;
}

int rf_peer_view(rf_forwarder *f, rf_handle peer, const rf_subscription *setup) {
    rf_peer *p = rf_control_peer(f, peer);
    if (!p)
        return RF_ESTALE;
    if (p->role != RF_VIEWER)
        return RF_EINVAL;
    if (p->told_view)
        return RF_ESTATE;
    if (setup->track[RF_VIDEO].derived)
        return RF_EINVAL;
    rf_view *view = view_of(p);
    memset(view, 0, sizeof *view); /* a first try may have failed half-way */
    view->setup = *setup;
    for (int k = 0; k < RF_KINDS; k++) {
        view->track[k].present = setup->track[k].present;
        view->track[k].log = (uint8_t)k;
        view->track[k].told_log = (uint8_t)k;
        view->track[k].ssrc = setup->track[k].ssrc;
        view->track[k].derived = setup->track[k].derived;
        memcpy(view->track[k].pt_of_format, setup->track[k].pt_of_format,
               sizeof setup->track[k].pt_of_format);
    }
    view->position = UINT32_MAX;
    int rc = first_numbers(f, peer, view), derived = setup->track[RF_AUDIO].derived != 0;
    rf_command c = {.type = RF_COMMAND_VIEW, .object = view};
    if (derived && (!room(f, p->owner, 2) || !room(f, p->stream->owner, 2)))
        rc = RF_EFULL;
    if (rc == RF_OK && derived) {
        rf_derived *d = NULL;
        rc = derived_of(f, p->stream, &d);
        view->derived = d;
    }
    if (rc == RF_OK)
        rc = tell_owner(f, p, &c);
    if (rc == RF_OK) {
        p->told_view = view;
        if (derived)
            uses_derived(p);
    }
    return rc;
}

int rf_peer_layer(rf_forwarder *f, rf_handle peer, int layer) {
    rf_peer *p = rf_control_peer(f, peer);
    if (!p)
        return RF_ESTALE;
    if (p->role != RF_VIEWER || layer < -1 || layer >= RF_LAYERS)
        return RF_EINVAL;
    rf_command c = {.type = RF_COMMAND_LAYER, .len = (uint8_t)(layer + 1)};
    return tell_owner(f, p, &c);
}

int rf_peer_format(rf_forwarder *f, rf_handle peer, int kind, int format, int pt, int rtx_pt,
                   int derived) {
    rf_peer *p = rf_control_peer(f, peer);
    rf_command c = {.type = RF_COMMAND_FORMAT};
    if (!p)
        return RF_ESTALE;
    if (kind < 0 || kind >= RF_KINDS || format < 0 || format >= RF_MAX_FORMATS ||
        (derived && kind != RF_AUDIO))
        return RF_EINVAL;
    if (derived) {
        if (!room(f, p->owner, 2) || !room(f, p->stream->owner, 2))
            return RF_EFULL;
        int rc = derived_of(f, p->stream, &c.u.format.derived);
        if (rc != RF_OK)
            return rc;
    }
    c.u.format.kind = (uint8_t)kind;
    c.u.format.format = (uint8_t)format;
    c.u.format.pt = (uint8_t)pt;
    c.u.format.rtx_pt = (uint8_t)rtx_pt;
    if (derived)
        uses_derived(p);
    return tell_owner(f, p, &c);
}
