/* Stage 4: parse a publisher's RTP packet, find its track, give it the stream's number and
 * clock, and write it behind the log's head.
 *
 * Routing (RFC 9143 section 9.2): known SSRC, MID extension, signalled SSRC, unique payload type.
 * A simulcast layer's SSRC is learnt by its RID, its RTX by the repaired RID (RFC 8852).
 * RTX (RFC 4588) is undone first. A publication opens its map at the first packet, video at the
 * first key frame, and continues the stream's numbers and clock from where they stood. */
#include "base/error.h"
#include "base/seq.h"
#include "feedback/feedback.h"
#include "model/clock.h"
#include "path/path.h"
#include "wire/h264.h"
#include "wire/hdrext.h"
#include "wire/keyframe.h"

enum {
    JUMP = 3000,
    MAX_ITEMS = 12,
    FIRST_STREAM_SEQ = 1 << 16,
    FIRST_EXT = 1 << 16,
    KEY_REACH = 16,
    SPARES = 8 /* an encoder refers at least to every eighth picture, or to key frames alone */
};
static const uint64_t LONGEST_WAIT_NS = 5000000000u; /* to be read; older stamps are not believed */

typedef struct arrival {
    rf_rtp rtp;
    rf_ext_item items[MAX_ITEMS];
    int item_count;
    int kind;
    int log; /* of the stream, and source of the publisher */
    int is_rtx;
    const rf_pub_format *format;
    uint64_t ext;
} arrival;

/* ---- routing ---- */

static const rf_pub_format *format_of(const rf_pub_track *t, uint8_t pt, int rtx) {
    for (int i = 0; i < t->format_count; i++)
        if ((rtx ? t->format[i].rtx_pt : t->format[i].pt) == pt)
            return &t->format[i];
    return NULL;
}

static int log_by_ssrc(const rf_pub *pub, uint32_t ssrc) {
    for (int i = 0; i < RF_LOGS; i++)
        if (pub->setup.track[rf_kind_of_log(i)].present && ssrc &&
            (pub->source[i].ssrc == ssrc || pub->source[i].rtx_ssrc == ssrc))
            return i;
    return -1;
}

/* The layer that a RID or a repaired RID names. */
static int log_by_rid(const rf_pub *pub, const arrival *a) {
    const rf_pub_track *t = &pub->setup.track[RF_VIDEO];
    for (int i = 0; i < a->item_count; i++) {
        const rf_ext_item *e = &a->items[i];
        if (e->kind != RF_EXT_RID && e->kind != RF_EXT_RRID)
            continue;
        for (int n = 0; n < t->layers && n < RF_LAYERS; n++)
            if (t->rid[n].len == e->len && memcmp(t->rid[n].id, e->data, e->len) == 0)
                return RF_VIDEO + n;
    }
    return -1;
}

static int kind_by_mid(const rf_pub *pub, const arrival *a) {
    for (int i = 0; i < a->item_count; i++) {
        if (a->items[i].kind != RF_EXT_MID)
            continue;
        for (int k = 0; k < RF_KINDS; k++) {
            const rf_pub_track *t = &pub->setup.track[k];
            if (t->present && t->mid_len == a->items[i].len &&
                memcmp(t->mid, a->items[i].data, t->mid_len) == 0)
                return k;
        }
    }
    return -1;
}

static int kind_by_signal(const rf_pub *pub, uint32_t ssrc) {
    for (int k = 0; k < RF_KINDS; k++) {
        const rf_pub_track *t = &pub->setup.track[k];
        for (int i = 0; t->present && i < t->ssrc_count; i++)
            if (t->ssrc[i] == ssrc || (t->rtx_ssrc[i] && t->rtx_ssrc[i] == ssrc))
                return k;
    }
    return -1;
}

static int kind_by_pt(const rf_pub *pub, uint8_t pt) {
    int found = -1;
    for (int k = 0; k < RF_KINDS; k++) {
        const rf_pub_track *t = &pub->setup.track[k];
        if (t->present && (format_of(t, pt, 0) || (pt != RF_NO_PT && format_of(t, pt, 1)))) {
            if (found >= 0)
                return -1;
            found = k;
        }
    }
    return found;
}

