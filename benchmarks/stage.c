/* What each stage of a packet's way costs in memory: no socket, no thread, no Python.
 *
 * Built at bench time with all of csrc/ as a shared object and driven by stage.py. sendmmsg and
 * sendmsg are wrapped by the linker: they say that all was sent, so that the layout of messages is
 * measured and the system call is not. Everything else is the code that the server runs, on an
 * in-memory forwarder with one publisher and `viewers` viewers whose keys lie about on the heap as
 * a server's do. Times are the clock's, so the core must be free; the best of several runs counts.
 *
 * A frame is 9 packets of 1200 bytes, as at 2.5 Mbit/s and 30 fps. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cursor.h"
#include "base/error.h"
#include "feedback/feedback.h"
#include "path/path.h"
#include "worker/worker.h"

enum { PACKET = 1200, PAYLOAD = PACKET - 12, FRAME = 9, MOST = 4096, PREPARED = 256 };
enum { VIDEO_PT = 96, VIDEO_SSRC = 1111, FIRST_SSRC = 100000, FIRST_PORT = 2000 };

typedef struct figure { /* of one measurement */
    uint64_t ns, count;
} figure;

typedef struct setup { /* stage.py has the same fields */
    int viewers;       /* at most MOST */
    int profile, engine;
    rf_libsrtp lib;
    void **tx;    /* libsrtp's context of each viewer, streams FIRST_SSRC + i */
    void *rx;     /* an inbound context of the publisher */
    void *pub_tx; /* … and the context that makes what it decrypts */
} setup;

typedef struct bench {
    setup s;
    rf_forwarder *f;
    rf_ctx *x;
    rf_handle stream, pub, viewer[MOST];
    rf_peer *peer[MOST];
    rf_net *memory, *udp;
    uint16_t seq;
    uint32_t ts;
    uint8_t prepared[PREPARED][PACKET + RF_SRTP_TRAILER];
} bench;

static bench b;
static uint8_t slab[RF_SLAB];
static rf_srtp_job jobs[RF_SRTP_BATCH];

int __wrap_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);

int __wrap_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags) {
    (void)fd, (void)m, (void)flags;
    return (int)n;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags) {
    (void)fd, (void)flags;
    return (ssize_t)m->msg_iov->iov_len;
}

