/* loop/loop_uv.c - the real loop: libuv handles that drive the timers, tasks and posts of loop.c.
 *
 * A turn of libuv is: timers, idle, prepare, poll with I/O callbacks, check, close callbacks.
 *   alarm    one uv_timer for the earliest of our timers; fires all that are due
 *   prepare  the last look before the sleep: sets the alarm, forbids sleeping while tasks wait
 *   wake     uv_async: posts from other threads
 *   check    after I/O: runs the deferred tasks
 *   spin     an idle handle that does nothing; while it is active libuv does not sleep */
#include <errno.h>
#include <uv.h>

#include "base/mem.h"
#include "loop/loop_priv.h"

struct loop_real {
    uv_loop_t uv;
    uv_timer_t alarm;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t spin;
    uv_async_t wake;
    struct loop *loop;
    int64_t alarm_us; /* what the alarm is set for, -1: not set */
};

static bool fail(struct err *e, int rc, const char *what)
{
    errno = -rc; /* libuv returns what it found there */
    return err_set(e, ERR_SYS, "loop: cannot %s: %s", what, uv_strerror(rc));
}

static void on_alarm(uv_timer_t *h)
{
    struct loop_real *r = h->data;
    r->alarm_us = -1;
    r->loop->fresh = false; /* I/O callbacks may have taken long since the time was read */
    loop_fire_due(r->loop);
}

static void on_spin(uv_idle_t *h)
{
}

/* libuv counts whole milliseconds of the same clock: rounding up keeps timers from firing early. */
static void set_alarm(struct loop_real *r)
{
    const struct loop_timer *t = loop_first_timer(r->loop);
    if (t == NULL) {
        if (r->alarm_us >= 0)
            uv_timer_stop(&r->alarm);
        r->alarm_us = -1;
        return;
    }
    uv_update_time(&r->uv); /* else the sleep would begin at the start of this turn */
    if (t->at_us == r->alarm_us)
        return;
    uint64_t at_ms = (uint64_t)(t->at_us / 1000) + (t->at_us % 1000 != 0);
    uint64_t now_ms = uv_now(&r->uv);
    uv_timer_start(&r->alarm, on_alarm, at_ms > now_ms ? at_ms - now_ms : 0, 0);
    r->alarm_us = t->at_us;
}

static void on_prepare(uv_prepare_t *h)
{
    struct loop_real *r = h->data;
    set_alarm(r);
    if (list_empty(&r->loop->deferred))
        uv_idle_stop(&r->spin);
    else
        uv_idle_start(&r->spin, on_spin);
    r->loop->fresh = false;
}

static void on_wake(uv_async_t *h)
{
    struct loop_real *r = h->data;
    loop_run_posted(r->loop);
}

static void on_check(uv_check_t *h)
{
    struct loop_real *r = h->data;
    loop_run_deferred(r->loop);
}

/* libuv 1.44 fails here only in uv_loop_init() and uv_async_init(); the others just link. */
static bool open_handles(struct loop_real *r, struct err *e)
{
    int rc = uv_async_init(&r->uv, &r->wake, on_wake);
    if (rc != 0)
        return fail(e, rc, "create the wake-up");
    uv_timer_init(&r->uv, &r->alarm);
    uv_prepare_init(&r->uv, &r->prepare);
    uv_check_init(&r->uv, &r->check);
    uv_idle_init(&r->uv, &r->spin);
    r->alarm.data = r->prepare.data = r->check.data = r->spin.data = r->wake.data = r;
    uv_prepare_start(&r->prepare, on_prepare);
    uv_check_start(&r->check, on_check);
    return true;
}

struct loop_real *loop_real_new(struct loop *l, struct err *e)
{
    struct loop_real *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        err_set(e, ERR_NOMEM, "loop: out of memory");
        return NULL;
    }
    r->loop = l;
    r->alarm_us = -1;
    int rc = uv_loop_init(&r->uv);
    if (rc != 0) {
        fail(e, rc, "create the event loop");
        mem_free(r);
        return NULL;
    }
    if (!open_handles(r, e)) {
        uv_loop_close(&r->uv);
        mem_free(r);
        return NULL;
    }
    return r;
}

static void close_handle(uv_handle_t *h, void *arg)
{
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void loop_real_free(struct loop_real *r)
{
    if (r == NULL)
        return;
    /* Others' handles too: one left open would make the turns below sleep for ever. */
    uv_walk(&r->uv, close_handle, NULL);
    while (uv_loop_close(&r->uv) == UV_EBUSY) {
        uv_run(&r->uv, UV_RUN_ONCE);
        uv_walk(&r->uv, close_handle, NULL); /* what a callback has opened meanwhile */
    }
    mem_free(r);
}

void loop_real_run(struct loop_real *r)
{
    uv_run(&r->uv, UV_RUN_DEFAULT);
}

void loop_real_step(struct loop_real *r)
{
    uv_run(&r->uv, UV_RUN_NOWAIT);
}

void loop_real_stop(struct loop_real *r)
{
    uv_stop(&r->uv);
}

void loop_real_wake(struct loop_real *r)
{
    uv_async_send(&r->wake);
}

struct uv_loop_s *loop_real_uv(struct loop_real *r)
{
    return &r->uv;
}
