/* A receiver asks for its round trip (RFC 3611): it sends its time (RRTR, section 4.4) and gets it
 * back with how long it lay here (DLRR, section 4.5). Without it a browser that only receives takes
 * its round trip for 100 ms, and repeats a lost NACK no sooner.
 *
 * Each time is answered once at most, the newest alone, and a peer every half second at most: what
 * came sooner waits, which its answer tells. 80 bytes for each answer, to authenticated peers. */
#include "base/error.h"
#include "feedback/feedback.h"
#include "path/path.h"

static const uint64_t SECOND = 1000000000u;

static rf_rrtrs *rrtrs_of(rf_peer *p) {
    return p->role == RF_VIEWER ? &p->view->rrtrs : &p->pub->rrtrs;
}

void rf_xr_note(rf_ctx *x, rf_peer *p, const rf_rtcp_item *item) {
    rf_rrtrs *r = rrtrs_of(p);
    uint32_t ssrc;
    uint64_t ntp;
    if (rf_rtcp_rrtr(item, &ssrc, &ntp) != RF_OK)
        return;
    int place = 0; /* its own, else the oldest one's */
    for (int i = 1; i < RF_RRTRS; i++)
        if (r->from[place].ssrc != ssrc &&
            (r->from[i].ssrc == ssrc || r->from[i].at_ns < r->from[place].at_ns))
            place = i;
    r->from[place].ssrc = ssrc;
    r->from[place].mid = (uint32_t)(ntp >> 16);
    r->from[place].at_ns = x->now_ns;
}

static const char *names(const rf_peer *p, uint32_t *self) {
    if (p->role == RF_PUBLISHER) {
        *self = p->pub->setup.local_ssrc;
        return p->pub->setup.cname;
    }
    const rf_view_track *track = p->view->setup.track;
    *self = track[track[RF_VIDEO].present ? RF_VIDEO : RF_AUDIO].ssrc;
    return p->view->setup.cname;
}

void rf_xr_answer(rf_ctx *x, rf_peer *p) {
    rf_rrtrs *r = rrtrs_of(p);
    rf_dlrr told[RF_RRTRS];
    int count = 0;
    if (r->told_ns && x->now_ns - r->told_ns < SECOND / 2)
        return;
    for (int i = 0; i < RF_RRTRS; i++) {
        if (!r->from[i].at_ns)
            continue;
        uint64_t lay = x->now_ns - r->from[i].at_ns;
        told[count++] =
            (rf_dlrr){r->from[i].ssrc, r->from[i].mid, (uint32_t)((lay << 16) / SECOND)};
        r->from[i].at_ns = 0;
    }
    if (!count)
        return;
    r->told_ns = x->now_ns;
    uint8_t buffer[512 + RF_SRTP_TRAILER];
    rf_writer w = {buffer, 0, 512};
    uint32_t self;
    const char *cname = names(p, &self);
    if (rf_rtcp_write_rr(&w, self, NULL, 0) == RF_OK &&
        rf_rtcp_write_sdes(&w, &self, 1, cname) == RF_OK &&
        rf_rtcp_write_dlrr(&w, self, told, count) == RF_OK)
        rf_egress_rtcp(x, p, buffer, w.at);
}
