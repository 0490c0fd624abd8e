/* One UDP socket of the reuse-port group: recvmmsg with the local address of each datagram
 * (pktinfo), sendmmsg from that address, equal-sized neighbours as one GSO datagram.
 *
 * An AF_INET6 socket carries both families (IPv4 as v4-mapped; its IPV6_PKTINFO may name a
 * v4-mapped source); where IPv6 is off, an AF_INET one. The path MTU is not taken from ICMP, which
 * anyone can forge (IP_PMTUDISC_INTERFACE ignores it).
 *
 * Errors of one message never hold up the others: see failed(). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "net/address.h"
#include "net/net.h"
#include "net/source.h"
#include "srtp/engine.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define BUFFER (RF_MAX_DATAGRAM + RF_SRTP_TRAILER)
#define CONTROL 128 /* pktinfo + UDP_SEGMENT or SO_RXQ_OVFL and stamp, each with its cmsghdr */
#define STAMP_AGE_NS 10000000000u /* a datagram does not wait longer to be read */

typedef struct read_clocks { /* both, at one moment */
    uint64_t wall_ns, ns;
} read_clocks;

typedef struct udp_net {
    rf_net net;
    int family;
    int mode; /* enum rf_egress_mode */
    uint32_t last_overflow;
    struct mmsghdr in[RF_NET_BATCH];
    struct iovec in_iov[RF_NET_BATCH];
    struct sockaddr_storage in_from[RF_NET_BATCH];
    _Alignas(16) uint8_t in_control[RF_NET_BATCH][CONTROL];
    uint8_t buffers[RF_NET_BATCH][BUFFER];
    struct mmsghdr out[RF_NET_BATCH];
    struct iovec out_iov[RF_NET_BATCH];
    struct sockaddr_storage out_to[RF_NET_BATCH];
    _Alignas(16) uint8_t out_control[RF_NET_BATCH][CONTROL];
} udp_net;

static int set_option(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value);
}

/* ---- in ---- */

static uint64_t ns_of(const struct timespec *t) {
    return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

/* The kernel stamps by the wall clock: what the monotonic clock showed then. 0 where that cannot
 * be, because the wall clock was set in the meantime. */
static uint64_t monotonic(const struct timespec *stamp, const read_clocks *now) {
    uint64_t since = now->wall_ns - ns_of(stamp);
    return since < STAMP_AGE_NS && since < now->ns ? now->ns - since : 0;
}

static void read_sender(const struct sockaddr_storage *from, rf_path *path) {
    rf_address_read(from, path->remote_ip, &path->remote_port);
}

static void read_control(udp_net *u, struct msghdr *h, const read_clocks *now, rf_datagram *out) {
    rf_path *path = &out->path;
    out->at_ns = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(path->local_ip, &info.ipi6_addr, 16);
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            memcpy(path->local_ip, rf_v4_mapped, 12);
            memcpy(path->local_ip + 12, &info.ipi_spec_dst, 4);
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t total;
            memcpy(&total, CMSG_DATA(c), sizeof total);
            rf_count(&u->net.counters.kernel_drops, (uint32_t)(total - u->last_overflow));
            u->last_overflow = total;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
            out->at_ns = monotonic(&stamp, now);
        }
    }
}

static int receive(rf_net *n, rf_datagram *out, int max) {
    udp_net *u = (udp_net *)n;
    unsigned want = (unsigned)(max < RF_NET_BATCH ? max : RF_NET_BATCH);
    for (unsigned i = 0; i < want; i++) {
        u->in[i].msg_hdr.msg_namelen = sizeof u->in_from[i];
        u->in[i].msg_hdr.msg_controllen = CONTROL;
        u->in[i].msg_hdr.msg_flags = 0;
    }
    int got = recvmmsg(n->fd, u->in, want, MSG_DONTWAIT, NULL);
    rf_count(&n->counters.receive_calls, 1);
    if (got <= 0)
        return 0;
    struct timespec wall, mono;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &mono);
    read_clocks now = {ns_of(&wall), ns_of(&mono)};
    for (int i = 0; i < got; i++) {
        memset(&out[i].path, 0, sizeof out[i].path);
        read_sender(&u->in_from[i], &out[i].path);
        read_control(u, &u->in[i].msg_hdr, &now, &out[i]);
        out[i].data = u->buffers[i];
        out[i].len = u->in[i].msg_len;
        if (u->in[i].msg_hdr.msg_flags & MSG_TRUNC)
            out[i].len = RF_MAX_DATAGRAM + 1;
    }
    return got;
}

