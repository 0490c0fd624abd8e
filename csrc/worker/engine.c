/* One worker's turn, bounded at every step: drain ingress (four batches of 64) and the mailbox
 * (256), do what timers ask, then fan out for at most a millisecond. A turn takes what has arrived;
 * there is no batching timer, so an idle server forwards at once and a loaded one finds more
 * waiting.
 *
 * Commands are carried out after datagrams were taken and before they are looked at: whatever made
 * a peer send (our answer, our STUN reply) was preceded by its command, so the datagram always
 * finds the ufrag, the tuple and the keys that belong to it. */
#include <stdlib.h>

#include "base/error.h"
#include "base/pool.h"
#include "feedback/feedback.h"
#include "path/path.h"
#include "worker/worker.h"

enum { ROUNDS = 4, MAIL_A_TURN = 256, COMMAND_SLOTS = 8192 };
static const uint64_t FANOUT_NS = 1000000;

static uint32_t power_above(uint64_t n) {
    uint32_t p = 1;
    while (p < n)
        p *= 2;
    return p;
}

int rf_ctx_init(rf_ctx *x, rf_shared *shared, int worker, rf_net *net) {
    const rf_config *c = shared->config;
    memset(x, 0, sizeof *x);
    x->shared = shared;
    x->config = c;
    x->worker = worker;
    x->net = net;
    x->random = 0x9e3779b97f4a7c15u * (uint64_t)(worker + 1);
    int rc = rf_srtp_engine_open(&x->srtp, c->engine, &c->srtp);
    if (rc != RF_OK)
        return rc;
    /* PEER_GONE and STREAM_GONE must never be lost: half the notices are theirs alone. */
    uint64_t notices = 4ull * c->max_peers + 2ull * c->max_streams;
    uint64_t seed = (uint64_t)(uintptr_t)x ^ x->random ^ c->wall_offset_ns;
    x->peers = calloc(c->max_peers, sizeof *x->peers);
    x->own = calloc(c->max_peers, sizeof *x->own);
    x->pubs = calloc(c->max_peers, sizeof *x->pubs);
    x->subs = calloc(c->max_streams, sizeof *x->subs);
    x->early = calloc(RF_EARLY, sizeof *x->early);
    x->slab = rf_large_alloc(RF_SLAB);
    if (!x->peers || !x->own || !x->pubs || !x->subs || !x->early || !x->slab ||
        rf_paths_init(&x->paths, power_above(c->max_peers * (RF_MAX_PATHS * 4ull / 3 + 1)), seed) ||
        rf_ufrags_init(&x->ufrags, power_above(c->max_peers * 4ull), seed * 3) ||
        rf_queue_init(&x->commands, COMMAND_SLOTS, sizeof(rf_command)) ||
        rf_queue_init(&x->punts_known, c->punt_slots, sizeof(rf_punt)) ||
        rf_queue_init(&x->punts_unknown, c->punt_slots, sizeof(rf_punt)) ||
        rf_queue_init(&x->notices, power_above(notices), sizeof(rf_notice)))
        return RF_ENOMEM;
    return RF_OK;
}

void rf_ctx_free(rf_ctx *x) {
    for (uint32_t i = 0; x->subs && i < x->sub_count; i++)
        free(x->subs[i].viewers);
    rf_paths_free(&x->paths);
    rf_ufrags_free(&x->ufrags);
    rf_queue_free(&x->commands);
    rf_queue_free(&x->punts_known);
    rf_queue_free(&x->punts_unknown);
    rf_queue_free(&x->notices);
    free(x->peers);
    free(x->own);
    free(x->pubs);
    free(x->subs);
    free(x->early);
    free(x->slab);
    if (x->srtp.free)
        x->srtp.free(&x->srtp);
    if (x->net)
        x->net->free(x->net);
}

int rf_ctx_turn(rf_ctx *x) {
    rf_count(&x->turns, 1);
    rf_datagram batch[RF_NET_BATCH];
    int n = RF_NET_BATCH;
    for (int round = 0; round < ROUNDS && n == RF_NET_BATCH; round++) {
        n = rf_ingress(x, batch);
        rf_commands(x, COMMAND_SLOTS);
        for (int i = 0; i < n; i++)
            rf_demux(x, &batch[i]);
    }
    int more = n == RF_NET_BATCH;
    size_t mail = rf_queue_size(&x->shared->mailbox[x->worker].queue);
    if (mail) {
        rf_commands(x, COMMAND_SLOTS);
        rf_mail_in(x, mail < MAIL_A_TURN ? mail : MAIL_A_TURN);
        more |= mail > MAIL_A_TURN;
    }
    rf_timers(x);
    more |= rf_fanout(x, x->now_ns + FANOUT_NS);
    return more;
}
