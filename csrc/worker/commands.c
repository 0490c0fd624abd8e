/* What the control plane asked for, carried out by the worker that owns the object. Commands come
 * in the order in which they were given; a command for a peer that is gone is passed over. */
#include <stdlib.h>

#include "base/error.h"
#include "feedback/feedback.h"
#include "path/path.h"
#include "worker/worker.h"

static void set_flag(rf_peer *p, uint32_t flag) {
    atomic_fetch_or_explicit(&p->stat_flags, flag, memory_order_relaxed);
}

static void set_leg(rf_ctx *x, rf_peer *p, rf_leg *leg) {
    x->legs += (leg != NULL) - (p->leg != NULL);
    p->leg = leg;
}

static void select_path(rf_ctx *x, rf_peer *p, const rf_path *path) {
    uint64_t words[5];
    p->selected = *path;
    p->source_asked = 0;
    set_leg(x, p, rf_leg_of(x, path));
    p->has_path = 1;
    set_flag(p, 2);
    memcpy(words, path, sizeof words);
    for (int i = 0; i < 5; i++)
        atomic_store_explicit(&p->stat_path[i], words[i], memory_order_relaxed);
}

/* A viewer joins the fan-out when it has a path, keys and a subscription. */
static void try_start(rf_ctx *x, rf_peer *p) {
    if (!p->view || !p->has_keys || !p->has_path || p->view->position != UINT32_MAX)
        return;
    if (rf_sub_add(x, p) != RF_OK)
        p->view->position = UINT32_MAX;
}

static void add_peer(rf_ctx *x, rf_peer *p) {
    x->peers[(uint32_t)p->handle - 1] = p;
    x->own[x->own_count++] = p;
    p->last_heard_ns = x->now_ns;
}

static void add_path(rf_ctx *x, const rf_command *c) {
    rf_paths_put(&x->paths, &c->u.path, c->peer, c->owner); /* there is a place: engine.c */
    rf_peer *p = rf_peer_of(x, c->peer);
    if (!p)
        return;
    if (!p->has_path) {
        select_path(x, p, &c->u.path);
        try_start(x, p);
    }
}

/* Its connection is let go by the owner: at once, or with the peer if media goes there. */
static void remove_path(rf_ctx *x, const rf_command *c) {
    rf_paths_remove(&x->paths, &c->u.path, c->peer);
    rf_leg *leg = c->owner == x->worker ? rf_leg_of(x, &c->u.path) : NULL;
    const rf_peer *p = rf_peer_of(x, c->peer);
    if (leg && !(p && p->leg == leg))
        rf_leg_release(x->shared->tcp, leg);
}

static void add_ufrag(rf_ctx *x, const rf_command *c) {
    rf_ufrags_put(&x->ufrags, c->u.credential.ufrag, c->len, c->peer);
    rf_peer *p = rf_peer_of(x, c->peer);
    if (!p || !c->u.credential.answered || p->credentials == RF_CREDENTIALS)
        return;
    rf_credential *own = &p->credential[p->credentials++];
    memcpy(own->ufrag, c->u.credential.ufrag, c->len);
    own->len = c->len;
    own->key = c->u.credential.key;
}

static void remove_ufrag(rf_ctx *x, const rf_command *c) {
    rf_ufrags_remove(&x->ufrags, c->u.credential.ufrag, c->len, c->peer);
    rf_peer *p = rf_peer_of(x, c->peer);
    for (int i = 0; p && i < p->credentials; i++)
        if (p->credential[i].len == c->len &&
            memcmp(p->credential[i].ufrag, c->u.credential.ufrag, c->len) == 0) {
            p->credential[i] = p->credential[--p->credentials];
            return;
        }
}

static void set_keys(rf_ctx *x, rf_peer *p, const rf_command *c) {
    if (rf_srtp_key_init(&p->key, c->u.keys.profile, c->u.keys.rx, c->u.keys.tx) != RF_OK)
        return;
    p->key.schedule = c->u.keys.schedule;
    p->has_keys = 1;
    set_flag(p, 1);
    rf_early_replay(x, p);
    try_start(x, p);
}

/* A clock line holds for one rate: with another one it would name any moment at all. */
static void set_rate(rf_track *t, uint32_t rate) {
    if (atomic_load_explicit(&t->clock_rate, memory_order_relaxed) != rate)
        atomic_store_explicit(&t->clock_line, 0, memory_order_relaxed);
    atomic_store_explicit(&t->clock_rate, rate, memory_order_relaxed);
}

static void publish(rf_ctx *x, rf_peer *p, rf_pub *pub) {
    if (!p->pub)
        x->pubs[x->pub_count++] = p;
    else
        free(p->pub);
    p->pub = pub;
    const rf_pub_track *video = &pub->setup.track[RF_VIDEO];
    for (int i = 0; i < rf_stream_logs(p->stream); i++) {
        rf_track *t = &p->stream->track[i];
        atomic_store_explicit(&t->drift_ppm, 0, memory_order_relaxed);
        rf_set(&t->keys_prompt, 0);
        rf_set(&t->keys_late, 0);
        rf_set(&t->plis_unanswered, 0);
        rf_set(&t->inspected, 0);
        rf_set(&t->discardable, 0);
        rf_set(&t->b_frames, 0);
        rf_set(&t->parameters_added, 0);
        rf_set(&t->parameters_missing, 0);
        rf_set(&t->bitrate, 0);
        t->bits_seen = rf_read(&t->bytes) * 8;
        t->bits_ns = 0;
    }
    for (int i = 0; i < rf_stream_logs(p->stream); i++) {
        rf_track *t = &p->stream->track[i];
        const rf_pub_track *setup = &pub->setup.track[rf_kind_of_log(i)];
        if (setup->present && (i <= RF_VIDEO || i < RF_VIDEO + video->layers))
            set_rate(t, setup->clock_rate);
        else
            atomic_store_explicit(&t->active, 0, memory_order_relaxed);
    }
    rf_layers_reset(p->stream, video->layers);
    if (video->layers <= 1)
        rf_parameters_offered(&pub->source[RF_VIDEO].parameters, video->format[0].codec,
                              video->parameters, video->parameters_len);
}

