/* The thread around a worker's turn: poll on the socket and the doorbell. No GIL, no lock.
 * Sleeping: arm the doorbell, look once more at everything that others write to, sleep.
 *
 * Not epoll: a socket in an epoll set always has somebody waiting, whom the kernel wakes at every
 * packet that has left (sock_wfree). With poll nobody waits while the thread is sending: 60 ns a
 * packet less. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "net/source.h"
#include "path/path.h"
#include "worker/worker.h"

typedef struct start {
    rf_forwarder *f;
    rf_worker *w;
} start;

/* Is there anything that arrived between the turn and the arming? */
static int work_waits(rf_ctx *x) {
    rf_mailbox *box = &x->shared->mailbox[x->worker];
    if (rf_queue_size(&x->commands) || rf_queue_size(&box->queue))
        return 1;
    for (uint32_t i = 0; i < x->sub_count; i++)
        for (int k = 0; k < RF_KINDS; k++)
            if (atomic_load_explicit(&x->subs[i].stream->track[k].head, memory_order_seq_cst) !=
                x->subs[i].seen[k])
                return 1;
    return 0;
}

static void nap(rf_ctx *x, int busy) {
    rf_waker *bell = &x->shared->mailbox[x->worker].waker;
    struct pollfd fds[] = {
        {.fd = x->net->fd, .events = (short)(POLLIN | (x->blocked ? POLLOUT : 0))},
        {.fd = bell->fd, .events = POLLIN},
        {.fd = x->net->routes_fd, .events = POLLIN}, /* one that is -1 is passed over */
    };
    int timeout = 0;
    if (!busy && !x->blocked) {
        rf_waker_arm(bell);
        if (!work_waits(x)) {
            uint64_t ns = rf_timers_next(x);
            timeout = (int)((ns + 999999) / 1000000);
        }
    } else if (x->blocked) {
        timeout = 5;
    }
    int n = poll(fds, sizeof fds / sizeof *fds, timeout);
    rf_waker_disarm(bell);
    if (n > 0 && timeout)
        rf_count(&x->wakeups, 1);
    if (fds[2].revents && rf_source_changed(x->net->routes_fd) && !++x->net->routes)
        x->net->routes = 1;
    x->blocked = 0;
}

static void *run(void *arg) {
    start s = *(start *)arg;
    free(arg);
    rf_ctx *x = &s.w->ctx;
    while (!atomic_load_explicit(&s.f->stopping, memory_order_acquire)) {
        rf_clock_now(x);
        int busy = rf_ctx_turn(x);
        nap(x, busy);
    }
    return NULL;
}

int rf_worker_start(rf_forwarder *f, rf_worker *w) {
    sigset_t all, before;
    start *s = malloc(sizeof *s);
    if (!s)
        return RF_ENOMEM;
    s->f = f;
    s->w = w;
    sigfillset(&all); /* signals are Python's business */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->thread, NULL, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc) {
        free(s);
        return RF_ESYS;
    }
    char name[16];
    snprintf(name, sizeof name, "rtcfwd-%d", w->ctx.worker);
    pthread_setname_np(w->thread, name);
    w->running = 1;
    return RF_OK;
}

void rf_worker_join(rf_forwarder *f, rf_worker *w) {
    if (!w->running)
        return;
    atomic_store_explicit(&f->stopping, 1, memory_order_release);
    rf_waker *bell = &f->shared.mailbox[w->ctx.worker].waker;
    uint64_t one = 1;
    if (write(bell->fd, &one, sizeof one) < 0) { /* full: it will wake anyway */
    }
    pthread_join(w->thread, NULL);
    w->running = 0;
}