static int route(const rf_pub *pub, arrival *a) {
    a->log = log_by_ssrc(pub, a->rtp.ssrc);
    a->kind = a->log < 0 ? kind_by_mid(pub, a) : rf_kind_of_log(a->log);
    if (a->kind < 0)
        a->kind = kind_by_signal(pub, a->rtp.ssrc);
    if (a->kind < 0)
        a->kind = kind_by_pt(pub, a->rtp.pt);
    if (a->kind < 0)
        return RF_DROP_unknown_ssrc;
    const rf_pub_track *t = &pub->setup.track[a->kind];
    if (a->log < 0)
        a->log = a->kind == RF_VIDEO && t->layers > 1 ? log_by_rid(pub, a) : a->kind;
    if (a->log < 0)
        return RF_DROP_unknown_ssrc; /* which layer it is will be told by another packet */
    a->format = format_of(t, a->rtp.pt, 0);
    if (!a->format) {
        a->format = format_of(t, a->rtp.pt, 1);
        a->is_rtx = a->format != NULL;
    }
    return -1;
}

/* Puts the original packet in the RTX packet's place; 0, or the drop. */
static int undo_rtx(rf_source *s, arrival *a) {
    if (!s->rtx_ssrc)
        s->rtx_ssrc = a->rtp.ssrc;
    if (a->rtp.payload_len < 2)
        return RF_DROP_rtx_malformed; /* padding on the RTX SSRC is how browsers probe */
    a->rtp.seq = (uint16_t)(a->rtp.payload[0] << 8 | a->rtp.payload[1]);
    a->rtp.payload += 2;
    a->rtp.payload_len -= 2;
    a->rtp.pt = a->format->pt;
    a->rtp.ssrc = s->ssrc;
    return -1;
}

/* ---- sequence and clock ---- */

static void jitter(rf_source *s, const rf_rtp *rtp, uint64_t arrival_ns, uint32_t rate) {
    uint32_t transit = rf_ticks(arrival_ns, rate) - rtp->ts;
    if (s->received > 1) {
        int32_t d = (int32_t)(transit - s->transit);
        s->jitter += ((d < 0 ? -(double)d : (double)d) - s->jitter) / 16.0;
    }
    s->transit = transit;
    rf_clock_transit(s, transit);
}

static void source_reset(rf_source *s, uint32_t ssrc, uint16_t seq) {
    uint32_t rtx = s->rtx_ssrc;
    uint64_t repair = s->repair_ns, spread = s->repair_spread_ns;
    rf_parameters parameters = s->parameters;
    memset(s, 0, sizeof *s);
    s->parameters = parameters;
    rf_parameters_restart(&s->parameters);
    s->ssrc = ssrc;
    s->rtx_ssrc = rtx;
    s->repair_ns = repair;
    s->repair_spread_ns = spread;
    s->first_ext = s->highest_ext = FIRST_EXT + (uint64_t)seq;
}

/* Which extended number is it? Handles the first packet, a new SSRC, and big jumps (RFC 3550
 * A.1: two in sequence make a restart). -1 and a->ext, or the drop. */
static int number(rf_ctx *x, rf_source *s, arrival *a) {
    if (s->ssrc != a->rtp.ssrc) {
        if (!a->format)
            return RF_DROP_unknown_payload_type; /* takes nobody's place */
        if (s->ssrc && x->now_ns - s->last_media_ns < 200000000u)
            return RF_DROP_unknown_ssrc; /* the present source is alive */
        source_reset(s, a->rtp.ssrc, a->rtp.seq);
        a->ext = s->highest_ext;
        return -1;
    }
    a->ext = rf_seq_unwrap(s->highest_ext, a->rtp.seq);
    int64_t jump = (int64_t)(a->ext - s->highest_ext);
    if (jump > JUMP || jump < -JUMP) {
        if (a->is_rtx)
            return RF_DROP_too_old;
        if (s->probation_ext != a->ext) {
            s->probation_ext = a->ext + 1;
            return RF_DROP_probation;
        }
        source_reset(s, a->rtp.ssrc, a->rtp.seq);
        a->ext = s->highest_ext;
    }
    s->probation_ext = 0;
    return -1;
}

/* Where the stream's clock stands now: on the track's old line; a layer's first time, on that of
 * the layers that are there. *least: what has been used up. 0: nothing to go by. */
