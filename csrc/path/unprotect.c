/* Stage 3: decrypt and authenticate, in the private receive buffer (a forged packet never touches a
 * log). Media that is faster than its keys (the DTLS flight that completes the handshake and the
 * first RTP may arrive together) waits in a small buffer until the keys are installed. */
#include "base/error.h"
#include "feedback/feedback.h"
#include "path/path.h"

static void keep_early(rf_ctx *x, rf_peer *p, enum rf_class class, const uint8_t *data,
                       uint32_t len) {
    rf_early *e = &x->early[x->early_next % RF_EARLY];
    if (p->role != RF_PUBLISHER || (e->peer && e->at_ns + 2000000000u > x->now_ns)) {
        rf_drop_peer(x, p, RF_DROP_no_keys);
        return;
    }
    e->peer = p->handle;
    e->at_ns = x->arrival_ns;
    e->len = len;
    e->class = (uint8_t) class;
    memcpy(e->data, data, len);
    x->early_next++;
}

static void heard(rf_ctx *x, rf_peer *p, uint32_t len) {
    p->last_heard_ns = x->now_ns;
    rf_set(&p->heard_ns, x->now_ns);
    rf_count(&p->received, 1);
    rf_count(&p->received_bytes, len);
}

void rf_media_in(rf_ctx *x, rf_handle peer, enum rf_class class, uint8_t *data, uint32_t len) {
    rf_peer *p = rf_peer_of(x, peer);
    if (!p || p->closing) {
        rf_drop(x, RF_DROP_stale_handle);
        return;
    }
    if (class == RF_CLASS_RTP && p->role == RF_VIEWER) {
        rf_drop_peer(x, p, RF_DROP_rtp_from_viewer);
        return;
    }
    if (!p->has_keys) {
        keep_early(x, p, class, data, len);
        return;
    }
    uint32_t cipher_len = len;
    int rc = class == RF_CLASS_RTP ? rf_srtp_unprotect(&x->srtp, &p->key, data, &len)
                                   : rf_srtp_unprotect_rtcp(&x->srtp, &p->key, data, &len);
    if (rc != RF_OK) {
        rf_drop_peer(x, p, rc == RF_EAGAIN ? RF_DROP_replayed : RF_DROP_auth_failed);
        return;
    }
    heard(x, p, cipher_len);
    if (class == RF_CLASS_RTP)
        rf_append(x, p, data, len);
    else
        rf_rtcp_in(x, p, data, len);
}

void rf_early_replay(rf_ctx *x, const rf_peer *p) {
    for (uint32_t i = 0; i < RF_EARLY; i++) {
        rf_early *e = &x->early[(x->early_next + i) % RF_EARLY]; /* oldest first */
        if (e->peer != p->handle)
            continue;
        e->peer = 0;
        x->arrival_ns = e->at_ns;
        rf_media_in(x, p->handle, (enum rf_class)e->class, e->data, e->len);
    }
}
