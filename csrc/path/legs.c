/* Peers over TCP: what is sent to them goes into their connection's ring (net/tcp.h), never to the
 * UDP socket.
 *
 * TCP loses nothing, so a link that is too slow shows as a ring that stays full. The track log is
 * the queue behind it: the cursor waits. A frame of video is begun only while the ring is nearly
 * empty, so that it has room; when at the beginning of a frame the viewer has been waiting for a
 * second (config: viewer_lag) and what is next is a second old, it goes on at the next key frame.
 * So it never gets half a frame, is late by about a second at most, and costs RF_LEG_MEDIA bytes
 * and what the kernel holds. Audio goes into the room that is kept for it as long as the connection
 * takes anything at all; when it is a second late it goes on at the live edge. */
#include "base/error.h"
#include "feedback/estimate.h"
#include "path/path.h"

enum {
    HEADROOM = 256,           /* header, extensions, tag and length of one packet */
    BEGIN = RF_LEG_MEDIA / 4, /* fuller than that: no new frame of video */
    FOR_AUDIO = 8 * 1024,
};
static const uint64_t FROZEN_NS = 500000000u, WELL_NS = 10000000000u;

rf_leg *rf_leg_of(rf_ctx *x, const rf_path *path) {
    rf_tcp *t = x->shared->tcp;
    return path->connection && t ? rf_tcp_leg(t, path->connection) : NULL;
}

enum rf_sent rf_send_now(rf_ctx *x, const rf_path *path, uint8_t *data, size_t len) {
    rf_message m = {
        .path = path, .data = data, .len = (uint32_t)len, .segment = (uint16_t)len, .count = 1};
    int done = 0;
    if (!path->connection || !x->shared->tcp)
        return x->net->send(x->net, &m, 1, &done);
    rf_leg *leg = rf_leg_of(x, path);
    return leg && rf_leg_send(x->shared->tcp, leg, data, len) == RF_EFULL ? RF_SENT_AGAIN
                                                                          : RF_SENT_ALL;
}

void rf_legs_send(rf_ctx *x, int count) {
    for (int i = 0; i < count; i++) {
        rf_leg *leg = x->info[i].peer->leg;
        const rf_srtp_job *job = &x->jobs[i];
        if (leg && job->rc == 0 &&
            rf_leg_send(x->shared->tcp, leg, job->dst, job->out_len) == RF_EFULL)
            rf_drop_peer(x, x->info[i].peer, RF_DROP_leg_full); /* a resend: it may ask again */
    }
}

/* ---- letting in ---- */

/* What lies in the slab for it: its jobs are the newest ones, as viewers are served in turn. */
static size_t laid(const rf_ctx *x, const rf_peer *p) {
    size_t bytes = 0;
    for (int i = x->job_count - 1; i >= 0 && x->info[i].peer == p; i--)
        bytes += x->jobs[i].out_len + RF_FRAME_HEAD;
    return bytes;
}

static int begins(const rf_leg_pace *l, const rf_slot *slot) {
    return !l->has_video_ts || (int32_t)(slot->ts - l->video_ts) > 0;
}

/* Has the connection taken nothing for a while, or more than it is to hold of sound alone? */
static int audio_waits(const rf_ctx *x, const rf_peer *p, size_t used) {
    return x->now_ns - p->leg->pace.moved_ns > FROZEN_NS ||
           (!p->view->setup.track[RF_VIDEO].present && used > FOR_AUDIO);
}

static void look_at(const rf_ctx *x, rf_leg *leg) {
    uint64_t head = atomic_load_explicit(&leg->media.head, memory_order_acquire);
    if (head != leg->pace.head_seen || !rf_ring_used(&leg->media)) {
        leg->pace.head_seen = head;
        leg->pace.moved_ns = x->now_ns;
    }
}

enum rf_admission rf_leg_admit(rf_ctx *x, rf_peer *p, int kind, const rf_slot *slot) {
    rf_leg_pace *l = &p->leg->pace;
    if (atomic_load_explicit(&p->leg->closed, memory_order_relaxed))
        return RF_LEG_GO; /* into the void, as UDP would */
    look_at(x, p->leg);
    size_t used = rf_ring_used(&p->leg->media) + laid(x, p);
    size_t room = RF_LEG_MEDIA - slot->payload_len - HEADROOM; /* used more: no room for it */
    const uint64_t late_ns = x->config->viewer_lag_ns;
    uint64_t age = x->now_ns > slot->arrival_ns ? x->now_ns - slot->arrival_ns : 0;
    int wait;
    if (kind == RF_AUDIO) {
        if (age > late_ns)
            return RF_LEG_SKIP;
        wait = used > room || audio_waits(x, p, used);
    } else {
        int border = begins(l, slot);
        if (age < late_ns / 4)
            l->stalled_ns = 0;
        if (border && l->stalled_ns && x->now_ns - l->stalled_ns > late_ns && age > late_ns)
            return RF_LEG_SKIP;
        wait = used + FOR_AUDIO > room || (border && used > BEGIN);
        if (wait && !l->stalled_ns)
            l->stalled_ns = x->now_ns;
        if (!wait && border) {
            l->video_ts = slot->ts;
            l->has_video_ts = 1;
        }
    }
    x->stalled |= wait;
    return wait ? RF_LEG_WAIT : RF_LEG_GO;
}

void rf_leg_skip(rf_ctx *x, rf_peer *p, int kind, uint64_t head) {
    rf_view_track_state *s = &p->view->track[kind];
    rf_leg_pace *l = &p->leg->pace;
    rf_drop_peer(x, p, RF_DROP_leg_late);
    s->jump = 1;
    s->has_jump_seq = 0;
    if (kind == RF_AUDIO) {
        rf_count(&s->skipped, head - s->cursor);
        s->cursor = head;
        return;
    }
    s->state = RF_VIEW_WAIT;
    s->wait_index = s->cursor + 1;
    l->skipping = 1;
    l->skip_from = s->cursor;
    l->skipped_ns = x->now_ns;
    l->stalled_ns = 0;
    rf_slow_tell(x, p, RF_SLOW_FITS);
}

void rf_leg_watch(rf_ctx *x, rf_peer *p) {
    if (p->leg && x->now_ns - p->leg->pace.skipped_ns > WELL_NS)
        rf_slow_tell(x, p, RF_SLOW_ALL);
}

void rf_leg_resumed(rf_peer *p, int kind) {
    rf_view_track_state *s = &p->view->track[kind];
    rf_leg_pace *l = &p->leg->pace;
    if (kind != RF_VIDEO || !l->skipping)
        return;
    l->skipping = 0;
    l->has_video_ts = 0;
    if (s->cursor > l->skip_from)
        rf_count(&s->skipped, s->cursor - l->skip_from);
}
