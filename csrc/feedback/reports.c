/* Reports (RFC 3550 section 6.4): SR to viewers from the stream's clock line (clocks.c), RR and
 * REMB to the publisher, BYE at the end. No viewer gets an SR before every active track has a line.
 */
#include "base/error.h"
#include "feedback/feedback.h"
#include "model/clock.h"
#include "path/path.h"

static const uint64_t SECOND = 1000000000u;

int rf_feedback_begin(rf_writer *w, const rf_pub *pub) {
    if (pub->setup.reduced_size)
        return RF_OK;
    uint32_t self = pub->setup.local_ssrc;
    int rc = rf_rtcp_write_rr(w, self, NULL, 0);
    return rc != RF_OK ? rc : rf_rtcp_write_sdes(w, &self, 1, pub->setup.cname);
}

/* ---- to the publisher ---- */

static void block_of(const rf_ctx *x, rf_source *s, rf_track *t, rf_report_block *b) {
    uint64_t expected = s->highest_ext - s->first_ext + 1;
    uint64_t expected_now = expected - s->expected_prior;
    uint64_t received_now = s->received - s->received_prior;
    int64_t lost = (int64_t)(expected - s->received);
    int64_t lost_now = (int64_t)(expected_now - received_now);
    s->expected_prior = expected;
    s->received_prior = s->received;
    memset(b, 0, sizeof *b);
    b->ssrc = s->ssrc;
    if (expected_now && lost_now > 0)
        b->fraction_lost = (uint8_t)(lost_now * 255 / (int64_t)expected_now);
    b->cumulative_lost = (int32_t)(lost > 0x7fffff    ? 0x7fffff
                                   : lost < -0x800000 ? -0x800000
                                                      : lost);
    b->highest_seq = (uint32_t)(s->highest_ext - (1u << 16));
    b->jitter = (uint32_t)s->jitter;
    uint64_t since = x->now_ns - s->last_sr_ns;
    if (s->last_sr_ns && since < 65536 * SECOND) { /* what 32 bits hold of 1/65536 s */
        b->lsr = s->last_sr_mid;
        b->dlsr = (uint32_t)((since << 16) / SECOND);
    }
    rf_set(&t->repaired, s->repaired);
    rf_set(&t->lost, lost > 0 ? (uint64_t)lost : 0);
    atomic_store_explicit(&t->jitter, b->jitter, memory_order_relaxed);
}

void rf_report_publisher(rf_ctx *x, rf_peer *p) {
    rf_pub *pub = p->pub;
    rf_report_block blocks[RF_LOGS];
    uint32_t ssrcs[RF_LOGS], self = pub->setup.local_ssrc;
    int count = 0, remb = 0;
    if (!pub->first_media_ns || x->now_ns < pub->next_report_ns)
        return;
    pub->next_report_ns = x->now_ns + SECOND;
    for (int k = 0; k < RF_LOGS; k++) {
        rf_source *s = &pub->source[k];
        if (!s->ssrc)
            continue;
        block_of(x, s, &p->stream->track[k], &blocks[count]);
        if (pub->setup.track[rf_kind_of_log(k)].remb)
            ssrcs[remb++] = s->ssrc;
        count++;
    }
    rf_clock_second(x, p);
    uint8_t buffer[512 + RF_SRTP_TRAILER];
    rf_writer w = {buffer, 0, 512};
    if (rf_rtcp_write_rr(&w, self, blocks, count) ||
        rf_rtcp_write_sdes(&w, &self, 1, pub->setup.cname))
        return;
    if (remb && rf_rtcp_write_remb(&w, self, x->config->remb_bps, ssrcs, remb))
        return;
    rf_egress_rtcp(x, p, buffer, w.at);
}

/* ---- to a viewer ---- */

/* The log that a viewer's track is fed from. */
static const rf_track *log_of(const rf_peer *p, int kind) {
    return &p->stream->track[p->view->track[kind].log];
}

/* 1 when every track on the air has a clock line. */
static int lines_known(const rf_peer *p) {
    int any = 0;
    for (int k = 0; k < RF_KINDS; k++) {
        const rf_track *t = log_of(p, k);
        if (!atomic_load_explicit(&t->active, memory_order_relaxed))
            continue;
        if (!(atomic_load_explicit(&t->clock_line, memory_order_relaxed) & RF_CLOCK_VALID))
            return 0;
        any = 1;
    }
    return any;
}

/* One that stood behind much video is to be told of before the next one takes its place. */
static uint64_t wanted_apart(const rf_view *v) {
    return v->way.bps && v->way.sr_busy && !v->way.sr_told ? 2 * SECOND : SECOND;
}

