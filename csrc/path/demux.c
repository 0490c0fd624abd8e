/* Stage 2: whose datagram is it, and of which protocol (RFC 7983)?
 *
 * STUN is answered by its peer's owner when it is a plain check on an installed tuple, and goes up
 * when its USERNAME names an ufrag of ours otherwise; DTLS goes up if it comes from a tuple that
 * STUN has verified; media goes to the peer's owner, through its mailbox when that is another
 * worker. An unauthenticated datagram changes nothing here but counters and token buckets. */
#include "base/error.h"
#include "path/path.h"
#include "wire/stun.h"

static void mail_out(rf_ctx *x, const rf_path_entry *to, enum rf_class class,
                     const rf_datagram *d) {
    rf_mailbox *box = &x->shared->mailbox[to->owner];
    uint64_t ticket;
    rf_mail *mail = rf_queue_reserve(&box->queue, &ticket);
    if (!mail) {
        rf_drop(x, RF_DROP_mailbox_full);
        return;
    }
    mail->peer = to->peer;
    mail->path = d->path;
    mail->len = d->len;
    mail->at_ns = d->at_ns;
    mail->class = (uint8_t) class;
    memcpy(mail->data, d->data, d->len);
    rf_queue_publish(&box->queue, ticket);
    rf_waker_ring(&box->waker);
    rf_count(&x->mailboxed, 1);
}

static void stun(rf_ctx *x, const rf_datagram *d) {
    const uint8_t *ufrag = NULL;
    size_t len = 0;
    if (rf_stun_username(d->data, d->len, &ufrag, &len) != RF_OK) {
        rf_drop(x, RF_DROP_stun_malformed);
        return;
    }
    rf_handle peer = rf_ufrags_find(&x->ufrags, ufrag, len);
    if (!peer) {
        rf_drop(x, RF_DROP_stun_unknown_ufrag);
        return;
    }
    rf_path_entry *from = rf_paths_find(&x->paths, &d->path);
    if (from && from->peer == peer) {
        if (from->owner != x->worker) {
            mail_out(x, from, RF_CLASS_STUN, d);
            return;
        }
        if (rf_consent(x, peer, ufrag, len, d))
            return;
    }
    rf_punt_up(x, RF_EVENT_STUN, peer, from, d);
}

void rf_demux(rf_ctx *x, rf_datagram *d) {
    x->arrival_ns = d->at_ns ? d->at_ns : x->now_ns;
    if (d->len > RF_MAX_DATAGRAM) {
        rf_drop(x, RF_DROP_too_long);
        return;
    }
    enum rf_class class = rf_classify(d->data, d->len);
    if (class == RF_CLASS_UNKNOWN || class == RF_CLASS_SHORT) {
        rf_drop(x, class == RF_CLASS_SHORT ? RF_DROP_too_short : RF_DROP_unclassified);
        return;
    }
    if (class == RF_CLASS_STUN) {
        stun(x, d);
        return;
    }
    rf_path_entry *from = rf_paths_find(&x->paths, &d->path);
    if (!from) {
        rf_drop(x, class == RF_CLASS_DTLS ? RF_DROP_dtls_unknown_tuple : RF_DROP_unknown_tuple);
    } else if (class == RF_CLASS_DTLS) {
        rf_punt_up(x, RF_EVENT_DTLS, from->peer, from, d);
    } else if (from->owner != x->worker) {
        mail_out(x, from, class, d);
    } else {
        rf_media_in(x, from->peer, class, d->data, d->len);
    }
}

void rf_mail_in(rf_ctx *x, size_t max) {
    rf_queue *q = &x->shared->mailbox[x->worker].queue;
    static _Thread_local uint8_t buffer[RF_MAX_DATAGRAM + RF_SRTP_TRAILER];
    for (size_t i = 0; i < max; i++) {
        uint64_t ticket;
        rf_mail *mail = rf_queue_peek(q, &ticket);
        if (!mail)
            return;
        memcpy(buffer, mail->data, mail->len);
        rf_handle peer = mail->peer;
        uint8_t kind = mail->class;
        rf_datagram d = {mail->path, buffer, mail->len, mail->at_ns};
        x->arrival_ns = d.at_ns ? d.at_ns : x->now_ns;
        rf_queue_release(q, ticket);
        if (kind == RF_MAIL_RAW) {
            rf_count(&x->received, 1);
            rf_count(&x->received_bytes, d.len);
            rf_demux(x, &d);
        } else if (kind == RF_CLASS_STUN) {
            stun(x, &d);
        } else {
            rf_media_in(x, peer, (enum rf_class)kind, d.data, d.len);
        }
    }
}
