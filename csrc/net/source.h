/* Which address would the kernel send from by itself?
 *
 * A reply must leave from the address that the peer knows. Telling the kernel so with every message
 * (pktinfo) costs 5 % of a forwarded packet; on most machines it would choose that address anyway.
 * So it is asked once for a path, and told only where its own choice is another. A change of
 * addresses or routes, which netlink tells, makes every answer old. */
#ifndef RF_NET_SOURCE_H
#define RF_NET_SOURCE_H

#include "rtcfwd.h"

/* A netlink socket that wakes at every change; -1: not allowed here, so trust no answer. */
int rf_source_watch(void);
/* Empties it; 1: something has changed. */
int rf_source_changed(int fd);

/* 1: without being told, the kernel would send to this path from its local address. `family` is
 * that of the socket that sends (AF_INET6 may carry v4-mapped addresses). */
int rf_source_is_default(int family, const rf_path *path);

#endif