/* Two reports soon, since receivers synchronise from the second one on; a few a second apart, for
 * their clock regression and our round trip, and as long as its way is watched; then RFC 3550
 * section 6.2 would allow 5 s. */
static int due(const rf_ctx *x, const rf_view *v, const rf_view_track_state *s) {
    enum { SOON = 2, OFTEN = 6 };
    uint64_t apart = s->sr_count < SOON                  ? SECOND / 2
                     : s->sr_count < OFTEN || v->way.bps ? wanted_apart(v)
                                                         : 5 * SECOND / 2;
    return rf_read(&s->packets) && (!s->sr_ns || x->now_ns - s->sr_ns >= apart - SECOND / 20);
}

static int write_sr(rf_ctx *x, rf_peer *p, int kind, rf_writer *w) {
    rf_view_track_state *s = &p->view->track[kind];
    const rf_track *t = log_of(p, kind);
    uint32_t rate = atomic_load_explicit(&t->clock_rate, memory_order_relaxed);
    uint64_t line = atomic_load_explicit(&t->clock_line, memory_order_relaxed);
    rf_sender_info info = {
        .ssrc = p->view->setup.track[kind].ssrc,
        .ntp = rf_ntp(x->now_ns + x->config->wall_offset_ns),
        .rtp_ts = rf_clock_ts(line, x->now_ns, rate) + s->ts_offset,
        .packets = (uint32_t)rf_read(&s->packets),
        .octets = (uint32_t)rf_read(&s->octets),
    };
    rf_way *way = &p->view->way;
    if (kind == RF_VIDEO) {
        way->sr_mid = (uint32_t)(info.ntp >> 16);
        way->sr_ns = x->now_ns;
        way->sr_told = 0;
        way->sr_busy = x->now_ns - way->waited_ns < SECOND / 10 && way->busy_ns > SECOND / 5;
    }
    s->sr_ns = x->now_ns;
    if (s->sr_count < 255)
        s->sr_count++;
    return rf_rtcp_write_sr(w, &info);
}

void rf_report_viewer(rf_ctx *x, rf_peer *p) {
    uint8_t buffer[512 + RF_SRTP_TRAILER];
    rf_writer w = {buffer, 0, 512};
    uint32_t ssrcs[RF_KINDS];
    int count = 0;
    if (!lines_known(p))
        return;
    uint8_t epoch = atomic_load_explicit(&p->stream->line_epoch, memory_order_relaxed);
    if (p->view->line_epoch != epoch) { /* another publisher's lines: to be told of soon */
        p->view->line_epoch = epoch;
        for (int k = 0; k < RF_KINDS; k++)
            p->view->track[k].sr_count = 0;
    }
    for (int k = 0; k < RF_KINDS; k++) {
        if (!p->view->setup.track[k].present || !due(x, p->view, &p->view->track[k]) ||
            !atomic_load_explicit(&log_of(p, k)->active, memory_order_relaxed))
            continue;
        if (write_sr(x, p, k, &w))
            return;
        ssrcs[count++] = p->view->setup.track[k].ssrc;
    }
    for (int i = 0; i < count; i++) /* a packet each: aiortc misreads a second chunk */
        if (rf_rtcp_write_sdes(&w, &ssrcs[i], 1, p->view->setup.cname))
            return;
    if (count)
        rf_egress_rtcp(x, p, buffer, w.at);
}

void rf_report_now(rf_ctx *x, rf_peer *p) {
    rf_view_track_state *s = &p->view->track[RF_VIDEO];
    if (x->now_ns - s->sr_ns < SECOND / 3)
        return;
    s->sr_ns = 0;
    rf_report_viewer(x, p);
}

void rf_report_bye(rf_ctx *x, rf_peer *p) {
    uint8_t buffer[512 + RF_SRTP_TRAILER];
    rf_writer w = {buffer, 0, 512};
    uint32_t ssrcs[RF_KINDS];
    int count = 0;
    if (!p->has_path || !p->has_keys)
        return;
    if (p->pub)
        ssrcs[count++] = p->pub->setup.local_ssrc;
    for (int k = 0; p->view && k < RF_KINDS; k++)
        if (p->view->setup.track[k].present)
            ssrcs[count++] = p->view->setup.track[k].ssrc;
    if (!count || rf_rtcp_write_rr(&w, ssrcs[0], NULL, 0) ||
        rf_rtcp_write_sdes(&w, ssrcs, 1, p->pub ? p->pub->setup.cname : p->view->setup.cname) ||
        rf_rtcp_write_bye(&w, ssrcs, count))
        return;
    rf_egress_rtcp(x, p, buffer, w.at);
}