/* A format in use gets another payload type (video's; the publisher's SPS asks for it) by a new
 * beginning: what went out under the old one must not be repeated under the new one. */
static void set_format(rf_ctx *x, rf_peer *p, const rf_command *c) {
    if (!p->view)
        return;
    int kind = c->u.format.kind, format = c->u.format.format;
    rf_view_track *t = &p->view->setup.track[kind];
    rf_view_track_state *s = &p->view->track[kind];
    if (t->pt_of_format[format] != RF_NO_PT && kind != RF_VIDEO)
        return;
    if (t->pt_of_format[format] != RF_NO_PT) {
        p->view->retype =
            (rf_retype){1, (uint8_t)format, (uint8_t)c->u.format.pt, (uint8_t)c->u.format.rtx_pt};
        rf_view_retype(x, p);
        return;
    }
    if (c->u.format.derived) {
        p->view->derived = c->u.format.derived;
        s->derived |= (uint16_t)(1u << format);
    }
    t->pt_of_format[format] = c->u.format.pt;
    s->pt_of_format[format] = c->u.format.pt;
    t->rtx_pt_of_format[format] = c->u.format.rtx_pt;
}

/* A derived log for the stream's audio, or none any more: its last reader has gone. */
static void derive(rf_stream *s, rf_derived *d) {
    rf_derived_free(s->derived);
    s->derived = d;
    if (d)
        rf_derived_open(d, &s->track[RF_AUDIO]);
}

static void close_peer(rf_ctx *x, rf_peer *p, int bye) {
    if (bye)
        rf_report_bye(x, p);
    if (p->view && p->view->position != UINT32_MAX)
        rf_sub_remove(x, p);
    if (p->leg) {
        rf_leg_release(x->shared->tcp, p->leg);
        set_leg(x, p, NULL);
    }
    if (p->pub) {
        for (int k = 0; k < RF_LOGS; k++)
            if (p->pub->source[k].ssrc)
                atomic_store_explicit(&p->stream->track[k].active, 0, memory_order_relaxed);
        for (uint32_t i = 0; i < x->pub_count; i++)
            if (x->pubs[i] == p) {
                x->pubs[i] = x->pubs[--x->pub_count];
                break;
            }
    }
    for (uint32_t i = 0; i < x->own_count; i++)
        if (x->own[i] == p) {
            x->own[i] = x->own[--x->own_count];
            break;
        }
    for (uint32_t i = 0; i < RF_EARLY; i++)
        if (x->early[i].peer == p->handle)
            x->early[i].peer = 0;
    p->closing = 1;
    x->peers[(uint32_t)p->handle - 1] = NULL;
    rf_notify(x, RF_EVENT_PEER_GONE, 0, p, p->stream, NULL, 0, 1);
}

static void close_stream(rf_ctx *x, rf_stream *s) {
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        rf_notify(x, RF_EVENT_STREAM_GONE, 0, NULL, s, NULL, 0, 1);
}

/* Commands for a peer that this worker owns. */
static void for_peer(rf_ctx *x, rf_peer *p, rf_command *c) {
    switch (c->type) {
    case RF_COMMAND_SELECT:
        select_path(x, p, &c->u.path);
        try_start(x, p);
        break;
    case RF_COMMAND_KEYS:
        set_keys(x, p, c);
        break;
    case RF_COMMAND_PUBLISH:
        publish(x, p, c->object);
        break;
    case RF_COMMAND_VIEW:
        p->view = c->object;
        try_start(x, p);
        break;
    case RF_COMMAND_FORMAT:
        set_format(x, p, c);
        break;
    case RF_COMMAND_LAYER:
        if (p->view)
            p->view->track[RF_VIDEO].choice = c->len;
        break;
    case RF_COMMAND_PEER_CLOSE:
        close_peer(x, p, c->len);
        break;
    default:
        break;
    }
}

static void carry_out(rf_ctx *x, rf_command *c) {
    rf_peer *p;
    switch (c->type) {
    case RF_COMMAND_PEER:
        add_peer(x, c->object);
        return;
    case RF_COMMAND_PATH:
        add_path(x, c);
        return;
    case RF_COMMAND_PATH_REMOVE:
        remove_path(x, c);
        return;
    case RF_COMMAND_UFRAG:
        add_ufrag(x, c);
        return;
    case RF_COMMAND_UFRAG_REMOVE:
        remove_ufrag(x, c);
        return;
    case RF_COMMAND_KEYFRAME:
        for (int i = RF_VIDEO; i < rf_stream_logs(c->object); i++)
            rf_keyframe_want(x, c->object, i);
        return;
    case RF_COMMAND_DERIVE:
        derive(c->object, c->u.derived);
        return;
    case RF_COMMAND_STREAM_CLOSE:
        close_stream(x, c->object);
        return;
    default:
        p = rf_peer_of(x, c->peer);
        if (p)
            for_peer(x, p, c);
        else if (c->type == RF_COMMAND_PUBLISH)
            free(c->object);
    }
}

void rf_commands(rf_ctx *x, int max) {
    for (int i = 0; i < max; i++) {
        uint64_t ticket;
        rf_command *c = rf_queue_peek(&x->commands, &ticket);
        if (!c)
            return;
        rf_command copy = *c;
        rf_queue_release(&x->commands, ticket);
        carry_out(x, &copy);
    }
}
