/* Under TSan: the whole forwarder with three workers on real loopback sockets. One publisher,
 * viewers spread over all workers, some of which come and go meanwhile; NACKs and PLIs come back;
 * logs are small, so that they lap. At the end everything is closed and every worker has let go. */
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "stub_srtp.h"
#include "test.h"

enum { WORKERS = 3, VIEWERS = 6, FRAMES = 250, CHUNKS = 4 };

typedef struct client {
    int fd;
    uint16_t port;
    rf_handle peer;
    uint64_t video, audio, rtcp;
    uint16_t last_seq;
} client;

static rf_forwarder *f;
static rf_handle stream;
static client publisher, viewers[VIEWERS];
static int gone, streams_gone, active;
static int dummy;

static void open_client(client *c) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK(bind(c->fd, (struct sockaddr *)&a, n) == 0);
    CHECK(getsockname(c->fd, (struct sockaddr *)&a, &n) == 0);
    c->port = ntohs(a.sin_port);
    a.sin_port = htons((uint16_t)rf_port(f));
    CHECK(connect(c->fd, (struct sockaddr *)&a, n) == 0);
}

static void join(client *c, int role, uint32_t ssrc) {
    rf_path path;
    open_client(c);
    CHECK_EQ(rf_peer_open(f, stream, role, &c->peer), RF_OK);
    if (role == RF_PUBLISHER) {
        rf_publication p;
        stub_publication(&p);
        CHECK_EQ(rf_peer_publish(f, c->peer, &p), RF_OK);
    } else {
        rf_subscription s;
        stub_subscription(&s, ssrc);
        /* the one that comes and goes has the other law: a log is made and freed each time */
        s.track[RF_AUDIO].derived = c == &viewers[VIEWERS - 1];
        CHECK_EQ(rf_peer_view(f, c->peer, &s), RF_OK);
    }
    stub_path(&path, c->port);
    CHECK_EQ(rf_peer_ufrag(f, c->peer, (const uint8_t *)&c->port, 2, NULL, 0, 0), RF_OK);
    CHECK_EQ(rf_peer_path(f, c->peer, &path), RF_OK);
    CHECK_EQ(rf_peer_keys(f, c->peer, 7, &dummy, &dummy, NULL), RF_OK);
}

static void leave(client *c) {
    CHECK_EQ(rf_peer_close(f, c->peer, 1), RF_OK);
    CHECK_EQ(rf_peer_close(f, c->peer, 1), RF_ESTALE);
    close(c->fd);
}

static void events(void) {
    static rf_event e;
    while (rf_poll(f, &e)) {
        gone += e.type == RF_EVENT_PEER_GONE;
        streams_gone += e.type == RF_EVENT_STREAM_GONE;
        active += e.type == RF_EVENT_PUBLISHER_ACTIVE;
    }
}

