/* Under TSan: the TCP side by itself, on real loopback sockets. Its thread takes frames in and
 * hands them over; two producers, the control plane and an owner, write into the same connections;
 * clients come, are bound, read slowly, and go at any moment; places are used again. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/queue.h"
#include "net/tcp.h"
#include "test.h"

enum { CLIENTS = 12, ROUNDS = 25, PLACES = 8, FRAMES = 40, BYE = 200 };

/* CHECK counts, which is one thread's. */
#define MUST(what)                                                                                 \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct message {
    rf_path path;
    uint32_t len;
    uint8_t data[RF_MAX_DATAGRAM];
} message;

static rf_tcp *tcp;
static uint16_t port;
static rf_queue came;     /* thread -> control plane */
static rf_queue to_owner; /* control plane -> owner: connections to serve and release */
static _Atomic int over, served, answered, finished;

static int deliver(void *arg, int worker, const rf_path *path, const uint8_t *data, size_t len) {
    uint64_t ticket;
    message *m = rf_queue_reserve(&came, &ticket);
    (void)arg;
    MUST(worker == 0);
    if (!m)
        return RF_EFULL;
    m->path = *path;
    m->len = (uint32_t)len;
    memcpy(m->data, data, len);
    rf_queue_publish(&came, ticket);
    return RF_OK;
}

/* The peer's owner: media into a connection, then lets go of it. */
static void *own(void *arg) {
    uint8_t data[900];
    (void)arg;
    memset(data, 0x80, sizeof data);
    while (!over || rf_queue_size(&to_owner)) {
        uint64_t ticket;
        const uint32_t *cell = rf_queue_peek(&to_owner, &ticket);
        if (!cell) {
            poll(NULL, 0, 1);
            continue;
        }
        rf_leg *leg = rf_tcp_leg(tcp, *cell);
        rf_queue_release(&to_owner, ticket);
        MUST(leg != NULL); /* bound, so its place is kept */
        for (int i = 0; i < FRAMES; i++) {
            int rc = rf_leg_send(tcp, leg, data, sizeof data);
            MUST(rc == RF_OK || rc == RF_EFULL || rc == RF_ESTALE);
        }
        data[0] = BYE;
        rf_leg_send(tcp, leg, data, 1);
        data[0] = 0x80;
        rf_leg_release(tcp, leg);
        atomic_fetch_add(&served, 1);
    }
    return NULL;
}

static int read_frame(int fd, uint8_t *out) {
    uint8_t head[2];
    if (recv(fd, head, 2, MSG_WAITALL) != 2)
        return -1;
    int len = head[0] << 8 | head[1];
    MUST(len > 0 && len <= RF_MAX_DATAGRAM);
    return recv(fd, out, (size_t)len, MSG_WAITALL) == len ? len : -1;
}

/* Even ones read to the end; odd ones go away somewhere. */
static void *client(void *arg) {
    int self = (int)(intptr_t)arg;
    for (int round = 0; round < ROUNDS; round++) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        uint8_t stun[2 + 20] = {0, 20, 0, 1}, data[RF_MAX_DATAGRAM];
        a.sin_port = htons(port);
        int fd = socket(AF_INET, SOCK_STREAM, 0), frames = 0, bye = 0;
        MUST(connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
        stun[21] = (uint8_t)self;
        ssize_t sent = send(fd, stun, sizeof stun, MSG_NOSIGNAL);
        for (int n; sent > 0 && !bye && (n = read_frame(fd, data)) > 0; frames++) {
            bye = data[0] == BYE;
            if (self % 2 && frames == round)
                break;
        }
        finished += bye;
        close(fd);
    }
    return NULL;
}

/* What Python does: the first datagram binds, the reply leaves, the owner is told. */
static void control(void) {
    uint64_t ticket;
    const message *m;
    while ((m = rf_queue_peek(&came, &ticket))) {
        uint32_t connection = m->path.connection;
        rf_handle peer = connection;
        uint8_t reply[20] = {1, 1};
        rf_queue_release(&came, ticket);
        if (rf_tcp_bind(tcp, connection, peer, 0) != RF_OK)
            continue; /* gone meanwhile */
        CHECK_EQ(rf_tcp_bind(tcp, connection, peer, 0), RF_OK);
        CHECK_EQ(rf_tcp_bind(tcp, connection, peer + 1, 0), RF_ESTALE);
        CHECK_EQ(rf_tcp_send(tcp, connection, reply, sizeof reply), RF_OK);
        atomic_fetch_add(&answered, 1);
        uint32_t *cell = rf_queue_reserve(&to_owner, &ticket);
        CHECK(cell != NULL);
        *cell = connection;
        rf_queue_publish(&to_owner, ticket);
    }
}

int main(void) {
    pthread_t owner, clients[CLIENTS];
    rf_tcp_stats stats;
    rf_tcp_setup setup = {.connections = PLACES, .workers = 1, .deliver = deliver};
    setup.bind_ip[10] = setup.bind_ip[11] = 0xff;
    setup.bind_ip[12] = 127;
    setup.bind_ip[15] = 1;
    CHECK_EQ(rf_queue_init(&came, 64, sizeof(message)), RF_OK);
    CHECK_EQ(rf_queue_init(&to_owner, 1024, sizeof(uint32_t)), RF_OK);
    CHECK_EQ(rf_tcp_open(&setup, &tcp, &port), RF_OK);
    CHECK_EQ(rf_tcp_start(tcp), RF_OK);
    pthread_create(&owner, NULL, own, NULL);
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i], NULL, client, (void *)(intptr_t)i);
    do {
        control();
        poll(NULL, 0, 1);
        rf_tcp_figures(tcp, &stats);
    } while (stats.accepted + stats.refused < CLIENTS * ROUNDS || stats.open || stats.bound);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    over = 1;
    pthread_join(owner, NULL);
    CHECK_EQ(served, answered);
    CHECK(finished > 0);
    CHECK_EQ(stats.malformed, 0);
    rf_tcp_stop(tcp);
    rf_tcp_stop(tcp);
    rf_tcp_free(tcp);
    rf_queue_free(&came);
    rf_queue_free(&to_owner);
    return done("threads_tcp");
}
