/* Stage 8: the slab. Packets laid out by rewrite are protected as one batch, neighbours of one
 * viewer with equal sizes become one message (a GSO run: all segments alike, the last one may be
 * shorter), and the messages leave by sendmmsg. At a full socket the unsent packets go back: their
 * viewers' cursors return to them, and under the same numbers they are the same bytes. */
#include "base/error.h"
#include "path/path.h"

uint8_t *rf_egress_room(rf_ctx *x) {
    if (x->job_count == RF_JOBS || x->slab_at + RF_JOB_ROOM > RF_SLAB)
        return NULL;
    return x->slab + x->slab_at;
}

void rf_egress_add(rf_ctx *x, rf_peer *p, int kind, uint64_t index, uint64_t arrival_ns,
                   rf_head head, uint64_t srtp_index, const uint8_t *payload, size_t payload_len) {
    rf_srtp_job *job = &x->jobs[x->job_count];
    rf_job_info *info = &x->info[x->job_count++];
    job->key = &p->key;
    job->dst = x->slab + x->slab_at;
    job->src = payload;
    job->index = srtp_index;
    job->clear_len = head.clear;
    job->head_len = head.total;
    job->src_len = (uint16_t)payload_len;
    job->out_len = (uint16_t)(head.total + payload_len + p->key.tag_len);
    info->peer = p;
    info->index = index;
    info->arrival_ns = arrival_ns;
    info->kind = (uint8_t)kind;
    x->slab_at += job->out_len; /* the next packet stands right behind: a run needs no gap */
}

/* May job i be the next segment of message m? */
static int joins(const rf_ctx *x, const rf_message *m, int i) {
    const rf_srtp_job *job = &x->jobs[i];
    return x->info[i].peer == x->info[i - 1].peer && x->net->gso && x->jobs[i - 1].rc == 0 &&
           m->data + m->len == job->dst && job->out_len <= m->segment &&
           m->len == (uint32_t)m->segment * m->count && m->count < RF_GSO_SEGMENTS &&
           m->len + job->out_len <= RF_GSO_BYTES;
}

/* Need the kernel not be told where to send from? Asked once a path, and after every change. */
static uint8_t from_default(const rf_net *n, rf_peer *p) {
    if (p->source_asked != n->routes) {
        p->source_asked = n->routes;
        p->from_default = (uint8_t)n->is_default_source(n, &p->selected);
    }
    return p->from_default;
}

static int build(rf_ctx *x) {
    int count = 0;
    for (int i = 0; i < x->job_count; i++) {
        const rf_srtp_job *job = &x->jobs[i];
        if (job->rc != 0) {
            rf_drop_peer(x, x->info[i].peer, RF_DROP_protect_failed);
            continue;
        }
        if (x->legs && x->info[i].peer->leg)
            continue; /* goes by rf_legs_send */
        if (count && joins(x, &x->messages[count - 1], i)) {
            rf_message *m = &x->messages[count - 1];
            m->len += job->out_len;
            m->count++;
            continue;
        }
        x->first_job[count] = (uint16_t)i;
        rf_message *m = &x->messages[count++];
        m->path = &x->info[i].peer->selected;
        m->data = job->dst;
        m->len = job->out_len;
        m->segment = job->out_len;
        m->count = 1;
        m->from_default = from_default(x->net, x->info[i].peer);
    }
    return count;
}

static void take_back(rf_ctx *x, int first) {
    for (int i = x->job_count - 1; i >= first; i--) {
        const rf_job_info *info = &x->info[i];
        if (info->index == RF_NO_PIN)
            continue; /* a resend: the viewer will ask again */
        rf_view_track_state *s = &info->peer->view->track[info->kind];
        if (info->index < s->cursor)
            s->cursor = info->index;
        rf_set(&s->packets, rf_read(&s->packets) - 1);
        rf_set(&s->bytes, rf_read(&s->bytes) - x->jobs[i].head_len - x->jobs[i].src_len);
        const rf_slot *slot = rf_track_slot(&info->peer->stream->track[s->log], info->index);
        rf_set(&s->octets, rf_read(&s->octets) - (slot->payload_len - (uint64_t)slot->padding));
    }
    rf_drop(x, RF_DROP_send_again);
}

/* How long the packets of the first `count` messages stayed; a run goes by its first packet, which
 * is its oldest. Viewers get the same packets one after the other, so most notes are of several. */
static void note_delays(rf_ctx *x, int count) {
    uint64_t now = rf_clock_now(x), arrival_ns = 0, packets = 0;
    rf_stream *stream = NULL;
    for (int m = 0; m <= count; m++) {
        const rf_job_info *first = m < count ? &x->info[x->first_job[m]] : NULL;
        if (first && first->arrival_ns == arrival_ns && first->peer->stream == stream) {
            packets += x->messages[m].count;
            continue;
        }
        if (arrival_ns) {
            uint64_t stayed = now - arrival_ns;
            rf_delays_note(&x->delays, stayed, packets);
            rf_recent_delays_note(&stream->delays[x->worker], now, stayed, packets);
        }
        if (first) {
            arrival_ns = first->arrival_ns;
            stream = first->peer->stream;
            packets = x->messages[m].count;
        }
    }
}

void rf_egress_flush(rf_ctx *x) {
    if (!x->job_count)
        return;
    x->srtp.protect(&x->srtp, x->jobs, x->job_count);
    int count = build(x), done = 0;
    int sent_jobs = x->job_count;
    if (x->net->send(x->net, x->messages, count, &done) == RF_SENT_AGAIN) {
        x->blocked = 1;
        sent_jobs = x->first_job[done];
        take_back(x, sent_jobs);
    }
    if (x->legs)
        rf_legs_send(x, sent_jobs);
    note_delays(x, done);
    rf_count(&x->packets, (uint64_t)sent_jobs);
    rf_count(&x->runs, (uint64_t)done);
    x->job_count = 0;
    x->slab_at = 0;
}

void rf_egress_rtcp(rf_ctx *x, rf_peer *p, uint8_t *data, size_t len) {
    uint32_t n = (uint32_t)len;
    if (!p->has_path || !p->has_keys) {
        rf_drop_peer(x, p, RF_DROP_no_path);
        return;
    }
    if (rf_srtp_protect_rtcp(&x->srtp, &p->key, data, &n) != RF_OK) {
        rf_drop_peer(x, p, RF_DROP_protect_failed);
        return;
    }
    if (rf_send_now(x, &p->selected, data, n) == RF_SENT_AGAIN)
        rf_drop_peer(x, p, RF_DROP_send_again);
}
