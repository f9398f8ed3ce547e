/* route/health.c - see route/health.h. */
#include "route/health.h"

#include <string.h>

/* A key that was refused is not asked first for that long; a reload brings it back at once. */
#define SHUN_US     INT64_C(60000000)
#define MAX_OPEN_US INT64_C(300000000)
/* A typing error of an upstream's must not shut it out for ever. */
#define MAX_REST_MS INT64_C(86400000)

enum health_word health_look(const struct breaker *b, const struct credential *c, int64_t now_us)
{
    int64_t open = atomic_load(&b->open_until_us);
    if (atomic_load(&b->rest_until_us) > now_us)
        return HEALTH_REST;
    if (atomic_load(&c->shun_until_us) > now_us || open > now_us)
        return HEALTH_DOWN;
    return open > 0 ? HEALTH_PROBE : HEALTH_UP;
}

const char *health_why(const struct breaker *b, const struct credential *c, int64_t now_us,
                       int64_t *wait_us)
{
    int64_t open = atomic_load(&b->open_until_us), rest = atomic_load(&b->rest_until_us);
    int64_t shun = atomic_load(&c->shun_until_us);
    int64_t until = rest > now_us ? rest : shun > now_us ? shun : open;
    *wait_us = until > now_us ? until - now_us : 0;
    if (rest > now_us)
        return "resting";
    if (shun > now_us)
        return "key_refused";
    return open > now_us ? "down" : open > 0 ? "probed" : NULL;
}

enum health_word health_ask(struct breaker *b, struct credential *c, int64_t now_us,
                            int64_t *wait_us)
{
    enum health_word word = health_look(b, c, now_us);
    if (word == HEALTH_REST)
        *wait_us = atomic_load(&b->rest_until_us) - now_us;
    if (word == HEALTH_PROBE && atomic_exchange(&b->probing, true))
        return HEALTH_DOWN; /* somebody else is finding out */
    return word;
}

void health_nothing(struct breaker *b, bool probe)
{
    if (probe)
        atomic_store(&b->probing, false);
}

void health_ok(struct breaker *b, struct credential *c, bool probe)
{
    /* Nearly always there is nothing to write: the line stays shared by all cores. */
    if (atomic_load(&b->failures) != 0)
        atomic_store(&b->failures, 0);
    if (atomic_load(&b->open_until_us) != 0) {
        atomic_store(&b->opened, 0);
        atomic_store(&b->open_until_us, 0);
    }
    if (atomic_load(&c->shun_until_us) != 0)
        atomic_store(&c->shun_until_us, 0);
    health_nothing(b, probe);
}

/* A closed breaker opens after so many failures; one whose pause is over is opened again by its
 * probe alone: other calls that end then began before it opened, or had nobody else to ask, and
 * tell of the same outage. */
static void count_outage(struct breaker *b, const struct health_limits *l, int64_t now_us,
                         bool probe)
{
    int64_t open = atomic_load(&b->open_until_us), times = atomic_load(&b->opened);
    int64_t failures = atomic_fetch_add(&b->failures, 1) + 1, pause = l->open_us;
    if (probe ? open > now_us : open != 0 || failures < l->failures)
        return;
    for (int64_t i = 0; i < times && pause < MAX_OPEN_US; i++)
        pause = pause * 2 < MAX_OPEN_US ? pause * 2 : MAX_OPEN_US;
    if (atomic_compare_exchange_strong(&b->open_until_us, &open, now_us + pause))
        atomic_fetch_add(&b->opened, 1);
}

/* It says something about the server and not about the request or the key. */
static bool is_outage(const struct err *err)
{
    switch (err->cls) {
    case ERR_CONNECT:
    case ERR_TIMEOUT:
    case ERR_CUT:
    case ERR_UPSTREAM:
    case ERR_UNAVAILABLE:
        return true;
    default:
        return false;
    }
}

static bool is_about_the_key(const struct err *err)
{
    return err->upstream_status != 0 && strcmp(err->code, "content_filter") != 0 &&
           (err->cls == ERR_AUTH || err->cls == ERR_FORBIDDEN || err->cls == ERR_BUDGET ||
            err->upstream_status == 401 || err->upstream_status == 402 ||
            err->upstream_status == 403);
}

void health_failed(struct breaker *b, struct credential *c, const struct health_limits *l,
                   const struct err *err, int64_t now_us, bool probe)
{
    if (is_about_the_key(err)) {
        atomic_store(&c->shun_until_us, now_us + SHUN_US);
    } else if (err->upstream_status == 429) {
        int64_t wait = err->retry_after_ms > 0 ? err->retry_after_ms : 0;
        int64_t until = now_us + (wait < MAX_REST_MS ? wait : MAX_REST_MS) * 1000;
        if (until > atomic_load(&b->rest_until_us))
            atomic_store(&b->rest_until_us, until);
    } else if (is_outage(err)) {
        count_outage(b, l, now_us, probe);
    }
    health_nothing(b, probe); /* last: what it found holds for who asks next */
}

bool health_is_down(const struct err *err)
{
    return err->code && strcmp(err->code, HEALTH_DOWN_CODE) == 0;
}

void health_forgive(struct breaker *b)
{
    atomic_store(&b->failures, 0);
    atomic_store(&b->opened, 0);
    atomic_store(&b->open_until_us, 0);
    atomic_store(&b->rest_until_us, 0);
}

bool health_retryable(const struct err *err, bool ambiguous)
{
    switch (err->sent) {
    case SENT_DELIVERED:
        return false;
    case SENT_MAYBE:
        return ambiguous && (err->cls == ERR_TIMEOUT || err->cls == ERR_CUT ||
                             err->cls == ERR_UPSTREAM || err->cls == ERR_UNAVAILABLE);
    case SENT_REFUSED: /* what is wrong with the request itself is wrong elsewhere too */
        return err->cls != ERR_INPUT && err->cls != ERR_LIMIT;
    case SENT_NO: /* another upstream may be able to carry what this one cannot; a cap on the cost
                   * is the client's, and would not hold there */
        return err->cls != ERR_CANCELLED && err->cls != ERR_NOMEM && err->cls != ERR_BUDGET;
    }
    return false;
}