static int clock_at(rf_ctx *x, const rf_stream *stream, const rf_track *t, uint32_t rate,
                    uint32_t *at, uint32_t *least) {
    if (t->has_packets) {
        uint64_t line = atomic_load_explicit(&t->clock_line, memory_order_relaxed);
        *at = line & RF_CLOCK_VALID ? rf_clock_ts(line, x->now_ns, rate)
                                    : t->highest_ts + rf_ticks(x->now_ns - t->highest_ns, rate);
        *least = t->highest_ts + rate / 50;
        return 1;
    }
    for (int i = RF_VIDEO; t->kind == RF_VIDEO && i < rf_stream_logs(stream); i++) {
        const rf_track *other = &stream->track[i];
        if (!other->has_packets)
            continue;
        *at = *least = other->highest_ts + rf_ticks(x->now_ns - other->highest_ns, rate);
        return 1;
    }
    return 0;
}

/* Opens the map at this packet: next free number, clock on the stream's old line. What is missing
 * just before it may be the beginning of the same key frame, so it gets numbers too. What overtook
 * it was held back, and counts as missing. */
static void open_map(rf_ctx *x, const rf_stream *stream, rf_source *s, const arrival *a,
                     uint32_t rate) {
    rf_track *t = (rf_track *)&stream->track[a->log];
    uint32_t at, least;
    if (!t->has_packets)
        t->highest_seq = FIRST_STREAM_SEQ - 1;
    uint64_t first = a->ext - rf_gaps_before(s, a->ext, KEY_REACH);
    rf_seqmap_start(&s->map, first, t->highest_seq + 1);
    rf_gaps_keep(s, first, a->ext);
    s->highest_ext = a->ext;
    s->ts_delta = 0;
    if (clock_at(x, stream, t, rate, &at, &least))
        s->ts_delta = ((int32_t)(at - least) < 0 ? least : at) - a->rtp.ts;
    s->spurt = t->has_packets && a->kind == RF_AUDIO;
    s->started = 1;
    s->held = 0;
}

static int keys_are_seen(uint8_t codec) {
    return codec == RF_CODEC_H264 || codec == RF_CODEC_H265 || codec == RF_CODEC_VP8 ||
           codec == RF_CODEC_VP9 || codec == RF_CODEC_AV1;
}

static int has_parameters(uint8_t codec) {
    return codec == RF_CODEC_H264 || codec == RF_CODEC_H265;
}

/* ---- the log ---- */

/* `content`: bytes of its payload; slot->padding bytes follow. */
static void fill(rf_slot *slot, uint8_t *room, const arrival *a, const uint8_t *data,
                 size_t content) {
    uint32_t at = a->rtp.csrc_count * 4u;
    if (at)
        memcpy(room, data + RF_RTP_HEADER, at);
    slot->csrc_count = a->rtp.csrc_count;
    slot->ext_count = 0;
    for (int i = 0; i < a->item_count && slot->ext_count < RF_SLOT_EXTS; i++) {
        const rf_ext_item *e = &a->items[i];
        if (e->kind == RF_EXT_MID || e->kind == RF_EXT_RID || e->kind == RF_EXT_RRID ||
            e->kind == RF_EXT_TWCC || e->kind == RF_EXT_ABS_SEND_TIME || e->kind == RF_EXT_TOFFSET)
            continue; /* of this leg only */
        slot->ext[slot->ext_count].kind = e->kind;
        slot->ext[slot->ext_count].len = e->len;
        slot->ext[slot->ext_count].at = (uint16_t)at;
        memcpy(room + at, e->data, e->len);
        at += e->len;
        slot->ext_count++;
    }
    slot->payload_at = (uint16_t)at;
    slot->payload_len = (uint16_t)(content + slot->padding);
    if (content)
        memcpy(room + at, a->rtp.payload, content);
    if (slot->padding) {
        memset(room + at + content, 0, slot->padding - 1u);
        room[at + slot->payload_len - 1u] = slot->padding;
    }
}

static void wake_readers(rf_ctx *x, rf_stream *s) {
    uint64_t others =
        atomic_load_explicit(&s->subscribers, memory_order_seq_cst) & ~(1ull << x->worker);
    for (int w = 0; others; w++, others >>= 1)
        if (others & 1)
            rf_waker_ring(&x->shared->mailbox[w].waker);
}

