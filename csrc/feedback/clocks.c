/* A publisher's clocks: where its tracks stand on ours, and how fast they go.
 *
 * Lip sync: the publisher's own NTP/RTP pairs (RFC 3550 section 6.4.1) give each track's line. The
 * lines of all tracks are renewed together, when each has a new pair, and by one offset between its
 * clock and ours: whatever that offset is worth, and whichever track reports oftener, their
 * distance is the one that the publisher told. Until a new publication has told all, the old lines
 * hold, on which its tracks were begun (path/append.c).
 *
 * A track on the air that has told nothing for 10 s: arrival times stand in, for all tracks and for
 * good. The line then follows the packets that nothing held up, a sixteenth of the way a second, at
 * least one tick, so that clocks which drift apart do not pull the tracks apart. */
#include "feedback/feedback.h"
#include "model/clock.h"
#include "path/path.h"

static const uint64_t SECOND = 1000000000u;
static const uint64_t SILENT_NS =
    10000000000u; /* a track that told nothing for so long is no hindrance */
static const uint64_t WINDOW_NS = 15000000000u;
enum { LEAST_MARKS = 5 };

static void set_line(rf_track *t, uint64_t line) {
    atomic_store_explicit(&t->clock_line, line, memory_order_relaxed);
}

static uint32_t rate_of(const rf_pub *pub, int log) {
    return pub->setup.track[rf_kind_of_log(log)].clock_rate;
}

/* Viewers are to be told of a line that is another publication's, or another source's. */
static void own(rf_stream *stream, rf_source *s) {
    if (!s->has_line)
        atomic_fetch_add_explicit(&stream->line_epoch, 1, memory_order_relaxed);
    s->has_line = 1;
}

/* ---- by sender reports ---- */

static int is_silent(const rf_ctx *x, const rf_source *s) {
    return x->now_ns - s->last_media_ns >= SILENT_NS ||
           (s->last_sr_ns && x->now_ns - s->last_sr_ns >= SILENT_NS);
}

/* 1: every track has a pair that its line does not know. */
static int all_fresh(const rf_ctx *x, const rf_pub *pub) {
    int any = 0;
    for (int i = 0; i < RF_LOGS; i++) {
        const rf_source *s = &pub->source[i];
        if (!s->started)
            continue;
        if (!s->sr_fresh && !is_silent(x, s))
            return 0;
        any |= s->sr_fresh;
    }
    return any;
}

static void renew(const rf_ctx *x, rf_peer *p) {
    rf_pub *pub = p->pub;
    if (pub->arrival_clock || !all_fresh(x, pub))
        return;
    for (int i = 0; i < RF_LOGS; i++) {
        rf_source *s = &pub->source[i];
        if (!s->started || !s->sr_fresh)
            continue;
        s->sr_fresh = 0;
        own(p->stream, s);
        uint64_t at = (uint64_t)((int64_t)s->sr_ntp_ns + pub->ntp_offset_ns);
        set_line(&p->stream->track[i], rf_clock_line(s->sr_rtp + s->ts_delta, at, rate_of(pub, i)));
    }
}

static void note_offset(const rf_ctx *x, rf_pub *pub, uint64_t theirs) {
    int64_t offset = (int64_t)(x->now_ns - theirs);
    int64_t off = offset - pub->ntp_offset_ns;
    if (!pub->has_offset || off > (int64_t)SECOND || off < -(int64_t)SECOND)
        pub->ntp_offset_ns = offset;
    else
        pub->ntp_offset_ns += off / 64;
    pub->has_offset = 1;
}

void rf_clock_sr_in(rf_ctx *x, rf_peer *p, const rf_sender_info *sr) {
    rf_pub *pub = p->pub;
    for (int i = 0; i < RF_LOGS; i++) {
        rf_source *s = &pub->source[i];
        if (!s->ssrc || s->ssrc != sr->ssrc)
            continue;
        s->last_sr_mid = (uint32_t)(sr->ntp >> 16);
        s->last_sr_ns = x->now_ns;
        if (!sr->ntp)
            return; /* the sender has no clock */
        s->sr_ntp_ns = rf_ntp_ns(sr->ntp);
        s->sr_rtp = sr->rtp_ts;
        s->sr_fresh = 1;
        note_offset(x, pub, s->sr_ntp_ns);
        renew(x, p);
        return;
    }
}

/* ---- by arrival ---- */