/* Asks for the packet before the newest, and sometimes for a key frame. */
static void answer(client *c, uint32_t ssrc) {
    uint8_t nack[64] = {0x81, 205, 0, 3, 0, 0, 0, 1};
    for (int i = 0; i < 4; i++)
        nack[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
    nack[12] = (uint8_t)((uint16_t)(c->last_seq - 1) >> 8);
    nack[13] = (uint8_t)(c->last_seq - 1);
    int len = 16;
    stub_protect(NULL, nack, &len);
    CHECK(send(c->fd, nack, (size_t)len, 0) >= 0);
    uint8_t pli[64] = {0x81, 206, 0, 2, 0, 0, 0, 1};
    memcpy(pli + 8, nack + 8, 4);
    len = 12;
    stub_protect(NULL, pli, &len);
    CHECK(send(c->fd, pli, (size_t)len, 0) >= 0);
}

static void receive(client *c, uint32_t ssrc) {
    uint8_t d[2048];
    ssize_t n;
    while ((n = recv(c->fd, d, sizeof d, 0)) > 0) {
        int len = (int)n;
        CHECK_EQ(stub_unprotect(NULL, d, &len), 0);
        if (d[1] >= 192 && d[1] <= 223) {
            c->rtcp++;
        } else if ((d[1] & 0x7f) == 102) {
            c->video++;
            c->last_seq = (uint16_t)(d[2] << 8 | d[3]);
            if (c->video % 64 == 0)
                answer(c, ssrc + RF_VIDEO);
        } else {
            c->audio++;
        }
    }
}

static void send_frame(uint16_t *seq, int frame) {
    uint8_t payload[1000], d[1200];
    memset(payload, frame, sizeof payload);
    int key = frame % 25 == 0;
    for (int i = 0; i < CHUNKS; i++, (*seq)++) {
        payload[0] = 0x7c;
        payload[1] = (uint8_t)((i == 0 ? 0x80 : 0) | (i == CHUNKS - 1 ? 0x40 : 0) | (key ? 5 : 1));
        size_t n = stub_rtp(d, STUB_VIDEO_PT, i == CHUNKS - 1, *seq, (uint32_t)frame * 3000,
                            STUB_VIDEO_SSRC, payload, sizeof payload);
        CHECK(send(publisher.fd, d, n, 0) >= 0);
    }
    size_t n = stub_rtp(d, STUB_AUDIO_PT, 0, (uint16_t)frame, (uint32_t)frame * 160,
                        STUB_AUDIO_SSRC, payload, 160);
    CHECK(send(publisher.fd, d, n, 0) >= 0);
}

static void look_at_figures(void) {
    rf_stream_stats ss;
    rf_peer_stats ps;
    rf_worker_stats ws;
    CHECK_EQ(rf_get_stream_stats(f, stream, &ss), RF_OK);
    CHECK_EQ(rf_get_peer_stats(f, viewers[0].peer, &ps), RF_OK);
    for (int w = 0; w < WORKERS; w++)
        CHECK_EQ(rf_get_worker_stats(f, w, &ws), RF_OK);
}

int main(void) {
    rf_config c;
    uint16_t seq = 65500; /* wraps on the way */
    struct pollfd wait = {0};
    stub_config(&c, WORKERS, 0);
    c.bind_ip[12] = 127;
    CHECK_EQ(rf_new(&c, &f), RF_OK);
    CHECK_EQ(rf_start(f), RF_OK);
    CHECK_EQ(rf_stream_open(f, &stream), RF_OK);
    join(&publisher, RF_PUBLISHER, 0);
    for (int i = 0; i < VIEWERS; i++)
        join(&viewers[i], RF_VIEWER, 5000u + 10u * (uint32_t)i);
    for (int frame = 0; frame < FRAMES; frame++) {
        send_frame(&seq, frame);
        wait.fd = rf_event_fd(f);
        wait.events = POLLIN;
        poll(&wait, 1, 2); /* paces the publisher; nothing depends on how long it is */
        events();
        for (int i = 0; i < VIEWERS; i++)
            receive(&viewers[i], 5000u + 10u * (uint32_t)i);
        look_at_figures();
        if (frame % 20 == 10) { /* the last one comes and goes */
            leave(&viewers[VIEWERS - 1]);
            join(&viewers[VIEWERS - 1], RF_VIEWER, 5000u + 10u * (VIEWERS - 1));
        }
        if (frame % 50 == 49) { /* the publisher comes back as another peer */
            leave(&publisher);
            join(&publisher, RF_PUBLISHER, 0);
        }
    }
    rf_worker_stats ws;
    uint64_t mailed = 0;
    for (int w = 0; w < WORKERS; w++) {
        CHECK_EQ(rf_get_worker_stats(f, w, &ws), RF_OK);
        mailed += ws.mailboxed;
    }
    int left = VIEWERS + 1 + gone, want;
    for (int i = 0; i < VIEWERS; i++) {
        printf("viewer %d: %llu video, %llu audio, %llu rtcp\n", i,
               (unsigned long long)viewers[i].video, (unsigned long long)viewers[i].audio,
               (unsigned long long)viewers[i].rtcp);
        if (i < VIEWERS - 1)
            CHECK(viewers[i].video > 0 && viewers[i].audio > 0);
        leave(&viewers[i]);
    }
    leave(&publisher);
    want = VIEWERS + 1 + FRAMES / 20 + (FRAMES % 20 > 10) + FRAMES / 50;
    (void)left;
    CHECK_EQ(rf_stream_close(f, stream), RF_OK);
    for (int i = 0; i < 1000 && !streams_gone; i++) {
        poll(&wait, 1, 10);
        events();
    }
    CHECK_EQ(streams_gone, 1);
    CHECK_EQ(gone, want);
    CHECK(active >= 2);
    printf("mailboxed %llu\n", (unsigned long long)mailed);
    rf_free(f);
    return done("threads_forwarder");
}
