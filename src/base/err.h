/* base/err.h - errors as values: class, HTTP status, code, message for a person, retry hint.
 *
 * A function that can fail returns bool (MUST_USE) and takes a struct err last; outputs are
 * untouched on failure. err_set() returns false, so `return err_set(e, ERR_INPUT, "...")`. A
 * message says what was wrong, where, and what to do. Who returns an error does not log it. */
#ifndef FUSOR_BASE_ERR_H
#define FUSOR_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/auto.h"
#include "base/span.h"

enum err_class {
    ERR_NONE = 0,
    ERR_INPUT,     /* 400 what the client sent is wrong */
    ERR_AUTH,      /* 401 */
    ERR_BUDGET,    /* 402 over a cost cap or without credit */
    ERR_FORBIDDEN, /* 403 */
    ERR_NOT_FOUND, /* 404 */
    ERR_METHOD,    /* 405 */
    ERR_CONFLICT,  /* 409 */
    ERR_LIMIT,     /* 413 larger than a limit of ours */
    ERR_MEDIA,     /* 415 */
    ERR_BUSY,      /* 429 rate limited, or a queue is full */
    ERR_CANCELLED, /* 499 the client left */
    ERR_STATE,     /* 500 used out of order: a bug of ours */
    ERR_SYS,       /* 500 the operating system said no; sys holds errno */
    ERR_UPSTREAM,  /* 502 an upstream answered with an error or with garbage */
    ERR_CONNECT,   /* 502 an upstream could not be reached (DNS, connect, TLS): nothing was sent */
    ERR_CUT,       /* 502 an upstream's answer ended before its end */
    ERR_NOMEM,     /* 503 */
    ERR_UNAVAILABLE, /* 503 draining, or a local model that does not start */
    ERR_TIMEOUT,     /* 504 */
    ERR_CONFIG,      /* 500 the configuration is wrong; exit code 3 */
    ERR_USAGE,       /* 400 the command line is wrong; exit code 2 */
    ERR_CLASSES
};

/* How far a failed upstream call had come: what decides whether a retry is safe
 * (docs/architecture.md, "Faults"). */
enum err_sent {
    SENT_NO = 0,   /* not one byte reached the upstream */
    SENT_REFUSED,  /* the upstream said no: 429, 503 with a body, 401, 402, 403 */
    SENT_MAYBE,    /* the request went out; whether work was done is unknown */
    SENT_DELIVERED /* at least one content byte came back */
};

struct err {
    enum err_class cls;
    enum err_sent sent;
    int sys;                /* errno of the failing call, 0 if none */
    int status;             /* HTTP status for the client */
    int upstream_status;    /* what an upstream answered, 0 if it did not */
    int64_t retry_after_ms; /* -1: unknown */
    const char *code;       /* static string, "model_not_found"; never NULL after err_set() */
    char param[96];         /* the field at fault, "" if none: "messages[2].content" */
    char msg[400];          /* for a person; control characters made visible */
};

/* Sets class, default status and code of the class, and the message; keeps errno in ->sys for
 * ERR_SYS. Every other field is reset. The arguments may point into e, e may be NULL. Always
 * false. */
bool err_set(struct err *e, enum err_class cls, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Like err_set() for a field of the client's request: class ERR_INPUT, ->param set. */
bool err_field(struct err *e, const char *param, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Sets another code (static string) on an error that is already set. Always false. */
bool err_with_code(struct err *e, const char *code);
/* Puts "text: " before the message, to say where. Always false. */
bool err_prefix(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* OpenAI's `type` for the class: "invalid_request_error", "rate_limit_error", ... static. */
const char *err_type(enum err_class cls);
/* Default HTTP status of the class. */
int err_status(enum err_class cls);
/* "input", "timeout", ...: for logs, metrics and traces; static. */
const char *err_class_name(enum err_class cls);

#endif