/* 1 when a track has been on the air for 10 s without a report of its sender. */
static int reports_missing(const rf_ctx *x, const rf_pub *pub) {
    for (int i = 0; i < RF_LOGS; i++) {
        const rf_source *s = &pub->source[i];
        if (s->started && !s->has_line && !s->sr_fresh &&
            x->now_ns - s->first_media_ns >= SILENT_NS)
            return 1;
    }
    return 0;
}

void rf_clock_tick(rf_ctx *x, rf_peer *p) {
    rf_pub *pub = p->pub;
    renew(x, p);
    if (pub->arrival_clock || !reports_missing(x, pub))
        return;
    pub->arrival_clock = 1;
    for (int i = 0; i < RF_LOGS; i++) {
        rf_track *t = &p->stream->track[i];
        if (!pub->source[i].started)
            continue;
        own(p->stream, &pub->source[i]);
        set_line(t, rf_clock_line(t->highest_ts, t->highest_ns, rate_of(pub, i)));
    }
}

/* Towards the second's least transit: a line's constant is a timestamp minus our time. */
static void follow(rf_track *t, const rf_source *s) {
    uint64_t line = atomic_load_explicit(&t->clock_line, memory_order_relaxed);
    uint32_t target = s->ts_delta - (s->drift.base + (uint32_t)s->drift.least);
    int32_t off = (int32_t)(target - (uint32_t)line);
    int32_t step = off / 16 ? off / 16 : (off > 0) - (off < 0);
    if (line & RF_CLOCK_VALID)
        set_line(t, RF_CLOCK_VALID | (uint32_t)((uint32_t)line + (uint32_t)step));
}

/* ---- how fast ---- */

void rf_clock_transit(rf_source *s, uint32_t transit) {
    rf_drift *d = &s->drift;
    if (!d->begun) {
        d->base = transit;
        d->begun = 1;
    }
    int32_t now = (int32_t)(transit - d->base);
    if (!d->has_least || now < d->least)
        d->least = now;
    d->has_least = 1;
}

/* The middle one of the steps from window to window: a way that got longer once, or a few windows
 * in which all packets were held up, do not count. */
static int32_t middle_step(const rf_drift *d) {
    int32_t step[RF_DRIFT_WINDOWS];
    int count = 0;
    for (int i = 1; i < d->marks; i++) {
        int32_t v = d->mark[i] - d->mark[i - 1];
        int at = count++;
        for (; at > 0 && step[at - 1] > v; at--)
            step[at] = step[at - 1];
        step[at] = v;
    }
    return count % 2 ? step[count / 2] : (step[count / 2 - 1] + step[count / 2]) / 2;
}

static void end_window(rf_track *t, rf_drift *d, uint32_t rate) {
    int32_t jump = (int32_t)(rate / 8); /* its timestamps jumped, or its way did */
    int32_t step = d->marks ? d->window - d->mark[d->marks - 1] : 0;
    if (!d->has_window || step > jump || step < -jump)
        d->marks = 0;
    if (d->marks == RF_DRIFT_WINDOWS) {
        memmove(d->mark, d->mark + 1, sizeof d->mark - sizeof *d->mark);
        d->marks--;
    }
    if (d->has_window)
        d->mark[d->marks++] = d->window;
    d->has_window = 0;
    d->next_ns += WINDOW_NS;
    int64_t ppm = 0;
    if (d->marks >= LEAST_MARKS)
        ppm = (int64_t)-middle_step(d) * 1000000 / ((int64_t)rate * (int64_t)(WINDOW_NS / SECOND));
    atomic_store_explicit(&t->drift_ppm, (int32_t)ppm, memory_order_relaxed);
}

void rf_clock_second(rf_ctx *x, rf_peer *p) {
    for (int i = 0; i < RF_LOGS; i++) {
        rf_source *s = &p->pub->source[i];
        rf_drift *d = &s->drift;
        rf_track *t = &p->stream->track[i];
        if (!s->ssrc)
            continue;
        if (d->has_least) {
            if (p->pub->arrival_clock && s->started)
                follow(t, s);
            if (!d->has_window || d->least < d->window)
                d->window = d->least;
            d->has_window = 1;
            d->has_least = 0;
        }
        if (!d->next_ns)
            d->next_ns = x->now_ns + WINDOW_NS;
        else if (x->now_ns >= d->next_ns)
            end_window(t, d, rate_of(p->pub, i));
    }
}