/* `filler`: padding alone, for its number. `before`: so many numbers ahead of its own, for what is
 * put in front of it. */
static void to_log(rf_ctx *x, rf_peer *p, rf_source *s, const arrival *a, const uint8_t *data,
                   unsigned flags, int filler, int before) {
    rf_track *t = &p->stream->track[a->log];
    uint64_t stream_seq;
    if (!rf_seqmap_find(&s->map, a->ext, &stream_seq)) {
        rf_drop_peer(x, p, RF_DROP_too_old);
        return;
    }
    stream_seq -= (uint64_t)before;
    uint64_t head = atomic_load_explicit(&t->head, memory_order_relaxed);
    /* Half a log: so, whatever the order of arrival, a number that is still accepted is still found
     * if it was here before, and never gets a second content. */
    uint64_t low = head > t->mask ? head - t->mask : 0;
    if (t->has_packets && stream_seq + t->mask / 2 < t->highest_seq) {
        rf_drop_peer(x, p, RF_DROP_too_old);
        return;
    }
    if (rf_track_find(t, stream_seq, low, head) != RF_NO_PIN) {
        rf_count(&t->duplicates, 1);
        rf_drop_peer(x, p, RF_DROP_duplicate);
        return;
    }
    rf_slot *slot = rf_track_reserve(t, x->shared->workers, x->worker);
    if (!slot) {
        rf_drop_peer(x, p, RF_DROP_log_pinned);
        return;
    }
    slot->stream_seq = stream_seq;
    /* Never after the turn's time, which ages are taken from. */
    slot->arrival_ns = x->now_ns - x->arrival_ns < LONGEST_WAIT_NS ? x->arrival_ns : x->now_ns;
    slot->ts = a->rtp.ts + s->ts_delta;
    slot->marker = a->rtp.marker | s->spurt; /* RFC 3551 section 4.1 */
    s->spurt = 0;
    slot->format = a->format ? a->format->format : s->format;
    slot->flags = (uint8_t)flags;
    size_t content = filler ? 0 : a->rtp.payload_len;
    slot->padding = filler                ? 1
                    : a->kind == RF_VIDEO ? rf_even_padding(&s->even, a->rtp.ts, content)
                                          : 0;
    fill(slot, rf_track_room(t, head), a, data, content);
    if (a->kind == RF_AUDIO && p->stream->derived && a->format)
        rf_derived_write(p->stream->derived, t, slot, a->format->codec);
    rf_track_commit(t, slot, (flags & RF_PAYLOAD_KEY) != 0);
    if (a->format) {
        s->format = slot->format;
        atomic_store_explicit(&t->format, slot->format, memory_order_relaxed);
        atomic_store_explicit(&t->codec, a->format->codec, memory_order_relaxed);
    }
    wake_readers(x, p->stream);
}

static void liveness(rf_ctx *x, rf_peer *p, rf_source *s, const arrival *a) {
    rf_pub *pub = p->pub;
    rf_track *t = &p->stream->track[a->log];
    s->last_media_ns = pub->last_media_ns = x->now_ns;
    if (!pub->first_media_ns) {
        pub->first_media_ns = x->now_ns;
        rf_set(&p->first_media_ns, x->now_ns);
        pub->next_report_ns = x->now_ns; /* REMB with the first RTP */
    }
    if (!s->first_media_ns || pub->silent) {
        s->first_media_ns = s->first_media_ns ? s->first_media_ns : x->now_ns;
        pub->silent = 0;
        rf_notify(x, RF_EVENT_PUBLISHER_ACTIVE, a->kind, p, p->stream, NULL, 0, 0);
    }
    atomic_store_explicit(&t->ssrc, s->ssrc, memory_order_relaxed);
    atomic_store_explicit(&t->active, 1, memory_order_relaxed);
}

/* A wish for a key frame has come true; unless a publication's first packet, with the parameter
 * sets, was lost: then nobody can decode this one, and another is asked for (once). */
static void key_came(rf_ctx *x, rf_peer *p, rf_source *s, const arrival *a, unsigned flags) {
    int seen = s->params_seen || flags & RF_PAYLOAD_PARAMS || s->parameters.served;
    rf_track *t = &p->stream->track[a->log];
    uint16_t width, height;
    s->params_seen = 1;
    rf_keyframe_came(x, s, t);
    if (!seen && has_parameters(a->format->codec))
        rf_keyframe_want(x, p->stream, a->log);
    else
        rf_keyframe_have(p->stream, a->log);
    if (rf_payload_size((enum rf_codec)a->format->codec, a->rtp.payload, a->rtp.payload_len, &width,
                        &height))
        atomic_store_explicit(&t->size, (uint32_t)width << 16 | height, memory_order_relaxed);
}