static uint64_t now(void) { /* without a system call, which would cost more than a stage */
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the world ---- */

static void path_of(rf_path *p, int i) {
    memset(p, 0, sizeof *p);
    p->remote_ip[10] = p->remote_ip[11] = p->local_ip[10] = p->local_ip[11] = 0xff;
    p->remote_ip[12] = p->local_ip[12] = 10;
    p->remote_ip[15] = 2;
    p->local_ip[15] = 1;
    p->remote_port = (uint16_t)(FIRST_PORT + i);
}

static int turn(void) {
    while (rf_turn(b.f, 0, b.x->now_ns + 1) > 0)
        ;
    return RF_OK;
}

static int open_publisher(void) {
    rf_publication p;
    rf_path path;
    memset(&p, 0, sizeof p);
    p.local_ssrc = 777;
    rf_pub_track *v = &p.track[RF_VIDEO];
    v->present = v->nack = v->pli = 1;
    v->clock_rate = 90000;
    v->format_count = 1;
    v->format[0].pt = VIDEO_PT;
    v->format[0].codec = 1; /* H264 */
    v->format[0].rtx_pt = RF_NO_PT;
    path_of(&path, MOST);
    return rf_peer_open(b.f, b.stream, RF_PUBLISHER, &b.pub) || rf_peer_path(b.f, b.pub, &path) ||
           rf_peer_publish(b.f, b.pub, &p) ||
           rf_peer_keys(b.f, b.pub, b.s.profile, b.s.rx, b.s.pub_tx, NULL);
}

static int open_viewer(int i) {
    rf_subscription s;
    rf_session_key key;
    rf_path path;
    memset(&s, 0, sizeof s);
    memset(s.track[RF_VIDEO].rtx_pt_of_format, RF_NO_PT, RF_MAX_FORMATS);
    memset(s.track[RF_VIDEO].pt_of_format, RF_NO_PT, RF_MAX_FORMATS);
    s.track[RF_VIDEO].present = s.track[RF_VIDEO].nack = 1;
    s.track[RF_VIDEO].ssrc = FIRST_SSRC + (uint32_t)i;
    s.track[RF_VIDEO].pt_of_format[0] = VIDEO_PT;
    for (size_t k = 0; k < sizeof key; k++)
        ((uint8_t *)&key)[k] = (uint8_t)rand();
    path_of(&path, i);
    if (rf_peer_open(b.f, b.stream, RF_VIEWER, &b.viewer[i]) ||
        rf_peer_path(b.f, b.viewer[i], &path) || rf_peer_view(b.f, b.viewer[i], &s) ||
        rf_peer_keys(b.f, b.viewer[i], b.s.profile, b.s.rx, b.s.tx[i], &key) || turn())
        return RF_EINVAL;
    b.peer[i] = rf_peer_of(b.x, b.viewer[i]);
    return b.peer[i] ? RF_OK : RF_EINVAL;
}

/* RF_OK, or what refused; RF_EINVAL where the engine is not here. */
int st_open(const setup *s) {
    rf_config c;
    memset(&b, 0, sizeof b);
    memset(&c, 0, sizeof c);
    b.s = *s;
    c.workers = c.in_memory = 1;
    c.egress = RF_EGRESS_GSO;
    c.bind_ip[10] = c.bind_ip[11] = 0xff;
    c.bind_ip[12] = 127;
    c.bind_ip[15] = 1;
    c.max_peers = MOST + 1;
    c.max_streams = 1;
    c.video_slots = 2048;
    c.audio_slots = 512;
    c.socket_buffer = 1 << 20;
    c.punt_slots = 64;
    c.start_pace_bps = 1ull << 40;
    c.start_max_bytes = 3000000;
    c.start_max_ns = 10000000000u;
    c.remb_bps = 6000000;
    c.resend_percent = 100;
    c.engine = s->engine;
    c.srtp = s->lib;
    int rc = rf_new(&c, &b.f);
    uint16_t port;
    if (rc != RF_OK)
        return rc;
    b.x = &b.f->worker[0]->ctx;
    b.x->now_ns = 1000000000000u;
    b.memory = b.x->net;
    if (rf_udp_open(&b.f->config, 0, &b.udp, &port) || rf_stream_open(b.f, &b.stream) ||
        open_publisher() || turn())
        return RF_ESYS;
    for (int i = 0; i < s->viewers; i++)
        if ((rc = open_viewer(i)) != RF_OK)
            return rc;
    b.x->net = b.udp;
    return RF_OK;
}

void st_close(void) {
    b.x->net = b.memory;
    b.udp->free(b.udp);
    rf_free(b.f);
}

/* ---- the way in ---- */

static void rtp(uint8_t *out, uint16_t seq, uint32_t ts, int first, int last, int key) {
    memset(out, seq & 0xff, PACKET);
    out[0] = 0x80;
    out[1] = (uint8_t)(last << 7 | VIDEO_PT);
    rf_put16(out + 2, seq);
    rf_put32(out + 4, ts);
    rf_put32(out + 8, VIDEO_SSRC);
    out[12] = 0x7c;
    out[13] = (uint8_t)(first << 7 | last << 6 | (key ? 5 : 1));
}

/* One frame into the log; ns that rf_append took. */
static uint64_t frame(int key) {
    static uint8_t packet[FRAME][PACKET];
    for (int i = 0; i < FRAME; i++)
        rtp(packet[i], b.seq++, b.ts, i == 0, i == FRAME - 1, key);
    b.ts += 3000;
    b.x->now_ns += 33000000;
    rf_peer *p = rf_peer_of(b.x, b.pub);
    uint64_t at = now();
    b.x->arrival_ns = b.x->now_ns;
    for (int i = 0; i < FRAME; i++)
        rf_append(b.x, p, packet[i], PACKET);
    return now() - at;
}

/* Classification, tuple -> peer, and one drop counter (RTP from a viewer). */
void st_demux(int rounds, figure *o) {
    static uint8_t data[PACKET + RF_SRTP_TRAILER];
    static rf_datagram in[MOST];
    rtp(data, 1, 1, 1, 1, 0);
    for (int i = 0; i < b.s.viewers; i++) {
        path_of(&in[i].path, (int)((unsigned)i * 7919u % (unsigned)b.s.viewers));
        in[i].data = data;
        in[i].len = PACKET;
    }
    uint64_t at = now();
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < b.s.viewers; i++)
            rf_demux(b.x, &in[i]);
    *o = (figure){now() - at, (uint64_t)rounds * (uint64_t)b.s.viewers};
}

