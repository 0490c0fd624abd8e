/* The floor: what sending the same datagrams costs when nothing else is done.
 *
 * Built at bench time as a shared object and called by floor.py. For every pass of a plan (a frame
 * of so many packets, an audio packet) and every destination it copies the packets from a source
 * into a slab, numbers them, optionally protects them, and sends them: one sendto each, one
 * sendmmsg entry each, or UDP GSO runs (equal sizes, the last may be shorter) in sendmmsg batches.
 *
 * Protection: libsrtp's srtp_protect (given as a pointer, one context per destination), or, where
 * built with RF_HAVE_IPSEC_MB, Intel's ipsec-mb from the source into the slab, so that the
 * encryption is the copy: AES-GCM by its direct calls, AES-CM + HMAC-SHA1 as multi-buffer jobs of
 * a whole batch, by the same engine as the server's (csrc/srtp/ipsec_mb.c).
 *
 * With `due` times it sleeps until each pass is due, as a server waits for its publisher; without,
 * pass follows pass and all caches stay warm. It counts its own thread's CPU time, as the server's
 * is counted. No RTCP, no parsing, no bookkeeping, no ingress: a real server cannot be below it
 * with the same sizes and runs.
 */
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

#ifdef RF_HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "srtp/engine.h"

static IMB_MGR *manager;
static rf_srtp_engine engine;
static rf_srtp_job jobs[RF_SRTP_BATCH];
static int job_count;
#endif

typedef int (*protect_fn)(void *ctx, void *packet, int *len);