/* ---- out ---- */

/* An IPv4 address by its own name, which a socket of both families takes, too: the kernel need not
 * find out that it is v4-mapped. */
static socklen_t write_receiver(const rf_path *path, struct sockaddr_storage *to) {
    int family = memcmp(path->remote_ip, rf_v4_mapped, sizeof rf_v4_mapped) ? AF_INET6 : AF_INET;
    return rf_address_write(family, path->remote_ip, path->remote_port, to);
}

/* The source address, where `path` is given; the segment size, where it is not 0. */
static size_t write_control(const udp_net *u, const rf_path *path, uint16_t segment, uint8_t *at) {
    size_t len = 0;
    struct cmsghdr *c = (struct cmsghdr *)at;
    if (!path) {
        /* the kernel's own choice is right */
    } else if (u->family == AF_INET6) {
        struct in6_pktinfo info;
        memset(&info, 0, sizeof info);
        memcpy(&info.ipi6_addr, path->local_ip, 16);
        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        len = CMSG_SPACE(sizeof info);
    } else {
        struct in_pktinfo info;
        memset(&info, 0, sizeof info);
        memcpy(&info.ipi_spec_dst, path->local_ip + 12, 4);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(c), &info, sizeof info);
        len = CMSG_SPACE(sizeof info);
    }
    if (segment) {
        c = (struct cmsghdr *)(at + len);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(c), &segment, sizeof segment);
        len += CMSG_SPACE(sizeof segment);
    }
    return len;
}

static void prepare(udp_net *u, int i, const rf_message *m, uint8_t *data, size_t len,
                    uint16_t segment) {
    struct msghdr *h = &u->out[i].msg_hdr;
    h->msg_name = &u->out_to[i];
    h->msg_namelen = write_receiver(m->path, &u->out_to[i]);
    u->out_iov[i].iov_base = data;
    u->out_iov[i].iov_len = len;
    h->msg_iov = &u->out_iov[i];
    h->msg_iovlen = 1;
    h->msg_control = u->out_control[i];
    const rf_path *told = m->from_default ? NULL : m->path;
    h->msg_controllen = write_control(u, told, segment, u->out_control[i]);
    h->msg_flags = 0;
}

/* Sends the segments of one message one by one: 0, or RF_EAGAIN at a full socket. */
static int send_singly(udp_net *u, const rf_message *m) {
    for (uint32_t at = 0; at < m->len; at += m->segment) {
        uint32_t len = m->len - at < m->segment ? m->len - at : m->segment;
        prepare(u, 0, m, m->data + at, len, 0);
        rf_count(&u->net.counters.send_calls, 1);
        if (sendmsg(u->net.fd, &u->out[0].msg_hdr, MSG_DONTWAIT) < 0) {
            if (errno == EAGAIN)
                return RF_EAGAIN; /* segments already out are repeated: same bytes, harmless */
            rf_count(errno == ENOBUFS                       ? &u->net.counters.nobufs
                     : errno == EMSGSIZE || errno == EINVAL ? &u->net.counters.too_big
                                                            : &u->net.counters.unreachable,
                     1);
            continue;
        }
        rf_count(&u->net.counters.sent, 1);
        rf_count(&u->net.counters.sent_bytes, len);
    }
    return RF_OK;
}