/* Authentication and decryption of a publisher's RTP, or of RTCP, by libsrtp. */
int st_unprotect(int rounds, int rtcp, figure *o) {
    rf_srtp_key key;
    static uint16_t seq; /* goes on: a number comes once */
    *o = (figure){0, 0};
    if (rf_srtp_key_init(&key, b.s.profile, b.s.rx, b.s.pub_tx) != RF_OK)
        return RF_EINVAL;
    for (int r = 0; r < rounds; r++) {
        uint32_t len[PREPARED];
        for (int i = 0; i < PREPARED; i++) {
            int n = rtcp ? 44 : PACKET;
            rtp(b.prepared[i], seq++, 1, 1, 1, 0);
            if (rtcp) {
                b.prepared[i][0] = 0x81;
                b.prepared[i][1] = 201;
                rf_put16(b.prepared[i] + 2, 7);
                rf_put32(b.prepared[i] + 4, VIDEO_SSRC);
            }
            if ((rtcp ? b.s.lib.protect_rtcp : b.s.lib.protect)(b.s.pub_tx, b.prepared[i], &n))
                return RF_EAUTH;
            len[i] = (uint32_t)n;
        }
        uint64_t at = now();
        for (int i = 0; i < PREPARED; i++) {
            int rc = rtcp ? rf_srtp_unprotect_rtcp(&b.x->srtp, &key, b.prepared[i], &len[i])
                          : rf_srtp_unprotect(&b.x->srtp, &key, b.prepared[i], &len[i]);
            if (rc != RF_OK)
                return rc;
        }
        o->ns += now() - at;
        o->count += PREPARED;
    }
    return RF_OK;
}

/* ---- the way out ---- */

/* Frames appended and given to every viewer: append alone in `in`; fan-out, rewriting, protection
 * and the layout of messages in `out`, per packet of a viewer. */
void st_fanout(int rounds, figure *in, figure *out, uint64_t *runs) {
    *in = *out = (figure){0, 0};
    frame(1);
    while (rf_fanout(b.x, UINT64_MAX))
        ;
    uint64_t sent = rf_read(&b.x->packets), before = rf_read(&b.x->runs);
    for (int r = 0; r < rounds; r++) {
        in->ns += frame(r % 60 == 59);
        uint64_t at = now();
        while (rf_fanout(b.x, UINT64_MAX))
            ;
        out->ns += now() - at;
    }
    in->count = (uint64_t)rounds * FRAME;
    out->count = rf_read(&b.x->packets) - sent;
    *runs = rf_read(&b.x->runs) - before;
}

/* Headers of one frame for every viewer. Call st_fanout before. */
void st_rewrite(int rounds, figure *o) {
    rf_track *t = &rf_control_stream(b.f, b.stream)->track[RF_VIDEO];
    uint64_t head = atomic_load(&t->head);
    uint64_t at = now();
    for (int r = 0; r < rounds; r++)
        for (int v = 0; v < b.s.viewers; v++) {
            const rf_view_track_state *s = &b.peer[v]->view->track[RF_VIDEO];
            const rf_segment *g = &s->segment[s->segments - 1];
            for (uint64_t i = head - FRAME; i < head; i++)
                rf_rewrite(b.peer[v], t, i, g, g->first_out + i, VIDEO_PT, slab + (i % FRAME) * 64);
        }
    *o = (figure){now() - at, (uint64_t)rounds * (uint64_t)b.s.viewers * FRAME};
}

