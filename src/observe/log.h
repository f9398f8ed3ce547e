/* observe/log.h - JSON lines, one event each, written whole; levels by $FUSOR_LOG.
 *
 * Thread safe: a line is built in a buffer of the caller's stack and written by one write(2).
 * Secrets cannot reach it (struct secret does not print), prompts and answers never do; control
 * characters are escaped. On a terminal, errors and warnings are short plain lines. */
#ifndef FUSOR_OBSERVE_LOG_H
#define FUSOR_OBSERVE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/err.h"
#include "base/span.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log;

/* owned. fd is borrowed; level from "debug|info|warn|error" (NULL: info). */
MUST_USE struct log *log_new(int fd, const char *level);
void log_free(struct log *l);
AUTO_DEFINE(log)
bool log_on(const struct log *l, enum log_level level); /* l may be NULL: nothing is on */

enum log_kind { LOG_STR, LOG_I64, LOG_F64, LOG_BOOL };
struct log_field {
    const char *key;
    enum log_kind kind;
    struct span str;
    int64_t i64;
    double f64;
};
#define LOG_S(k, v) ((struct log_field){.key = (k), .kind = LOG_STR, .str = (v)})
#define LOG_I(k, v) ((struct log_field){.key = (k), .kind = LOG_I64, .i64 = (v)})
#define LOG_F(k, v) ((struct log_field){.key = (k), .kind = LOG_F64, .f64 = (v)})
#define LOG_B(k, v) ((struct log_field){.key = (k), .kind = LOG_BOOL, .i64 = (v)})
/* {"ts":"2026-01-01T00:00:00.000Z","level":"info","event":"...", fields} */
void log_event(struct log *l, enum log_level level, const char *event, const struct log_field *f,
               size_t n);
/* An error with its class, code and message. */
void log_err(struct log *l, enum log_level level, const char *event, struct span request_id,
             const struct err *e);

/* Lines that anybody can cause: LOG_QUOTA_BURST at once, then one a second. Plain storage, zeroed;
 * of one thread. */
#define LOG_QUOTA_BURST 20
struct log_quota {
    int64_t since_us;
    unsigned used;
    uint64_t hidden;
};
/* Whether one may be written at now_us (monotonic). True: *out_hidden is how many were refused
 * since the last yes. */
bool log_quota_take(struct log_quota *q, int64_t now_us, uint64_t *out_hidden);

#define LOG_EVENT(l, level, event, ...)                                                            \
    log_event((l), (level), (event), (const struct log_field[]){__VA_ARGS__},                      \
              COUNT_OF(((const struct log_field[]){__VA_ARGS__})))

#endif