/* The first message of what is left was refused with `error`: 0 when it is dealt with (dropped and
 * counted, or sent another way), RF_EAGAIN when the socket is full. */
static int failed(udp_net *u, const rf_message *m, int error) {
    switch (error) {
    case EAGAIN:
        return RF_EAGAIN;
    case EINTR:
        return RF_EAGAIN;
    case ENOBUFS:
        rf_count(&u->net.counters.nobufs, m->count);
        return RF_OK;
    case EIO: /* the device cannot checksum segments: GSO is over for this socket */
        u->net.gso = 0;
        return send_singly(u, m);
    case EMSGSIZE:
    case EINVAL:
        if (m->count > 1)
            return send_singly(u, m);
        rf_count(&u->net.counters.too_big, 1);
        return RF_OK;
    default: /* EPERM, ENETUNREACH, EHOSTUNREACH, ECONNREFUSED of an earlier datagram … */
        rf_count(&u->net.counters.unreachable, m->count);
        return RF_OK;
    }
}

static enum rf_sent send_batch(udp_net *u, const rf_message *messages, int count, int *done) {
    for (int i = 0; i < count; i++)
        prepare(u, i, &messages[i], messages[i].data, messages[i].len,
                messages[i].count > 1 ? messages[i].segment : 0);
    for (*done = 0; *done < count;) {
        int sent = sendmmsg(u->net.fd, u->out + *done, (unsigned)(count - *done), MSG_DONTWAIT);
        rf_count(&u->net.counters.send_calls, 1);
        if (sent > 0) {
            for (int i = 0; i < sent; i++, (*done)++) {
                rf_count(&u->net.counters.sent, messages[*done].count);
                rf_count(&u->net.counters.sent_bytes, messages[*done].len);
            }
            continue;
        }
        int error = errno;
        int singly =
            messages[*done].count > 1 && (error == EIO || error == EMSGSIZE || error == EINVAL);
        if (failed(u, &messages[*done], error) == RF_EAGAIN)
            return RF_SENT_AGAIN;
        (*done)++;
        if (singly) /* send_singly used the first prepared header: make the rest anew */
            for (int i = *done; i < count; i++)
                prepare(u, i, &messages[i], messages[i].data, messages[i].len,
                        messages[i].count > 1 ? messages[i].segment : 0);
    }
    return RF_SENT_ALL;
}

static enum rf_sent send_all(rf_net *n, const rf_message *messages, int count, int *done) {
    udp_net *u = (udp_net *)n;
    *done = 0;
    while (*done < count) {
        if (u->mode == RF_EGRESS_SENDTO || (messages[*done].count > 1 && !n->gso)) {
            if (send_singly(u, &messages[*done]) == RF_EAGAIN)
                return RF_SENT_AGAIN;
            (*done)++;
            continue;
        }
        int chunk = count - *done < RF_NET_BATCH ? count - *done : RF_NET_BATCH;
        int did = 0;
        enum rf_sent end = send_batch(u, messages + *done, chunk, &did);
        *done += did;
        if (end != RF_SENT_ALL)
            return end;
    }
    return RF_SENT_ALL;
}

int rf_udp_send_one(rf_net *n, const rf_path *path, const uint8_t *data, size_t len) {
    const udp_net *u = (const udp_net *)n;
    struct sockaddr_storage to;
    _Alignas(16) uint8_t control[CONTROL];
    memset(&to, 0, sizeof to);
    memset(control, 0, sizeof control);
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr h;
    memset(&h, 0, sizeof h);
    h.msg_name = &to;
    h.msg_namelen = write_receiver(path, &to);
    h.msg_iov = &iov;
    h.msg_iovlen = 1;
    h.msg_control = control;
    h.msg_controllen = write_control(u, path, 0, control);
    return sendmsg(n->fd, &h, MSG_DONTWAIT) < 0 ? RF_ESYS : RF_OK;
}

/* ---- life ---- */

static int is_default_source(const rf_net *n, const rf_path *path) {
    return rf_source_is_default(((const udp_net *)n)->family, path);
}