typedef struct plan { /* floor.py has the same fields */
    int fd;
    int mode;
    int max_run;
    int destinations;
    int profile;            /* DTLS-SRTP's number; 0: no crypto */
    uint8_t address[16];    /* v4-mapped or IPv6; the socket is of its family */
    const uint16_t *port;   /* one per destination */
    uint16_t sampled;       /* that many of them, the first, are real sockets … */
    uint8_t sampled_at[16]; /* … at this address */
    uint16_t passes;        /* passes of one round */
    const uint16_t *size;   /* sizes of all packets, pass by pass, RTP header included */
    const uint8_t *count;   /* packets of each pass */
    const uint64_t *due;    /* ns from a round's start for each pass; NULL: at once */
    uint64_t round_ns;      /* length of a round, where passes have a due time */
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
    struct sockaddr_storage to[BATCH];
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

#ifdef RF_HAVE_IPSEC_MB
static void finish_jobs(outcome *o) {
    if (!job_count)
        return;
    engine.protect(&engine, jobs, job_count);
    for (int i = 0; i < job_count; i++)
        o->errors += jobs[i].rc != 0;
    job_count = 0;
}

/* Would `count` packets more be too many for one batch of jobs? */
static int is_full(int count) {
    return job_count + count > RF_SRTP_BATCH;
}
#else
static void finish_jobs(outcome *o) {
    (void)o;
}

static int is_full(int count) {
    (void)count;
    return 0;
}
#endif

static void flush(const plan *p, outcome *o) {
    int at = 0;
    finish_jobs(o);
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

static socklen_t receiver(const plan *p, int destination, struct sockaddr_storage *to) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    int real = destination < p->sampled;
    const uint8_t *address = real ? p->sampled_at : p->address;
    uint16_t port = p->port[destination];
    if (memcmp(address, mapped, sizeof mapped) == 0) {
        struct sockaddr_in *a = (struct sockaddr_in *)to;
        a->sin_family = AF_INET;
        a->sin_port = htons(port);
        memcpy(&a->sin_addr, address + 12, 4);
        return sizeof *a;
    }
    struct sockaddr_in6 *a = (struct sockaddr_in6 *)to;
    a->sin6_family = AF_INET6;
    a->sin6_port = htons(port);
    memcpy(&a->sin6_addr, address, 16);
    return sizeof *a;
}

/* One message of `len` bytes at `data`, cut into `segment` bytes if it is a run. */
static void push(const plan *p, outcome *o, int destination, uint8_t *data, size_t len,
                 uint16_t segment) {
    int i = out.messages++;
    struct msghdr *m = &out.message[i].msg_hdr;
    out.iov[i] = (struct iovec){data, len};
    *m = (struct msghdr){.msg_name = &out.to[i],
                         .msg_namelen = receiver(p, destination, &out.to[i]),
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

#ifdef RF_HAVE_IPSEC_MB
static int encrypt_gcm(int profile, const void *schedule, const uint8_t *source, int size,
                       uint8_t *to) {
    struct gcm_context_data context;
    uint8_t iv[HEADER];
    uint64_t len = (uint64_t)(size - HEADER);
    memcpy(iv, to, sizeof iv); /* sequence number and SSRC: differs from packet to packet */
    if (profile == RF_PROFILE_GCM_128)
        IMB_AES128_GCM_ENC(manager, schedule, &context, to + HEADER, source + HEADER, len, iv, to,
                           HEADER, to + size, TRAILER);
    else
        IMB_AES256_GCM_ENC(manager, schedule, &context, to + HEADER, source + HEADER, len, iv, to,
                           HEADER, to + size, TRAILER);
    return size + TRAILER;
}

static int encrypt(const plan *p, void *schedule, const uint8_t *source, int size, uint8_t *to) {
    if (p->profile != RF_PROFILE_SHA1_80)
        return encrypt_gcm(p->profile, schedule, source, size, to);
    if (job_count == RF_SRTP_BATCH) /* flushed before, see one_pass() */
        return -1;
    jobs[job_count++] = (rf_srtp_job){.key = schedule,
                                      .dst = to,
                                      .src = source + HEADER,
                                      .index = (uint64_t)(to[2] << 8 | to[3]),
                                      .clear_len = HEADER,
                                      .head_len = HEADER,
                                      .src_len = (uint16_t)(size - HEADER),
                                      .out_len = (uint16_t)(size + 10)};
    return size + 10;
}

static int open_engine(void) {
    static const rf_libsrtp none;
    IMB_ARCH arch = IMB_ARCH_NONE;
    if (manager)
        return 1;
    if (rf_srtp_engine_ipsec_mb(&engine, &none) != 0 || !(manager = alloc_mb_mgr(0)))
        return 0;
    init_mb_mgr_auto(manager, &arch);
    return arch >= IMB_ARCH_SSE;
}

enum { PLACE = 2048, LARGE_PAGE = 2 * 1024 * 1024 };

static void expand(int profile, const uint8_t *random, uint8_t *place) {
    rf_session_key session;
    if (profile == RF_PROFILE_GCM_128) {
        IMB_AES128_GCM_PRE(manager, random, (struct gcm_key_data *)place);
    } else if (profile == RF_PROFILE_GCM_256) {
        IMB_AES256_GCM_PRE(manager, random, (struct gcm_key_data *)place);
    } else {
        rf_srtp_key *key = (rf_srtp_key *)place;
        memcpy(&session, random, sizeof session);
        rf_srtp_key_init(key, profile, NULL, NULL);
        key->schedule = place + 64;
        engine.expand(&engine, profile, &session, key->schedule);
    }
}

/* Schedules of ipsec-mb, one behind the other in large pages; the first one is at out[0] and is
 * what rb_schedules_free() takes. 0: the CPU cannot, or no memory. `random`: for each of them
 * sizeof(rf_session_key) bytes. */
int rb_schedules(int profile, const uint8_t *random, int count, void **out) {
    size_t size = ((size_t)count * PLACE + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    uint8_t *arena = open_engine() ? aligned_alloc(LARGE_PAGE, size) : NULL;
    if (!arena || 64 + engine.schedule_bytes > PLACE || sizeof(struct gcm_key_data) > PLACE)
        return 0;
    madvise(arena, size, MADV_HUGEPAGE);
    memset(arena, 0, size);
    size_t place = profile == RF_PROFILE_SHA1_80 ? (64 + engine.schedule_bytes + 63) / 64 * 64
                                                 : (sizeof(struct gcm_key_data) + 63) / 64 * 64;
    for (int i = 0; i < count; i++) {
        out[i] = arena + (size_t)i * place;
        expand(profile, random + (size_t)i * sizeof(rf_session_key), out[i]);
    }
    return 1;
}

void rb_schedules_free(void *first) {
    free(first);
}
#else
static int encrypt(const plan *p, void *schedule, const uint8_t *source, int size, uint8_t *to) {
    (void)p, (void)schedule, (void)source, (void)size, (void)to;
    return -1;
}

/* 0: not built in. */
int rb_schedules(int profile, const uint8_t *random, int count, void **out) {
    (void)profile, (void)random, (void)count, (void)out;
    return 0;
}

void rb_schedules_free(void *first) {
    (void)first;
}
#endif

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
        return encrypt(p, p->contexts[destination], source, size, to);
    int len = size;
    if (p->protect(p->contexts[destination], to, &len) != 0)
        return -1;
    return len;
}

static void one_pass(const plan *p, outcome *o, const uint8_t *source, const uint16_t *size,
                     int count) {
    for (int d = 0; d < p->destinations; d++) {
        uint8_t *run = NULL;
        size_t run_len = 0;
        int segments = 0, segment = 0, last = 0;
        if (p->contexts && d + 1 < p->destinations)
            __builtin_prefetch(p->contexts[d + 1]);
        if (out.used + (size_t)count * PACKET_MAX > SLAB || out.messages + count > BATCH ||
            is_full(count))
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
                    push(p, o, d, run, run_len, (uint16_t)segment);
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
            push(p, o, d, run, run_len, (uint16_t)segment);
    }
    flush(p, o);
}

static void wait_until(uint64_t ns) {
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
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
            if (p->due)
                wait_until(wall + (uint64_t)r * p->round_ns + p->due[pass]);
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
    outcome o = {0};
    uint64_t cpu = now(CLOCK_THREAD_CPUTIME_ID);
    for (int r = 0; r < p->rounds; r++) {
        out.used = 0;
        for (int d = 0; d < p->destinations; d++) {
            int len = write_packet(p, d, 0, source, size, slab + out.used);
            if (len < 0)
                return 0;
            out.used += (size_t)len;
            if (out.used + PACKET_MAX > SLAB || is_full(1)) {
                finish_jobs(&o);
                out.used = 0;
            }
        }
        finish_jobs(&o);
    }
    out.used = 0;
    if (o.errors)
        return 0;
    return now(CLOCK_THREAD_CPUTIME_ID) - cpu;
}
