/* The floor: what sending the same datagrams costs when nothing else is done.
 *
 * Built at bench time as a shared object and called by floor.py. For every pass of a plan (a frame
 * of so many packets, an audio packet) and every destination it copies the packets from a source
 * into a slab, numbers them, optionally protects them, and sends them: one sendto each, one
 * sendmmsg entry each, or UDP GSO runs (equal sizes, the last may be shorter) in sendmmsg batches.
 *
 * Protection: libsrtp's srtp_protect (given as a pointer, one context per destination), or, where
 * built with RB_IPSEC_MB, AES-128-GCM by Intel's ipsec-mb from the source into the slab, so that
 * the encryption is the copy.
 *
 * It counts its own thread's CPU time, as the server's is counted. No RTCP, no parsing, no
 * bookkeeping, no ingress: a real server cannot be below it with the same sizes and runs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { SENDTO = 0, SENDMMSG = 1, GSO = 2 };
enum { BATCH = 64, SLAB = 512 * 1024, PACKET_MAX = 1500, TRAILER = 16, HEADER = 12 };

#ifdef RB_IPSEC_MB
#include <intel-ipsec-mb.h>
#include <stdlib.h>
static IMB_MGR *manager;
#endif

typedef int (*protect_fn)(void *ctx, void *packet, int *len);

typedef struct plan {
    int fd;
    int mode;
    int max_run;
    int destinations;
    uint32_t address; /* network order */
    uint16_t first_port;
    uint16_t passes;      /* passes of one round */
    const uint16_t *size; /* sizes of all packets, pass by pass, RTP header included */
    const uint8_t *count; /* packets of each pass */
    int rounds;
    protect_fn protect; /* libsrtp's */
    void **contexts;    /* one per destination: srtp_t, or without `protect` ipsec-mb's schedules;
                           NULL: no crypto, TRAILER bytes of padding instead */
} plan;

typedef struct outcome {
    uint64_t packets, datagram_runs, calls, cpu_ns, wall_ns, errors;
} outcome;

typedef struct batch {
    struct mmsghdr message[BATCH];
    struct iovec iov[BATCH];
    struct sockaddr_in to[BATCH];
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        size_t align;
    } control[BATCH];
    int messages;
    size_t used;
} batch;

static uint8_t slab[SLAB + 64 * 1024];
static batch out;
static uint16_t sequence[2][65536]; /* by stream (video, audio) and destination */

static uint64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void flush(const plan *p, outcome *o) {
    int at = 0;
    while (at < out.messages) {
        int sent;
        if (p->mode == SENDTO) {
            struct msghdr *m = &out.message[at].msg_hdr;
            ssize_t n = sendto(p->fd, m->msg_iov->iov_base, m->msg_iov->iov_len, 0, m->msg_name,
                               m->msg_namelen);
            sent = n < 0 ? -1 : 1;
        } else {
            sent = sendmmsg(p->fd, out.message + at, (unsigned)(out.messages - at), 0);
        }
        o->calls++;
        if (sent < 0) {
            if (errno == EINTR || errno == EAGAIN)
                continue;
            o->errors++;
            sent = 1;
        }
        at += sent;
    }
    out.messages = 0;
    out.used = 0;
}

/* One message of `len` bytes at `data`, cut into `segment` bytes if it is a run. */
static void push(const plan *p, outcome *o, uint16_t port, uint8_t *data, size_t len,
                 uint16_t segment) {
    int i = out.messages++;
    struct msghdr *m = &out.message[i].msg_hdr;
    out.to[i] = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = p->address};
    out.iov[i] = (struct iovec){data, len};
    *m = (struct msghdr){.msg_name = &out.to[i],
                         .msg_namelen = sizeof out.to[i],
                         .msg_iov = &out.iov[i],
                         .msg_iovlen = 1};
    if (len > segment) {
        m->msg_control = out.control[i].bytes;
        m->msg_controllen = sizeof out.control[i].bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(m);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        memcpy(CMSG_DATA(c), &segment, sizeof segment);
    }
    o->datagram_runs++;
}

#ifdef RB_IPSEC_MB
static int encrypt(const void *schedule, const uint8_t *source, int size, uint8_t *to) {
    struct gcm_context_data context;
    uint8_t iv[HEADER];
    uint64_t len = (uint64_t)(size - HEADER);
    memcpy(iv, to, sizeof iv); /* sequence number and SSRC: differs from packet to packet */
    IMB_AES128_GCM_ENC(manager, schedule, &context, to + HEADER, source + HEADER, len, iv, to,
                       HEADER, to + size, TRAILER);
    return size + TRAILER;
}
#else
static int encrypt(const void *schedule, const uint8_t *source, int size, uint8_t *to) {
    (void)schedule, (void)source, (void)size, (void)to;
    return -1;
}
#endif