static void close_net(rf_net *n) {
    if (n->fd >= 0)
        close(n->fd);
    if (n->routes_fd >= 0)
        close(n->routes_fd);
    free(n);
}

static int bind_socket(udp_net *u, const rf_config *config, uint16_t port) {
    struct sockaddr_storage at;
    memset(&at, 0, sizeof at);
    rf_path path;
    memset(&path, 0, sizeof path);
    memcpy(path.remote_ip, config->bind_ip, 16);
    path.remote_port = port;
    if (u->family == AF_INET && memcmp(config->bind_ip, rf_v4_mapped, 12) != 0)
        memset(path.remote_ip, 0, 16); /* only :: may fall back to IPv4 */
    socklen_t len = rf_address_write(u->family, path.remote_ip, path.remote_port, &at);
    return bind(u->net.fd, (struct sockaddr *)&at, len);
}

static uint32_t buffer_size(int fd, int which) {
    int got = 0;
    socklen_t len = sizeof got;
    getsockopt(fd, SOL_SOCKET, which, &got, &len);
    return (uint32_t)got / 2; /* the kernel doubles for its own book-keeping */
}

static int configure(udp_net *u, const rf_config *config) {
    int fd = u->net.fd;
    if (set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1))
        return RF_ESYS;
    int want = (int)config->socket_buffer;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &want, sizeof want))
        set_option(fd, SOL_SOCKET, SO_RCVBUF, want);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof want))
        set_option(fd, SOL_SOCKET, SO_SNDBUF, want);
    set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    set_option(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    if (u->family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
        set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_INTERFACE);
    }
    set_option(fd, IPPROTO_IP, IP_PKTINFO, u->family == AF_INET);
    set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE);
    u->net.receive_buffer = buffer_size(fd, SO_RCVBUF);
    u->net.send_buffer = buffer_size(fd, SO_SNDBUF);
    return RF_OK;
}

static void wire_up(udp_net *u) {
    for (int i = 0; i < RF_NET_BATCH; i++) {
        u->in_iov[i].iov_base = u->buffers[i];
        u->in_iov[i].iov_len = RF_MAX_DATAGRAM;
        u->in[i].msg_hdr.msg_iov = &u->in_iov[i];
        u->in[i].msg_hdr.msg_iovlen = 1;
        u->in[i].msg_hdr.msg_name = &u->in_from[i];
        u->in[i].msg_hdr.msg_control = u->in_control[i];
    }
    u->net.receive = receive;
    u->net.send = send_all;
    u->net.is_default_source = is_default_source;
    u->net.routes_fd = rf_source_watch();
    u->net.routes = u->net.routes_fd >= 0;
    u->net.free = close_net;
}

static int probe_gso(int fd) {
    int off = 0; /* setting a size of 0 changes nothing and fails where the option is unknown */
    return setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &off, sizeof off) == 0;
}

int rf_udp_open(const rf_config *config, uint16_t port, rf_net **out, uint16_t *bound) {
    udp_net *u = calloc(1, sizeof *u);
    if (!u)
        return RF_ENOMEM;
    u->mode = config->egress;
    u->family = AF_INET6;
    u->net.routes_fd = -1;
    u->net.fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (u->net.fd < 0 && errno == EAFNOSUPPORT) {
        u->family = AF_INET;
        u->net.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (u->net.fd < 0 || configure(u, config) || bind_socket(u, config, port)) {
        int error = errno;
        if (u->net.fd >= 0)
            close(u->net.fd);
        free(u);
        errno = error;
        return RF_ESYS;
    }
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    rf_path self;
    getsockname(u->net.fd, (struct sockaddr *)&at, &len);
    read_sender(&at, &self);
    *bound = self.remote_port;
    u->net.gso = config->egress == RF_EGRESS_GSO && probe_gso(u->net.fd);
    wire_up(u);
    *out = &u->net;
    return RF_OK;
}
