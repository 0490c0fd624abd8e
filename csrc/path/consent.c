/* Checks on installed tuples are answered here, without Python (see docs/adr): the peer's owner
 * holds the hashed password of each ufrag, verifies the request and replies on the path that it
 * came by. Whatever is not plain (another path nominated, another role, an attribute that must be
 * understood, a wrong password) goes up to the agent as before. */
#include "base/error.h"
#include "path/path.h"
#include "wire/stun_check.h"

/* Chromium asks every 480 ms on each of some dozen pairs while it looks for the best. */
enum { CHECK_RATE = 100, CHECK_BURST = 200 };

int rf_consent(rf_ctx *x, rf_handle peer, const uint8_t *ufrag, size_t len, const rf_datagram *d) {
    rf_peer *p = rf_peer_of(x, peer);
    rf_stun_check check;
    uint8_t reply[RF_STUN_REPLY];
    const rf_credential *c = NULL;
    for (int i = 0; p && i < p->credentials; i++)
        if (p->credential[i].len == len && memcmp(p->credential[i].ufrag, ufrag, len) == 0)
            c = &p->credential[i];
    if (!c || rf_stun_check_read(d->data, d->len, &check) != RF_OK ||
        (check.use_candidate && !rf_path_equal(&d->path, &p->selected)) ||
        !rf_stun_check_verify(d->data, &check, &c->key))
        return 0;
    if (!rf_bucket_take(&p->checks, CHECK_RATE, CHECK_BURST, 1, x->now_ns)) {
        rf_drop_peer(x, p, RF_DROP_check_rate);
        return 1;
    }
    p->last_heard_ns = x->now_ns;
    rf_set(&p->heard_ns, x->now_ns);
    size_t n = rf_stun_write_success(d->data, &d->path, &c->key, reply);
    if (rf_send_now(x, &d->path, reply, n) == RF_SENT_AGAIN)
        rf_drop_peer(x, p, RF_DROP_send_again); /* a lost reply: the peer asks again */
    rf_count(&x->checks, 1);
    return 1;
}
