/* route/health.h - what recent calls say about a model and about a provider's key: whether to ask,
 * whom to ask first. Private to route/; shared by all workers, atomics only.
 *
 * A breaker per provider and model opens after some failures in a row, lets one probe pass when its
 * time is over, and closes on a success. A model rests until the time that its provider named with
 * a 429 (limits are per model at OpenAI, Anthropic and OpenRouter); a key is asked last for a while
 * after it was refused (401, 403, 402). What a client did wrong, a full context and a filter count
 * for neither. Sources: Nygard, "Release It!", ch. 5 (circuit breaker); RFC 9110 10.2.3
 * (Retry-After). */
#ifndef FUSOR_ROUTE_HEALTH_H
#define FUSOR_ROUTE_HEALTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Per provider. Times are of the monotonic clock. */
struct credential {
    _Atomic int64_t shun_until_us; /* it was refused: others first */
};

/* Per provider and model. */
struct breaker {
    _Atomic int64_t failures;      /* in a row */
    _Atomic int64_t open_until_us; /* 0: closed */
    _Atomic int64_t opened;        /* times in a row: each doubles the pause */
    _Atomic bool probing;
    _Atomic int64_t rest_until_us; /* the provider said when to come back */
};

struct health_limits {
    int64_t failures, open_us;
};

enum health_word {
    HEALTH_UP,    /* ask */
    HEALTH_PROBE, /* ask: this call is the one that finds out */
    HEALTH_DOWN,  /* others first */
    HEALTH_REST,  /* not before *wait_us is over, whatever others there are */
};

/* Before a call. HEALTH_PROBE is given to one caller at a time: its end must be noted, with `probe`
 * set. No other call ends a probe. */
enum health_word health_ask(struct breaker *b, struct credential *c, int64_t now_us,
                            int64_t *wait_us);
/* The same without taking the probe: for lists and metrics. */
enum health_word health_look(const struct breaker *b, const struct credential *c, int64_t now_us);
/* Why, for a person: one of "down" (failures in a row; the breaker is open), "probed" (its pause is
 * over, nobody has found out yet), "resting" (a 429) and "key_refused"; NULL: it is asked like
 * others. *wait_us: until it may be asked first again. Static. */
const char *health_why(const struct breaker *b, const struct credential *c, int64_t now_us,
                       int64_t *wait_us);
void health_ok(struct breaker *b, struct credential *c, bool probe);
/* err as the upstream's call ended. */
void health_failed(struct breaker *b, struct credential *c, const struct health_limits *l,
                   const struct err *err, int64_t now_us, bool probe);
/* The code of the error of a call that is not made because others can be asked (HEALTH_DOWN). */
#define HEALTH_DOWN_CODE "upstream_down"
bool health_is_down(const struct err *err);
/* The call ended without a word about the upstream (cancelled, refused by us). */
void health_nothing(struct breaker *b, bool probe);
/* As if nothing had happened so far; a probe that is under way keeps its word. */
void health_forgive(struct breaker *b);

/* Whether a failed call may be made again elsewhere. ambiguous: also one that may have been
 * answered. */
bool health_retryable(const struct err *err, bool ambiguous);

#endif
