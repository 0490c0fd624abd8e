/* Under TSan: a queue with many producers, and a track log whose writer laps while readers on other
 * threads pin, read and unpin. A reader checks every slot's content against its number: a slot that
 * changed while it was pinned would show. */
#include <pthread.h>
#include <sched.h>

#include "base/queue.h"
#include "model/track.h"
#include "test.h"

enum { PRODUCERS = 3, EACH = 20000, READERS = 3, PACKETS = 60000 };

static rf_queue queue;
static rf_track track;
static _Atomic int finished;
static _Atomic uint64_t refused;

static void *produce(void *arg) {
    uint64_t who = (uint64_t)(uintptr_t)arg;
    for (uint64_t i = 0; i < EACH;) {
        uint64_t ticket;
        uint64_t *cell = rf_queue_reserve(&queue, &ticket);
        if (!cell)
            continue;
        *cell = who << 32 | i++;
        rf_queue_publish(&queue, ticket);
    }
    return NULL;
}

static void queue_of_many(void) {
    pthread_t t[PRODUCERS];
    uint64_t next[PRODUCERS] = {0}, ticket;
    CHECK(rf_queue_init(&queue, 64, sizeof(uint64_t)) == 0);
    for (uintptr_t i = 0; i < PRODUCERS; i++)
        pthread_create(&t[i], NULL, produce, (void *)i);
    for (int got = 0; got < PRODUCERS * EACH;) {
        const uint64_t *cell = rf_queue_peek(&queue, &ticket);
        if (!cell)
            continue;
        CHECK_EQ(*cell & 0xffffffff, next[*cell >> 32]); /* each producer's in its order */
        next[*cell >> 32]++;
        rf_queue_release(&queue, ticket);
        got++;
    }
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(t[i], NULL);
    rf_queue_free(&queue);
}

static void *write_log(void *arg) {
    (void)arg;
    for (uint64_t i = 0; i < PACKETS;) {
        rf_slot *s = rf_track_reserve(&track, READERS + 1, 0);
        if (!s) {
            atomic_fetch_add(&refused, 1);
            sched_yield();
            continue;
        }
        memset(s, 0, sizeof *s);
        s->stream_seq = i;
        s->ts = (uint32_t)(i / 8);
        s->payload_len = 64;
        memset(rf_track_room(&track, atomic_load(&track.head)), (int)(i & 0xff), 64);
        rf_track_commit(&track, s, i % 40 == 0);
        i++;
    }
    atomic_store(&finished, 1);
    return NULL;
}

static void *read_log(void *arg) {
    int w = (int)(intptr_t)arg;
    uint64_t cursor = 0, read = 0;
    while (!atomic_load(&finished)) {
        uint64_t head, index, seq;
        uint64_t low = rf_track_pin(&track, w, &head);
        if (cursor < low)
            cursor = low;
        for (int n = 0; cursor < head && n < 32; n++, cursor++, read++) {
            const rf_slot *s = rf_track_slot(&track, cursor);
            const uint8_t *room = rf_track_room(&track, cursor);
            if (s->stream_seq != cursor || room[0] != (cursor & 0xff) || room[63] != room[0])
                abort();
        }
        if (rf_track_key(&track, low, &index, &seq) && index < head &&
            rf_track_slot(&track, index)->ts != (uint32_t)(index / 8))
            abort();
        if (head > low && rf_track_find(&track, head - 1, low, head) != head - 1)
            abort();
        rf_track_unpin(&track, w);
    }
    return (void *)(uintptr_t)read;
}

static void log_that_laps(void) {
    pthread_t writer, readers[READERS];
    CHECK(rf_track_init(&track, RF_VIDEO, RF_VIDEO, 64) == 0);
    for (intptr_t i = 0; i < READERS; i++)
        pthread_create(&readers[i], NULL, read_log, (void *)(i + 1));
    pthread_create(&writer, NULL, write_log, NULL);
    pthread_join(writer, NULL);
    uint64_t read = 0;
    for (int i = 0; i < READERS; i++) {
        void *n;
        pthread_join(readers[i], &n);
        read += (uintptr_t)n;
    }
    CHECK(read > 0);
    printf("log: %llu reads, writer refused %llu times\n", (unsigned long long)read,
           (unsigned long long)atomic_load(&refused));
    rf_track_free(&track);
}

int main(void) {
    queue_of_many();
    log_that_laps();
    return done("threads_log");
}