/* Remembers a payload's parameter sets. 1: their key frame overtook them, and has others before it:
 * nobody can decode it. */
static int note(rf_ctx *x, rf_peer *p, rf_source *s, const arrival *a) {
    uint8_t codec = a->format->codec;
    unsigned told = rf_parameters_note(&s->parameters, codec, a->ext, a->rtp.ts, a->rtp.payload,
                                       a->rtp.payload_len);
    if (told & RF_PARAMETERS_SPS && codec == RF_CODEC_H264)
        rf_notify(x, RF_EVENT_PARAMETERS, a->kind, p, p->stream, s->parameters.sps.bytes,
                  s->parameters.sps.len, 0);
    return (told & RF_PARAMETERS_LATE) != 0;
}

/* Lays parameter sets before a key frame that lacks them, each in a packet of its own. Returns the
 * flags that count: a key frame whose first packet came late and that nothing can be put in front
 * of is nobody's beginning. */
static unsigned parameters(rf_ctx *x, rf_peer *p, rf_source *s, const arrival *a, unsigned flags,
                           int newest) {
    rf_parameters *c = &s->parameters;
    const rf_parameter_set *missing[RF_SETS];
    if (!(flags & RF_PAYLOAD_IDR) || flags & RF_PAYLOAD_PARAMS)
        return flags;
    if (!newest)
        return c->bare && !(c->ts == a->rtp.ts && (c->served || c->had))
                   ? flags & ~(unsigned)RF_PAYLOAD_KEY
                   : flags;
    int gap = rf_gaps_before(s, a->ext, 1) > 0; /* they may be what is missing */
    if (gap && c->heard && !c->bare)
        return flags;
    int count = rf_parameters_missing(c, a->format->codec, a->ext, a->rtp.ts, missing);
    rf_track *t = &p->stream->track[a->log];
    if (count < 0 && !gap)
        rf_count(&t->parameters_missing, 1);
    if (count <= 0)
        return flags;
    c->bare = c->served = 1;
    rf_count(&t->parameters_added, 1);
    rf_seqmap_insert(&s->map, a->ext, count);
    arrival own = *a;
    own.item_count = 0;
    own.rtp.marker = own.rtp.csrc_count = 0;
    for (int i = 0; i < count; i++) {
        own.rtp.payload = missing[i]->bytes;
        own.rtp.payload_len = missing[i]->len;
        unsigned own_flags = rf_payload_inspect((enum rf_codec)a->format->codec, own.rtp.payload,
                                                own.rtp.payload_len);
        to_log(x, p, s, &own, own.rtp.payload, own_flags, 0, count - i);
    }
    return flags;
}

/* H264: nal_ref_idc 0 tells something only where pictures between key frames have others, too. An
 * encoder that writes it on each of them would have all that others refer to left out. */
static unsigned believe(rf_source *s, const arrival *a, unsigned flags) {
    const uint8_t *p = a->rtp.payload;
    unsigned type = p[0] & 0x1f;
    if (type == RF_NAL_FU_A && a->rtp.payload_len > 1)
        type = p[1] & 0x1f;
    if (type == RF_NAL_SLICE && p[0] & 0x60) {
        s->spares = SPARES;
    } else if (flags & RF_PAYLOAD_DISCARDABLE) {
        if (s->spares && a->rtp.ts != s->spare_ts)
            s->spares--;
        s->spare_ts = a->rtp.ts;
        if (!s->spares)
            flags &= ~(unsigned)RF_PAYLOAD_DISCARDABLE;
    }
    return flags;
}

static void count_discardable(rf_ctx *x, rf_track *t, unsigned flags) {
    int is = (flags & RF_PAYLOAD_DISCARDABLE) != 0;
    rf_count(&t->inspected, 1);
    rf_count(&t->discardable, (uint64_t)is);
    if (t->kind == RF_VIDEO) {
        rf_count(&x->video, 1);
        rf_count(&x->discardable, (uint64_t)is);
    }
}