/* The engine alone: batches of `batch` jobs of `size` bytes, FRAME in a row of one viewer. */
int st_protect(int rounds, int batch, int size, figure *o) {
    static uint16_t seq[MOST];
    rf_track *t = &rf_control_stream(b.f, b.stream)->track[RF_VIDEO];
    size_t stride = (size_t)size + b.peer[0]->key.tag_len;
    int refused = 0, made = 0, total = rounds * batch;
    uint64_t spent = 0;
    frame(1);
    while (made < total) {
        for (int i = 0; i < batch; i++, made++) {
            int v = made / FRAME % b.s.viewers;
            uint8_t *dst = slab + (size_t)i * stride;
            memset(dst, 0, 12);
            dst[0] = 0x80;
            dst[1] = VIDEO_PT;
            rf_put16(dst + 2, ++seq[v]);
            rf_put32(dst + 8, FIRST_SSRC + (uint32_t)v);
            jobs[i] = (rf_srtp_job){.key = &b.peer[v]->key,
                                    .dst = dst,
                                    .src = rf_track_room(t, (uint64_t)(made % FRAME)),
                                    .index = seq[v],
                                    .clear_len = 12,
                                    .head_len = 12,
                                    .src_len = (uint16_t)(size - 12),
                                    .out_len = (uint16_t)stride};
        }
        uint64_t at = now();
        b.x->srtp.protect(&b.x->srtp, jobs, batch);
        spent += now() - at;
        for (int i = 0; i < batch; i++)
            refused += jobs[i].rc != RF_OK;
    }
    *o = (figure){spent, (uint64_t)made};
    return refused ? RF_EAUTH : RF_OK;
}

/* What stands between the slab and the system call: addresses, control data, counters of one
 * message a frame; per packet. */
void st_layout(int rounds, int run, figure *o) {
    static rf_message m[RF_NET_BATCH];
    for (int i = 0; i < RF_NET_BATCH; i++)
        m[i] = (rf_message){.path = &b.peer[i % b.s.viewers]->selected,
                            .data = slab,
                            .len = (uint32_t)(run * PACKET),
                            .segment = PACKET,
                            .count = (uint16_t)run};
    uint64_t at = now();
    int done;
    for (int r = 0; r < rounds; r++)
        b.udp->send(b.udp, m, RF_NET_BATCH, &done);
    *o = (figure){now() - at, (uint64_t)rounds * RF_NET_BATCH * (uint64_t)run};
}

/* ---- feedback ---- */

/* A viewer's compound, decrypted: RR + SDES (nacks 0), or a NACK for the newest frame's packets,
 * each of which is looked up, rewritten, protected and laid out. Per compound, or per packet. */
void st_feedback(int rounds, int nacks, figure *o) {
    static const uint8_t sdes[12] = {0x81, 202, 0, 2, 0, 0, 0, 1, 1, 1, 'b'};
    uint8_t rr[32 + sizeof sdes] = {0x81, 201, 0, 7, 0, 0, 0, 1};
    uint8_t nack[16] = {0x81, 205, 0, 3, 0, 0, 0, 1};
    uint64_t resent = 0;
    memcpy(rr + 32, sdes, sizeof sdes);
    *o = (figure){0, 0};
    for (int r = 0; r < rounds; r++) {
        b.x->now_ns += 11000000000u; /* so that every one may be sent again */
        for (int v = 0; v < b.s.viewers; v++) {
            const rf_view_track_state *s = &b.peer[v]->view->track[RF_VIDEO];
            uint32_t ssrc = FIRST_SSRC + (uint32_t)v;
            rf_put32(rr + 8, ssrc);
            rf_put32(nack + 8, ssrc);
            rf_put16(nack + 12, (uint16_t)(s->next_out - FRAME));
            rf_put16(nack + 14, 0xff);
            resent -= rf_read(&s->resent);
            uint64_t at = now();
            if (nacks)
                rf_rtcp_in(b.x, b.peer[v], nack, sizeof nack);
            else
                rf_rtcp_in(b.x, b.peer[v], rr, sizeof rr);
            o->ns += now() - at;
            resent += rf_read(&s->resent);
        }
    }
    o->count = nacks ? resent : (uint64_t)rounds * (uint64_t)b.s.viewers;
}
