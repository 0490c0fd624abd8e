/* See source.h. The question is put by connecting a UDP socket: no packet is sent. */
#include "net/source.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

int rf_source_watch(void) {
    struct sockaddr_nl at;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -1;
    memset(&at, 0, sizeof at);
    at.nl_family = AF_NETLINK;
    at.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE |
                   RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;
    if (bind(fd, (struct sockaddr *)&at, sizeof at)) {
        close(fd);
        return -1;
    }
    return fd;
}

int rf_source_changed(int fd) {
    char scrap[8192]; /* what it was does not matter; even an overrun says that there was one */
    int changed = 0;
    for (int i = 0; i < 64; i++) {
        ssize_t n = recv(fd, scrap, sizeof scrap, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0)
            break;
        changed = 1;
    }
    return changed;
}

static int chosen(int fd, const struct sockaddr *to, socklen_t len, struct sockaddr_storage *from) {
    socklen_t got = sizeof *from;
    return connect(fd, to, len) == 0 && getsockname(fd, (struct sockaddr *)from, &got) == 0;
}

int rf_source_is_default(int family, const rf_path *path) {
    struct sockaddr_storage to, from;
    int is_v4 = memcmp(path->remote_ip, mapped, sizeof mapped) == 0;
    if (family == AF_INET && !is_v4)
        return 0;
    memset(&to, 0, sizeof to);
    memset(&from, 0, sizeof from);
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    int same = 0;
    if (is_v4) {
        struct sockaddr_in *a = (struct sockaddr_in *)&to;
        const struct sockaddr_in *b = (const struct sockaddr_in *)&from;
        a->sin_family = AF_INET;
        a->sin_port = htons(path->remote_port);
        memcpy(&a->sin_addr, path->remote_ip + 12, 4);
        same = chosen(fd, (struct sockaddr *)a, sizeof *a, &from) &&
               memcmp(path->local_ip, mapped, sizeof mapped) == 0 &&
               memcmp(path->local_ip + 12, &b->sin_addr, 4) == 0;
    } else {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)&to;
        const struct sockaddr_in6 *b = (const struct sockaddr_in6 *)&from;
        a->sin6_family = AF_INET6;
        a->sin6_port = htons(path->remote_port);
        memcpy(&a->sin6_addr, path->remote_ip, 16);
        same = chosen(fd, (struct sockaddr *)a, sizeof *a, &from) &&
               memcmp(path->local_ip, &b->sin6_addr, 16) == 0;
    }
    close(fd);
    return same;
}