/* A numbered packet of a known format: hold, leave out, or append. */
static void place(rf_ctx *x, rf_peer *p, rf_source *s, const arrival *a, const uint8_t *data) {
    const rf_pub_track *setup = &p->pub->setup.track[a->kind];
    rf_track *t = &p->stream->track[a->log];
    int newest = a->ext > s->highest_ext, late = 0;
    unsigned flags = 0;
    if (a->format && a->rtp.payload_len) {
        flags =
            rf_payload_inspect((enum rf_codec)a->format->codec, a->rtp.payload, a->rtp.payload_len);
        if (a->format->codec == RF_CODEC_H264)
            flags = believe(s, a, flags);
        if (has_parameters(a->format->codec))
            late = note(x, p, s, a);
        if (flags & RF_PAYLOAD_B)
            rf_count(&t->b_frames, 1);
        count_discardable(x, t, flags);
    }
    if (a->ext > s->highest_ext)
        s->highest_ext = a->ext;
    if (!a->format || a->rtp.payload_len == 0) { /* no content for viewers */
        if (s->started && newest)
            rf_seqmap_leave_out(&s->map, a->ext);
        else if (s->started)
            to_log(x, p, s, a, data, 0, 1, 0); /* its number is given away already: fill it */
        rf_drop_peer(x, p, a->format ? RF_DROP_padding_only : RF_DROP_unknown_payload_type);
        return;
    }
    if (!s->started) {
        if (a->kind == RF_VIDEO && keys_are_seen(a->format->codec) && !(flags & RF_PAYLOAD_KEY)) {
            s->held = 1;
            rf_keyframe_want(x, p->stream, a->log);
            return;
        }
        open_map(x, p->stream, s, a, setup->clock_rate);
        newest = 1;
    }
    if (has_parameters(a->format->codec))
        flags = parameters(x, p, s, a, flags, newest);
    to_log(x, p, s, a, data, flags, 0, 0);
    if (flags & RF_PAYLOAD_KEY)
        key_came(x, p, s, a, flags);
    if (late)
        rf_keyframe_want(x, p->stream, a->log);
}

/* Whatever becomes of it (RTX, padding, too old): it came, and that is told. */
static void transport_wide(const rf_ctx *x, rf_pub *pub, const arrival *a) {
    for (int i = 0; i < a->item_count; i++) {
        const rf_ext_item *e = &a->items[i];
        if (e->kind != RF_EXT_TWCC || e->len != 2)
            continue;
        pub->arrivals.ssrc = a->rtp.ssrc;
        rf_twcc_note(&pub->arrivals, (uint16_t)(e->data[0] << 8 | e->data[1]), x->arrival_ns);
        return;
    }
}

void rf_append(rf_ctx *x, rf_peer *p, const uint8_t *data, uint32_t len) {
    arrival a;
    memset(&a, 0, sizeof a);
    if (!p->pub || rf_rtp_parse(data, len, &a.rtp) != RF_OK) {
        rf_drop_peer(x, p, RF_DROP_rtp_malformed);
        return;
    }
    if (a.rtp.ext)
        a.item_count =
            rf_ext_parse(a.rtp.ext_profile, a.rtp.ext, a.rtp.ext_len,
                         (const rf_ext_map *)p->pub->setup.ext_kind_of, a.items, MAX_ITEMS);
    transport_wide(x, p->pub, &a);
    int drop = route(p->pub, &a);
    if (drop >= 0) {
        rf_drop_peer(x, p, (enum rf_drop)drop);
        return;
    }
    rf_source *s = &p->pub->source[a.log];
    if (a.is_rtx)
        drop = s->ssrc ? undo_rtx(s, &a) : RF_DROP_unknown_ssrc;
    if (drop < 0)
        drop = number(x, s, &a);
    if (drop >= 0) {
        rf_drop_peer(x, p, (enum rf_drop)drop);
        return;
    }
    if (!a.is_rtx) {
        s->received++;
        jitter(s, &a.rtp, x->arrival_ns, p->pub->setup.track[a.kind].clock_rate);
    }
    liveness(x, p, s, &a);
    if (rf_gaps_note(s, a.ext, x->now_ns))
        rf_keyframe_want(x, p->stream, a.log);
    place(x, p, s, &a, data);
}