/* A schedule of ipsec-mb for a 16-byte key, or NULL: not built in, or the CPU cannot. */
void *rb_schedule(const uint8_t *key) {
#ifdef RB_IPSEC_MB
    if (!manager) {
        IMB_ARCH arch = IMB_ARCH_NONE;
        manager = alloc_mb_mgr(0);
        if (manager)
            init_mb_mgr_auto(manager, &arch);
        if (arch < IMB_ARCH_SSE)
            return NULL;
    }
    struct gcm_key_data *schedule = aligned_alloc(64, (sizeof *schedule + 63) / 64 * 64);
    if (schedule)
        IMB_AES128_GCM_PRE(manager, key, schedule);
    return schedule;
#else
    (void)key;
    return NULL;
#endif
}

void rb_schedule_free(void *schedule) {
#ifdef RB_IPSEC_MB
    free(schedule);
#else
    (void)schedule;
#endif
}

static int write_packet(const plan *p, int destination, int stream, const uint8_t *source, int size,
                        uint8_t *to) {
    uint16_t seq = htons(sequence[stream][destination]++);
    int whole = !p->contexts || p->protect; /* else the cipher copies the payload */
    memcpy(to, source, whole ? (size_t)size : HEADER);
    memcpy(to + 2, &seq, sizeof seq);
    to[8] = (uint8_t)stream; /* an SSRC, and so a libsrtp stream, of its own */
    if (!p->contexts)
        return size + TRAILER;
    if (!p->protect)
        return encrypt(p->contexts[destination], source, size, to);
    int len = size;
    if (p->protect(p->contexts[destination], to, &len) != 0)
        return -1;
    return len;
}

static void one_pass(const plan *p, outcome *o, const uint8_t *source, const uint16_t *size,
                     int count) {
    for (int d = 0; d < p->destinations; d++) {
        uint16_t port = (uint16_t)(p->first_port + d);
        uint8_t *run = NULL;
        size_t run_len = 0;
        int segments = 0, segment = 0, last = 0;
        if (p->contexts && d + 1 < p->destinations)
            __builtin_prefetch(p->contexts[d + 1]);
        if (out.used + (size_t)count * PACKET_MAX > SLAB || out.messages + count > BATCH)
            flush(p, o);
        for (int i = 0; i < count; i++) {
            uint8_t *to = slab + out.used;
            int len = write_packet(p, d, count == 1, source + i * PACKET_MAX, size[i], to);
            if (len < 0) {
                o->errors++;
                continue;
            }
            int joins = p->mode == GSO && segments && segments < p->max_run && last == segment &&
                        len <= segment;
            if (!joins) {
                if (segments)
                    push(p, o, port, run, run_len, (uint16_t)segment);
                run = to;
                run_len = 0;
                segments = 0;
                segment = len;
            }
            run_len += (size_t)len;
            segments++;
            last = len;
            out.used += (size_t)len;
            o->packets++;
        }
        if (segments)
            push(p, o, port, run, run_len, (uint16_t)segment);
    }
    flush(p, o);
}

int rb_floor(const plan *p, outcome *o) {
    static uint8_t source[256 * PACKET_MAX];
    memset(o, 0, sizeof *o);
    if (p->destinations > 65536)
        return -1;
    for (size_t i = 0; i < sizeof source; i++)
        source[i] = (uint8_t)(i * 31);
    for (int i = 0; i < 256; i++) {
        static const uint8_t header[HEADER] = {0x80, 0x60, 0,    0,    0,    0,
                                               0,    1,    0x33, 0x33, 0x33, 0x33};
        memcpy(source + i * PACKET_MAX, header, HEADER);
    }
    uint64_t cpu = now(CLOCK_THREAD_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
    for (int r = 0; r < p->rounds; r++) {
        const uint16_t *size = p->size;
        for (int pass = 0; pass < p->passes; pass++) {
            one_pass(p, o, source, size, p->count[pass]);
            size += p->count[pass];
        }
    }
    o->cpu_ns = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    o->wall_ns = now(CLOCK_MONOTONIC) - wall;
    return 0;
}

/* ns for `rounds` times protecting one packet of `size` bytes for every destination of the plan,
 * the copy included (as a sender that keeps the plain text must); 0: the cipher refuses. */
uint64_t rb_protect(const plan *p, int size) {
    static uint8_t source[PACKET_MAX] = {0x80, 0x60};
    uint64_t cpu = now(CLOCK_THREAD_CPUTIME_ID);
    for (int r = 0; r < p->rounds; r++)
        for (int d = 0; d < p->destinations; d++)
            if (write_packet(p, d, 0, source, size, slab) < 0)
                return 0;
    return now(CLOCK_THREAD_CPUTIME_ID) - cpu;
}
