/* Stage 7: the header of a packet on a viewer's leg (RFC 3550 section 5.1, RFC 8285, RFC 4588).
 *
 * A pure function of the slot and the segment: nothing here may depend on the time of sending, or a
 * resend on the same SSRC would put two contents under one nonce. The first packets of a viewer's
 * first segment carry MID (RFC 9143) and, where wanted, playout-delay 0/0 for a quick start; those
 * of segments that were made for it (feedback/playout.c), another delay; where the delay is fixed,
 * that one. */
#include "base/cursor.h"
#include "path/path.h"
#include "wire/hdrext.h"

/* Was it negotiated on this leg, in a form that this leg may carry? Without extmap-allow-mixed
 * every packet has the one-byte form (RFC 8285 section 4.1.2): what does not fit it is left out. */
static int carries(const rf_subscription *s, uint8_t kind, uint8_t len) {
    uint8_t id = s->ext_id_of[kind];
    return id && (s->ext_mixed || (id <= 14 && len >= 1 && len <= 16));
}

/* 12 bits of the least and 12 of the most, in 10 ms. */
static void playout_delay(const rf_subscription *s, const rf_segment *segment, uint8_t out[3]) {
    unsigned least = s->playout_fixed ? s->playout_min : segment->delay & 0xFFFu;
    unsigned most = s->playout_fixed ? s->playout_max : segment->delay & RF_DELAY_FREE ? 0xFFF : 0;
    out[0] = (uint8_t)(least >> 4);
    out[1] = (uint8_t)(least << 4 | most >> 8);
    out[2] = (uint8_t)most;
}

static size_t extensions(const rf_peer *p, const rf_track *t, const rf_slot *slot,
                         const uint8_t *room, const rf_segment *segment, uint8_t *dst) {
    const rf_view *v = p->view;
    const rf_view_track *setup = &v->setup.track[t->kind];
    rf_ext_item items[RF_SLOT_EXTS + 2];
    int count = 0;
    int greeting = segment->greets && slot->stream_seq - segment->first_stream < RF_GREETING;
    int delay_told = 0;
    uint8_t delay[3];
    if (!greeting && !slot->ext_count)
        return 0;
    if (greeting && setup->mid_len && v->setup.ext_id_of[RF_EXT_MID]) {
        items[count].kind = RF_EXT_MID;
        items[count].len = setup->mid_len;
        items[count++].data = (const uint8_t *)setup->mid;
    }
    for (int i = 0; i < slot->ext_count; i++) {
        if (!carries(&v->setup, slot->ext[i].kind, slot->ext[i].len))
            continue;
        delay_told |= slot->ext[i].kind == RF_EXT_PLAYOUT_DELAY;
        items[count].kind = slot->ext[i].kind;
        items[count].len = slot->ext[i].len;
        items[count++].data = room + slot->ext[i].at;
    }
    if (greeting && t->kind == RF_VIDEO && !delay_told && v->setup.start_playout_delay &&
        v->setup.ext_id_of[RF_EXT_PLAYOUT_DELAY]) {
        playout_delay(&v->setup, segment, delay);
        items[count].kind = RF_EXT_PLAYOUT_DELAY;
        items[count].len = sizeof delay;
        items[count++].data = delay;
    }
    if (!count)
        return 0;
    int n = rf_ext_build(items, count, v->setup.ext_id_of, dst, 160);
    return n > 0 ? (size_t)n : 0;
}

static size_t header(const rf_peer *p, const rf_track *t, uint64_t index, const rf_segment *segment,
                     uint16_t seq, uint8_t pt, uint32_t ssrc, uint8_t *dst) {
    const rf_slot *slot = rf_track_slot(t, index);
    const uint8_t *room = rf_track_room(t, index);
    size_t csrcs = slot->csrc_count * 4u;
    if (csrcs)
        memcpy(dst + RF_RTP_HEADER, room, csrcs);
    size_t ext = extensions(p, t, slot, room, segment, dst + RF_RTP_HEADER + csrcs);
    dst[0] = (uint8_t)(0x80 | (slot->padding ? 0x20 : 0) | (ext ? 0x10 : 0) | slot->csrc_count);
    dst[1] = (uint8_t)(slot->marker << 7 | pt);
    rf_put16(dst + 2, seq);
    rf_put32(dst + 4, slot->ts + segment->ts_offset);
    rf_put32(dst + 8, ssrc);
    return RF_RTP_HEADER + csrcs + ext;
}

rf_head rf_rewrite(const rf_peer *p, const rf_track *t, uint64_t index, const rf_segment *segment,
                   uint64_t out_seq, uint8_t pt, uint8_t *dst) {
    size_t n =
        header(p, t, index, segment, (uint16_t)out_seq, pt, p->view->track[t->kind].ssrc, dst);
    return (rf_head){(uint16_t)n, (uint16_t)n};
}

rf_head rf_rewrite_rtx(const rf_peer *p, const rf_track *t, uint64_t index,
                       const rf_segment *segment, uint64_t out_seq, uint8_t rtx_pt,
                       uint64_t rtx_seq, uint8_t *dst) {
    size_t n = header(p, t, index, segment, (uint16_t)rtx_seq, rtx_pt,
                      p->view->setup.track[t->kind].rtx_ssrc, dst);
    dst[0] &= (uint8_t)~0x20; /* padding is stripped */
    rf_put16(dst + n, (uint16_t)out_seq);
    return (rf_head){(uint16_t)n, (uint16_t)(n + 2)};
}
