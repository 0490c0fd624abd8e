/* A datagram's time of arrival is the kernel's, on the monotonic clock: not when it was read. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "net/net.h"
#include "test.h"

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void send_to(int fd, uint16_t port, const char *text) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_EQ(sendto(fd, text, 4, 0, (struct sockaddr *)&to, sizeof to), 4);
}

int main(void) {
    enum { COUNT = 5 };
    rf_config config;
    rf_net *net;
    uint16_t port;
    rf_datagram got[RF_NET_BATCH];
    uint64_t before[COUNT];
    memset(&config, 0, sizeof config);
    config.egress = RF_EGRESS_GSO;
    config.socket_buffer = 1 << 16;
    CHECK_EQ(rf_udp_open(&config, 0, &net, &port), RF_OK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(fd >= 0);
    for (int i = 0; i < COUNT; i++) {
        before[i] = now_ns();
        send_to(fd, port, "abcd");
    }
    struct pollfd wait = {.fd = net->fd, .events = POLLIN};
    CHECK_EQ(poll(&wait, 1, 5000), 1);
    CHECK_EQ(net->receive(net, got, RF_NET_BATCH), COUNT);
    uint64_t read = now_ns();
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(got[i].len, 4);
        CHECK(got[i].at_ns + 1000000 >= before[i]); /* clocks are disciplined, and read in turn */
        CHECK(got[i].at_ns <= read);
        CHECK(i == 0 || got[i].at_ns >= got[i - 1].at_ns);
    }
    close(fd);
    net->free(net);
    return done("stamp");
}
