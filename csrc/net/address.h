/* Socket addresses in the form that a path has: 16 bytes, IPv4 v4-mapped, port in host order. */
#ifndef RF_NET_ADDRESS_H
#define RF_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t rf_v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static inline void rf_address_read(const struct sockaddr_storage *from, uint8_t ip[16],
                                   uint16_t *port) {
    if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)from;
        memcpy(ip, &a->sin6_addr, 16);
        *port = ntohs(a->sin6_port);
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)from;
        memcpy(ip, rf_v4_mapped, 12);
        memcpy(ip + 12, &a->sin_addr, 4);
        *port = ntohs(a->sin_port);
    }
}

static inline socklen_t rf_address_write(int family, const uint8_t ip[16], uint16_t port,
                                         struct sockaddr_storage *to) {
    if (family == AF_INET6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)to;
        a->sin6_family = AF_INET6;
        a->sin6_port = htons(port);
        a->sin6_flowinfo = 0;
        a->sin6_scope_id = 0;
        memcpy(&a->sin6_addr, ip, 16);
        return sizeof *a;
    }
    struct sockaddr_in *a = (struct sockaddr_in *)to;
    a->sin_family = AF_INET;
    a->sin_port = htons(port);
    memcpy(&a->sin_addr, ip + 12, 4);
    return sizeof *a;
}

#endif
